#include "race.h"

#include <pthread.h>
#include <stdlib.h>

typedef struct gate {
    pthread_mutex_t lock;
    pthread_cond_t opened;
    int open; /* 1: go; -1: not all could be started */
} gate;

typedef struct racer {
    pthread_t thread;
    gate *gate;
    void (*body)(void *, int);
    void *job;
    int number;
} racer;

static void *run(void *argument)
{
    const racer *r = argument;
    pthread_mutex_lock(&r->gate->lock);
    while (!r->gate->open) pthread_cond_wait(&r->gate->opened, &r->gate->lock);
    const int go = r->gate->open > 0;
    pthread_mutex_unlock(&r->gate->lock);
    if (go) r->body(r->job, r->number);
    return NULL;
}

dither_status dither_race(int threads, void (*body)(void *job, int thread), void *job, dither_error *error)
{
    dither_status status = DITHER_OK;
    gate start = {.lock = PTHREAD_MUTEX_INITIALIZER, .opened = PTHREAD_COND_INITIALIZER};
    racer *all = NULL;
    int started = 0;
    TRY_ALLOC(all, threads);
    for (; started < threads; started++) {
        all[started] = (racer){.gate = &start, .body = body, .job = job, .number = started};
        if (pthread_create(&all[started].thread, NULL, run, &all[started])) break;
    }
    if (started < threads) dither_fail(error, status = DITHER_INTERNAL, "can't start %d threads", threads);
    pthread_mutex_lock(&start.lock);
    start.open = status == DITHER_OK ? 1 : -1;
    pthread_cond_broadcast(&start.opened);
    pthread_mutex_unlock(&start.lock);
    for (int i = 0; i < started; i++) pthread_join(all[i].thread, NULL);
out:
    free(all);
    return status;
}
