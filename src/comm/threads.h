/* Ranks that are threads of one process: each hosts a range of the workers, on a GPU of its own or on the CPU. */
#ifndef DITHER_THREADS_H
#define DITHER_THREADS_H

#include "comm.h"

typedef struct dither_team dither_team;

dither_status dither_team_create(int ranks, dither_team **out, dither_error *error);
/* The communicator of one of them, for its thread; the team outlives it. */
dither_status dither_team_join(dither_team *team, int rank, dither_comm **out, dither_error *error);
/* The rank that failed first, with a failure that the others did not know of; -1: none. */
int dither_team_culprit(const dither_team *team);
void dither_team_free(dither_team *team);

/* What a rank of a team does. */
typedef dither_status dither_team_work(void *user, dither_comm *comm, dither_error *error);
/* `work` on each of the ranks that `outer` hosts, threads of a team made for it; rank 0 is the calling thread. The status and message
 * of the rank that failed first with what the others did not know of; else rank 0's. */
dither_status dither_team_run(const dither_comm *outer, dither_team_work *work, void *user, dither_error *error);

#endif
