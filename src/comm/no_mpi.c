/* The communicator of a build without MPI. */
#include "comm.h"

dither_status dither_comm_mpi(int launched, dither_comm **out, dither_error *error)
{
    if (launched == 1) return dither_comm_local(out, error);
    return dither_fail(error, DITHER_DEVICE,
                       "this build has no MPI: install libopenmpi-dev or libmpich-dev and build again%s",
                       launched ? ", or ask for runs that know nothing of each other: --comm local" : "");
}
