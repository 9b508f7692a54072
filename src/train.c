/* dither_train: the ranks of this process, one or several threads. */
#include <stdlib.h>

#include "comm/threads.h"
#include "run.h"

typedef struct job {
    const dither_data *data;
    const dither_options *options;
    dither_observer observer; /* of rank 0 alone */
    void *user;
    dither_result **results;  /* a rank's each */
} job;

/* dither_team_work */
static dither_status train_member(void *user, dither_comm *comm, dither_error *error)
{
    const job *j = user;
    const dither_observer observer = comm->rank == 0 ? j->observer : NULL;
    return dither_train_rank(comm, j->data, j->options, observer, j->user, &j->results[comm->rank], error);
}

static dither_status train_threads(const dither_comm *comm, job *j, dither_result **out, dither_error *error)
{
    dither_status status = DITHER_OK;
    const int count = comm->hosted;
    TRY_ALLOC(j->results, count);
    status = dither_team_run(comm, train_member, j, error);
    if (status == DITHER_OK || status == DITHER_DIVERGED) *out = j->results[0], j->results[0] = NULL;
out:
    for (int r = 0; j->results && r < count; r++) dither_result_free(j->results[r]);
    free(j->results);
    return status;
}

dither_status dither_train_ranks(dither_comm *comm, const dither_data *data, const dither_options *options,
                                 dither_observer observer, void *user, dither_result **out, dither_error *error)
{
    job what = {.data = data, .options = options, .observer = observer, .user = user};
    dither_comm *own = NULL;
    dither_status status = DITHER_OK;
    *out = NULL;
    if (comm && comm->hosted > 1) return train_threads(comm, &what, out, error);
    if (!comm) TRY(dither_comm_local(&own, error));
    status = dither_train_rank(comm ? comm : own, data, options, observer, user, out, error);
out:
    dither_comm_free(own, status);
    return status;
}

dither_status dither_train(const dither_data *data, const dither_options *options, dither_observer observer,
                           void *user, dither_result **out, dither_error *error)
{
    return dither_train_ranks(NULL, data, options, observer, user, out, error);
}
