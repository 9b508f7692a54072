#include "pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { PARTS_A_THREAD = 4, LOOKS = 4000 /* for the next job, before a thread sleeps */ };

/* The ticket is the job's number << 32 | end << 16 | begin, where nobody has claimed the parts in [begin, end). The
 * caller claims from the front and the others from the back, so that with two threads each finds most of what it works
 * on in its own cache. A claim replaces the ticket that was read: whoever comes late, with the ticket of an earlier
 * job, fails. The fields of the job don't change while a claimed part of it is unfinished, because the caller waits
 * for `unfinished` to be 0. */
struct dk_pool {
    _Atomic uint64_t ticket;
    atomic_int unfinished, asleep, leaving;
    dk_part *part;
    const void *job;
    int64_t count, parts;

    pthread_mutex_t mutex;
    pthread_cond_t wake;
    int threads, helpers; /* at most; started so far, the caller left out */
    pthread_t *helper;
};

static inline void rest(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static int64_t begin_of(uint64_t ticket) { return (int64_t)(ticket & 0xFFFF); }
static int64_t end_of(uint64_t ticket) { return (int64_t)(ticket >> 16 & 0xFFFF); }
static int has_work(uint64_t ticket) { return begin_of(ticket) < end_of(ticket); }

/* Claim and run parts of the present job until none is left. */
static void take_parts(dk_pool *p, int caller)
{
    uint64_t ticket = atomic_load(&p->ticket);
    while (has_work(ticket)) {
        const int64_t e = caller ? begin_of(ticket) : end_of(ticket) - 1;
        if (!atomic_compare_exchange_weak(&p->ticket, &ticket, caller ? ticket + 1 : ticket - (1 << 16))) continue;
        p->part(p->job, p->count * e / p->parts, p->count * (e + 1) / p->parts);
        atomic_fetch_sub(&p->unfinished, 1);
        ticket = atomic_load(&p->ticket);
    }
}

static void sleep_until_work(dk_pool *p)
{
    pthread_mutex_lock(&p->mutex);
    atomic_fetch_add(&p->asleep, 1);
    while (!has_work(atomic_load(&p->ticket)) && !atomic_load(&p->leaving)) pthread_cond_wait(&p->wake, &p->mutex);
    atomic_fetch_sub(&p->asleep, 1);
    pthread_mutex_unlock(&p->mutex);
}

static void *help(void *pool)
{
    dk_pool *p = pool;
    while (!atomic_load(&p->leaving)) {
        int looks = 0;
        while (!has_work(atomic_load_explicit(&p->ticket, memory_order_relaxed)) && looks++ < LOOKS) rest();
        if (looks > LOOKS) sleep_until_work(p);
        take_parts(p, 0);
    }
    return NULL;
}

dk_pool *dk_pool_create(int threads)
{
    dk_pool *p = calloc(1, sizeof *p);
    if (!p) return NULL;
    p->threads = threads;
    p->helper = threads > 1 ? calloc((size_t)threads - 1, sizeof *p->helper) : NULL;
    if (threads > 1 && !p->helper) {
        free(p);
        return NULL;
    }
    pthread_mutex_init(&p->mutex, NULL);
    pthread_cond_init(&p->wake, NULL);
    return p;
}

static void wake_all(dk_pool *p)
{
    pthread_mutex_lock(&p->mutex);
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->mutex);
}

void dk_pool_run(dk_pool *p, int threads, int64_t count, dk_part *part, const void *job)
{
    if (threads > p->threads) threads = p->threads;
    /* where no thread can be had, those that there are do the work */
    while (p->helpers < threads - 1 && pthread_create(&p->helper[p->helpers], NULL, help, p) == 0) p->helpers++;
    const int64_t wanted = threads > 1 ? (int64_t)threads * PARTS_A_THREAD : 1, parts = wanted < count ? wanted : count;
    if (parts <= 1) {
        part(job, 0, count);
        return;
    }
    p->part = part, p->job = job, p->count = count, p->parts = parts;
    atomic_store(&p->unfinished, (int)parts);
    const uint64_t number = (atomic_load(&p->ticket) >> 32) + 1;
    atomic_store(&p->ticket, number << 32 | (uint64_t)parts << 16);
    if (atomic_load(&p->asleep)) wake_all(p);
    take_parts(p, 1);
    while (atomic_load(&p->unfinished)) rest();
}

void dk_pool_free(dk_pool *p)
{
    if (!p) return;
    atomic_store(&p->leaving, 1);
    wake_all(p);
    for (int i = 0; i < p->helpers; i++) pthread_join(p->helper[i], NULL);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->mutex);
    free(p->helper);
    free(p);
}
