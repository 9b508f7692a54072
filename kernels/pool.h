/* Threads that share the parts of a job. Made for jobs of 10 microseconds and machines that others use too: parts are
 * claimed one by one and the caller claims with the others, so a thread that the system has put aside holds up at most
 * the part that it is at; one that finds no job looks for the next for some microseconds, then sleeps. */
#ifndef DITHER_POOL_H
#define DITHER_POOL_H

#include <stdint.h>

typedef struct dk_pool dk_pool;
typedef void dk_part(const void *job, int64_t begin, int64_t end);

/* A pool for up to `threads` threads, the caller among them; they start with the first job that asks for them. NULL:
 * out of memory. */
dk_pool *dk_pool_create(int threads);
/* part(job, begin, end) for contiguous ranges that make up [0, count), on at most `threads` threads; returns when all
 * are done. Parts run in any order and must not depend on each other. One caller at a time. */
void dk_pool_run(dk_pool *pool, int threads, int64_t count, dk_part *part, const void *job);
/* Accepts NULL. */
void dk_pool_free(dk_pool *pool);

#endif
