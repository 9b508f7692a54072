/* A rank: the shards of its workers and their state, in one arena on one device. */
#ifndef DITHER_RANK_H
#define DITHER_RANK_H

#include "plan.h"

typedef struct dither_rank {
    dk_rank k;          /* what the kernels see */
    dk_device device;
    void *data_arena, *state_arena; /* the device's memory behind k's pointers */
    int64_t eval_chunks;
    int device_open;
    int on_host;        /* the device's memory is the host's */
} dither_rank;

/* Open the device that the options name, one of `neighbours` ranks that share this machine, copy the rows of workers [first, first + count) to it, and set the state
 * to x = 0, h_i = 0. Nothing is allocated afterwards. */
dither_status dither_rank_open(dither_rank *out, const dither_plan *plan, int first, int count, int neighbours,
                               dither_error *error);
void dither_rank_close(dither_rank *rank);

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
