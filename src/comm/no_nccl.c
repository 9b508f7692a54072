/* The NCCL of a build without it. */
#include "nccl.h"

const dither_nccl_calls *dither_nccl_library(const char **why)
{
    *why = "this build has no NCCL: install libnccl-dev and the CUDA toolkit, and build again";
    return NULL;
}
