#!/bin/sh
# mpi_ranks under its MPI's launcher, with 1 to 4 ranks, whatever the number of cores.
# Usage: mpi_ranks.sh MPIRUN PROGRAM
set -eu
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
export PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe OMPI_MCA_mpi_yield_when_idle=1
"$1" --version >/dev/null 2>&1 || { echo "skipped: no launcher $1"; exit 77; }
for ranks in 1 2 3 4; do
    "$1" -n "$ranks" "$2"
done
