/* Threads that race: what they compute depends on who comes first, so no two runs are the same. */
#ifndef DITHER_RACE_H
#define DITHER_RACE_H

#include "error.h"

/* body(job, 0) .. body(job, threads - 1), each on a thread of its own, all set off
 * at once, until all have returned. */
dither_status dither_race(int threads, void (*body)(void *job, int thread), void *job, dither_error *error);

#endif
