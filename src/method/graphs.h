/* Iterations whose launches are recorded once as a graph of the device and then queued as one (kernels.h: record, replay):
 * for problems so small that queueing their kernels takes longer than running them. Which iterations, is decided here
 * alone: methods and aggregates don't know of it. The bits are those of single launches. */
#ifndef DITHER_GRAPHS_H
#define DITHER_GRAPHS_H

#include "method/stages.h"

enum { DITHER_GRAPH_SIZES = 3 };

typedef struct dither_counts {
    double gradients, worker_bytes, worker_bits; /* of dither_run, dither_aggregate */
    uint64_t sent, received;                     /* of the aggregate's communicator */
} dither_counts;

typedef struct dither_graphs {
    dither_run *run;
    const char *why;  /* there are none: a sentence's end, in static storage; NULL: they are used */
    dk_round *at;     /* the device's: the rounds of a replay */
    int warm;         /* an iteration was launched kernel by kernel: code is loaded, NCCL connected */
    int64_t clear;    /* no iteration before this one, from the present one on, renews a table */
    int recorded[DITHER_GRAPH_SIZES];
    dither_counts each; /* what an iteration adds to the run's counts */
    int64_t replays, iterations; /* so far; iterations: of all replays */
} dither_graphs;

/* Decide for the run, which is open. --graphs on where there can be none: DITHER_USAGE, or DITHER_DEVICE for a device
 * without graphs. */
dither_status dither_graphs_open(dither_graphs *out, dither_run *run, dither_error *error);
/* Before the run is closed; half-built and zeroed ones too. */
void dither_graphs_close(dither_graphs *graphs);

/* The next iteration, or several of them: to iteration `until` at most, which is after the present one. run->iteration
 * has moved by as many. At most a few replays are queued: for more, the host waits for the first of them. */
dither_status dither_graphs_iterate(dither_graphs *graphs, int64_t until, dither_error *error);

#endif
