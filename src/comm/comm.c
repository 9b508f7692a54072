/* Choosing a communicator, and what the ranks tell each other about failures. */
#include "comm.h"

#include <stdlib.h>
#include <string.h>
#include "options.h"

/* How many ranks a launcher says it started: Open MPI, MPICH and what descends from it, Slurm. 0: none did. */
static int launched_ranks(void)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *text = getenv(names[i]);
        if (text && atoi(text) > 0) return atoi(text);
    }
    return 0;
}

dither_status dither_comm_open(const dither_options *options, dither_comm **out, dither_error *error)
{
    const char *asked = options ? options->comm : "auto";
    const int launched = launched_ranks();
    *out = NULL;
    if (!strcmp(asked, "local") || (!strcmp(asked, "auto") && launched == 0)) return dither_comm_local(out, error);
    return dither_comm_mpi(launched, out, error);
}

int dither_comm_rank(const dither_comm *comm) { return comm ? comm->rank : 0; }
int dither_comm_ranks(const dither_comm *comm) { return comm ? comm->ranks : 1; }
int dither_comm_speaks(const dither_comm *comm) { return !comm || comm->rank == 0 || comm->alone; }

dither_status dither_comm_gather_word(dither_comm *comm, int64_t mine, dither_error *error)
{
    dither_status status = DITHER_OK;
    size_t *bytes = NULL;
    comm->words[comm->rank] = mine;
    if (comm->ranks == 1) return DITHER_OK;
    TRY_ALLOC(bytes, comm->ranks);
    for (int r = 0; r < comm->ranks; r++) bytes[r] = sizeof *comm->words;
    TRY(comm->allgather(comm, comm->words, bytes, error));
out:
    free(bytes);
    return status;
}

dither_status dither_comm_agree(dither_comm *comm, dither_status mine, dither_error *error)
{
    dither_status status = DITHER_OK;
    dither_error told = {.status = mine};
    if (dither_comm_ranks(comm) == 1 || comm->alone) return mine;
    TRY(dither_comm_gather_word(comm, mine, error));
    int failed = 0;
    while (failed < comm->ranks && comm->words[failed] == DITHER_OK) failed++;
    if (failed == comm->ranks) return DITHER_OK;
    if (failed == comm->rank && error) told = *error;
    TRY(comm->broadcast(comm, &told, sizeof told, failed, error));
    if (error) *error = told;
    return told.status;
out:
    comm->alone = 1;
    return status;
}

void dither_comm_free(dither_comm *comm, dither_status status)
{
    if (!comm) return;
    comm->close(comm, comm->alone ? status : DITHER_OK);
    free(comm->words);
    free(comm);
}
