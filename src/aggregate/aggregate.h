/* From the messages of this rank's workers to what the step needs on every rank. Bytes are counted here, where they
 * are handed to the communicator. */
#ifndef DITHER_AGGREGATE_H
#define DITHER_AGGREGATE_H

#include "comm/comm.h"
#include "rank.h"

typedef struct dither_aggregate {
    dither_comm *comm;   /* not owned */
    size_t *bytes;       /* comm->ranks: of the messages of each rank's workers */
    void *staging;       /* messages, or scales and sums, on the host, when the device's memory is another; or NULL */
    /* so far, of one worker, as if it had a rank of its own: handed over; and as coded, before padding to words. Where
     * messages have variable length, the device counts them instead (dither_rank_sent) */
    double worker_bytes, worker_bits;
} dither_aggregate;

dither_status dither_aggregate_open(dither_aggregate *out, dither_comm *comm, const dither_plan *plan,
                                    const dither_rank *rank, dither_error *error);
/* All workers' messages, in their order, on every rank: rank->k.messages. */
dither_status dither_aggregate_gather(dither_aggregate *aggregate, const dither_rank *rank, dither_error *error);
/* The largest scales of all ranks: rank->k.shared. */
dither_status dither_aggregate_scales(dither_aggregate *aggregate, const dither_rank *rank, dither_error *error);
/* The sum of all ranks' integers: rank->k.lane_words. */
dither_status dither_aggregate_sum(dither_aggregate *aggregate, const dither_rank *rank, dither_error *error);
void dither_aggregate_close(dither_aggregate *aggregate);

#endif
