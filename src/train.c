/* dither_train: the ranks of this process, one or several threads. */
#include <pthread.h>
#include <stdlib.h>

#include "comm/threads.h"
#include "run.h"

typedef struct member {
    dither_comm *comm;
    const dither_data *data;
    const dither_options *options;
    dither_observer observer; /* of rank 0 alone */
    void *user;
    dither_result *result;
    dither_status status;
    dither_error error;
    pthread_t thread;
    int started;
} member;

static void *run_member(void *argument)
{
    member *m = argument;
    m->status = dither_train_rank(m->comm, m->data, m->options, m->observer, m->user, &m->result, &m->error);
    dither_comm_free(m->comm, m->status); /* a failure that the others don't know of ends their waiting */
    m->comm = NULL;
    return NULL;
}

/* All members' threads but the first, whose work is the calling thread's. One that can't be started has failed. */
static void run_members(member *members, int count)
{
    for (int r = 1; r < count; r++) {
        members[r].started = pthread_create(&members[r].thread, NULL, run_member, &members[r]) == 0;
        if (members[r].started) continue;
        members[r].status = dither_fail(&members[r].error, DITHER_INTERNAL, "thread %d of %d can't be started", r, count);
        members[r].comm->alone = 1;
        dither_comm_free(members[r].comm, members[r].status);
        members[r].comm = NULL;
    }
    run_member(&members[0]);
    for (int r = 1; r < count; r++)
        if (members[r].started) pthread_join(members[r].thread, NULL);
}

static dither_status train_threads(const member *what, int count, dither_result **out, dither_error *error)
{
    dither_status status = DITHER_OK;
    dither_team *team = NULL;
    member *members = NULL;
    TRY_ALLOC(members, count);
    TRY(dither_team_create(count, &team, error));
    for (int r = 0; r < count; r++) {
        members[r] = (member){.data = what->data, .options = what->options};
        TRY(dither_team_join(team, r, &members[r].comm, error));
        members[r].comm->nccl = what->comm->nccl, members[r].comm->timeout = what->comm->timeout;
    }
    members[0].observer = what->observer, members[0].user = what->user;
    run_members(members, count);
    const int culprit = dither_team_culprit(team) < 0 ? 0 : dither_team_culprit(team);
    status = members[culprit].status;
    if (status != DITHER_OK && error) *error = members[culprit].error;
    if (status == DITHER_OK || status == DITHER_DIVERGED) *out = members[0].result, members[0].result = NULL;
out:
    for (int r = 0; members && r < count; r++) {
        dither_comm_free(members[r].comm, DITHER_OK);
        dither_result_free(members[r].result);
    }
    dither_team_free(team);
    free(members);
    return status;
}

dither_status dither_train_ranks(dither_comm *comm, const dither_data *data, const dither_options *options,
                                 dither_observer observer, void *user, dither_result **out, dither_error *error)
{
    const member what = {.comm = comm, .data = data, .options = options, .observer = observer, .user = user};
    dither_comm *own = NULL;
    dither_status status = DITHER_OK;
    *out = NULL;
    if (comm && comm->hosted > 1) return train_threads(&what, comm->hosted, out, error);
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
