/* Ranks that are processes started by hand or by a script, and find each other over TCP. */
#ifndef DITHER_TCP_H
#define DITHER_TCP_H

#include "comm.h"

typedef struct dither_tcp_place {
    int rank, ranks;
    const char *rendezvous; /* "host:port" where rank 0 listens */
    double timeout;         /* seconds that a rank may keep the others waiting; 0: no limit, and 60 s to find each other */
} dither_tcp_place;

/* DITHER_DEVICE when they don't find each other, DITHER_USAGE for a rendezvous that is none. */
dither_status dither_comm_tcp(const dither_tcp_place *place, dither_comm **out, dither_error *error);

#endif
