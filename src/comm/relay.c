#include "relay.h"

/* data := that of each of the ranks begin .. end - 1, one after the other */
static void follow(dither_relay *r, int begin, int end, void *data, size_t bytes)
{
    for (int rank = begin; rank < end && r->status == DITHER_OK; rank++)
        r->status = r->comm->broadcast(r->comm, data, bytes, rank, &r->error);
}

void dither_relay_take(dither_relay *relay, void *sum, size_t bytes)
{
    if (relay) follow(relay, 0, relay->comm->rank, sum, bytes);
}

void dither_relay_pass(dither_relay *relay, void *sum, size_t bytes)
{
    if (relay) follow(relay, relay->comm->rank, relay->comm->ranks, sum, bytes);
}

void dither_relay_share(dither_relay *relay, void *data, size_t bytes)
{
    if (relay) follow(relay, 0, 1, data, bytes);
}

int dither_relay_failed(const dither_relay *relay) { return relay && relay->status != DITHER_OK; }

dither_status dither_relay_check(const dither_relay *relay, dither_error *error)
{
    if (!dither_relay_failed(relay)) return DITHER_OK;
    if (error) *error = relay->error;
    return relay->status;
}
