/* Sums over all rows in the order of the rows, where every rank has only those of a range: what has been summed passes
 * from rank to rank, so the result has the bits of a sum on one rank with all rows. The parts between take and pass run
 * one rank after the other; afterwards all ranks have the result, and do the same with it.
 *
 *     dither_relay_take(relay, sum, bytes);      sum: as it is to begin with on rank 0
 *     for (j of the own rows) add(sum, j);
 *     dither_relay_pass(relay, sum, bytes);      sum: of all rows
 *
 * Sums that go together are in one piece of memory: between take and pass nothing else is collective. */
#ifndef DITHER_RELAY_H
#define DITHER_RELAY_H

#include "comm.h"

/* Every function takes NULL for a rank that has all rows: then there is nothing to do. A failure of the communicator
 * stays: later calls do nothing, and loops end where they look at dither_relay_check. */
typedef struct dither_relay {
    dither_comm *comm; /* not owned */
    dither_status status;
    dither_error error;
} dither_relay;

/* sum := what the ranks before this one made of it */
void dither_relay_take(dither_relay *relay, void *sum, size_t bytes);
/* sum := what the last rank made of it */
void dither_relay_pass(dither_relay *relay, void *sum, size_t bytes);
/* data := that of rank 0 */
void dither_relay_share(dither_relay *relay, void *data, size_t bytes);

int dither_relay_failed(const dither_relay *relay);
dither_status dither_relay_check(const dither_relay *relay, dither_error *error);

#endif
