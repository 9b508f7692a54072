/* A rank: the shards of its workers and their state, in one arena on one device. */
#ifndef DITHER_RANK_H
#define DITHER_RANK_H

#include "plan.h"

typedef struct dither_rank {
    dk_rank k;          /* what the kernels see */
    dk_device device;
    void *data_arena, *state_arena; /* the device's memory behind k's pointers */
    void *dense_arena;                    /* --dense-math blas, else NULL, like what dk_dense points to: */
    int64_t *dense_rows;                  /* count + 1; and for each worker alone its two */
    double *dense_share;                  /* count */
    int64_t eval_chunks;
    int device_open;
    int on_host;        /* the device's memory is the host's */
} dither_rank;

/* Where a rank stands on its machine: number `neighbour` of `neighbours`, which share the cores and the GPUs. */
typedef struct dither_place {
    int neighbours, neighbour;
} dither_place;

/* The GPU of a rank: its number among its neighbours picks one of `devices`, or of those that `gpus` names ("all", a
 * number of them, or "0,2,3"). DITHER_USAGE when the text is malformed, DITHER_DEVICE when it names one that isn't there. */
dither_status dither_rank_gpu(const char *gpus, int devices, const dither_place *place, int *ordinal,
                              dither_error *error);

/* Open the device that the options name and check it (self_check.h), copy the rows of workers [first, first + count)
 * to it, and set the state to x = 0, h_i = 0. Nothing is allocated afterwards. `place` NULL: alone on the machine. */
dither_status dither_rank_open(dither_rank *out, const dither_plan *plan, int first, int count,
                               const dither_place *place, dither_error *error);
void dither_rank_close(dither_rank *rank);

/* A worker of the rank as a rank of one worker, worker 0 of 1: the same memory, pointers moved. Its randomness is
 * worker 0's: iterations must differ between workers. `begin` and `end` are its rows on the rank, `rows` the device's
 * copy of {0, end - begin}. */
dk_rank dither_rank_worker(const dither_rank *rank, int w, int64_t begin, int64_t end, const int64_t *rows);

/* The part of it that comes after: rank->device is open, and stays so when the memory is released or an error occurs. */
dither_status dither_rank_fill(dither_rank *rank, const dither_plan *plan, int first, int count, dither_error *error);
void dither_rank_release(dither_rank *rank);

/* Bytes of all messages so far of this rank's workers, where the wire has variable length: for trace points, since
 * it waits for the device. */
dither_status dither_rank_sent(const dither_rank *rank, int64_t *bytes, dither_error *error);

/* Turn a device function's code into a status. */
dither_status dither_rank_check(const dither_rank *rank, int code, const char *what, dither_error *error);
#define TRY_DEVICE(rank, call, what) TRY(dither_rank_check(rank, (call), (what), error))

/* Device "real" vector -> double, through `scratch` of count doubles; and back. */
dither_status dither_rank_read(const dither_rank *rank, const void *real, int64_t count, double *out,
                               dither_error *error);
dither_status dither_rank_write(const dither_rank *rank, void *real, int64_t count, const double *in,
                                dither_error *error);

#endif
