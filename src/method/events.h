/* Workers that take their time: which of them is done next. Emulated, so that a run can be repeated: how long a job
 * takes is a function of the seed, the worker and the number of the job. */
#ifndef DITHER_EVENTS_H
#define DITHER_EVENTS_H

#include "options.h"

/* How long jobs take: a random factor of mean 1 over the worker's speed. */
enum dither_duration { DITHER_DURATION_EXPONENTIAL, DITHER_DURATION_UNIFORM, DITHER_DURATION_CONSTANT };

typedef struct dither_event {
    double time; /* when the job is done */
    int worker;
} dither_event;

/* The jobs in progress, one a worker: a heap by time, ties by the worker's number. */
typedef struct dither_events {
    dither_event *heap; /* workers */
    int64_t *job;       /* workers: the number of the present job, from 0 */
    int64_t *version;   /* workers: how many gradients had been applied when it read x */
    int workers, duration;
    dither_speeds speeds;
    uint64_t seed;
    int64_t applied;
} dither_events;

/* All workers begin their first job at time 0. */
dither_status dither_events_open(dither_events *out, const dither_options *options, int workers, dither_error *error);
/* The worker that is done next. */
int dither_events_next(const dither_events *events);
/* Its gradient is applied, and it reads x and begins another job. Returns how many gradients were applied since it
 * read x: the delay. */
int64_t dither_events_apply(dither_events *events);
void dither_events_close(dither_events *events);

#endif
