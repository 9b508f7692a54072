/* What this build can do, as one flat list for `dither info` and for programs. */
#include "aggregate/kind.h"
#include "codecs.h"
#include "comm/nccl.h"
#include "error.h"
#include "method/method.h"
#include "problem.h"
#include "steppers.h"

#ifdef DITHER_HAVE_ZLIB
#define HAVE_ZLIB 1
#else
#define HAVE_ZLIB 0
#endif
#ifdef DITHER_HAVE_BZIP2
#define HAVE_BZIP2 1
#else
#define HAVE_BZIP2 0
#endif
#ifdef DITHER_HAVE_LZMA
#define HAVE_LZMA 1
#else
#define HAVE_LZMA 0
#endif
#ifdef DITHER_HAVE_MPI
#define HAVE_MPI 1
#else
#define HAVE_MPI 0
#endif
#ifdef DITHER_HAVE_CUDA
#define HAVE_CUDA 1
#else
#define HAVE_CUDA 0
#endif

#ifdef DITHER_HAVE_CBLAS
#define HAVE_CBLAS 1
#else
#define HAVE_CBLAS 0
#endif
#ifdef DITHER_HAVE_CUBLAS
#define HAVE_CUBLAS 1
#else
#define HAVE_CUBLAS 0
#endif

static const dither_entry fixed_entries[] = {
    {"prox", "none", "no regulariser", "", 1},
    {"prox", "l1:X", "R = X ||x||_1", "", 1},
    {"prox", "l2:X", "R = (X/2) ||x||^2", "", 1},
    {"prox", "elastic:X,Y", "R = X ||x||_1 + (Y/2) ||x||^2", "", 1},
    {"prox", "box:A,B", "A <= x_c <= B", "", 1},
    {"prox", "ball:R", "||x|| <= R", "", 1},
    {"communicator", "local", "one rank that hosts all workers", "", 1},
    {"communicator", "threads", "ranks that are threads of one process", "", 1},
    {"communicator", "tcp", "processes that are told their number and where rank 0 listens", "", 1},
    {"communicator", "mpi", HAVE_MPI ? "processes that mpirun or srun started" : "install libopenmpi-dev or libmpich-dev and build again",
     "", HAVE_MPI},
    {"feature", "gz", HAVE_ZLIB ? "reads .gz" : "install zlib1g-dev and build again", "", HAVE_ZLIB},
    {"feature", "bz2", HAVE_BZIP2 ? "reads .bz2" : "install libbz2-dev and build again", "", HAVE_BZIP2},
    {"feature", "xz", HAVE_LZMA ? "reads .xz" : "install liblzma-dev and build again", "", HAVE_LZMA},
    {"feature", "mpi", HAVE_MPI ? "ranks under mpirun and srun" : "install libopenmpi-dev or libmpich-dev and build again", "",
     HAVE_MPI},
    {"feature", "cblas", HAVE_CBLAS ? "--dense-math blas on CPUs" : "install libopenblas-dev and build again", "", HAVE_CBLAS},
    {"feature", "cublas", HAVE_CUBLAS ? "--dense-math blas on GPUs" : "install the CUDA toolkit with cuBLAS and build again", "",
     HAVE_CUBLAS},
    {"feature", "cuda", HAVE_CUDA ? "GPU driver" : "install the CUDA toolkit and build again", "", HAVE_CUDA},
};
enum { FIXED = sizeof fixed_entries / sizeof *fixed_entries };

enum { FOUND = 3 };

/* What only running it tells. */
static int found_entry(size_t index, dither_entry *out)
{
    const char *why = "";
    if (index == 0) {
        const int there = dither_nccl_library(&why) != NULL;
        *out = (dither_entry){"communicator", "nccl", there ? "between GPUs, beside one of the others" : why, "", there};
        return 1;
    }
    if (index == 1) {
        *out = (dither_entry){"device", "cpu", "threads, AVX-512 or AVX2 where the processor has it", "", 1};
        return 1;
    }
    const int there = dk_cuda_devices(&why) > 0;
    *out = (dither_entry){"device", "cuda", there ? "GPU" : why, "", there};
    return 1;
}

size_t dither_entry_count(void)
{
    return dither_method_count() + DITHER_ESTIMATOR_COUNT + DK_STEPPER_COUNT + DK_CODEC_COUNT + DK_WIRE_COUNT +
           DITHER_AGGREGATE_COUNT + dither_loss_count() + FIXED + FOUND;
}

dither_status dither_entry_at(size_t i, dither_entry *out)
{
    if (i < dither_method_count()) {
        const dither_method *m = dither_method_at(i);
        *out = (dither_entry){"method", m->name, m->summary, m->source, 1};
        return DITHER_OK;
    }
    i -= dither_method_count();
    if (i < DITHER_ESTIMATOR_COUNT) {
        *out = (dither_entry){"estimator", dither_estimators[i]->name, dither_estimators[i]->summary,
                              dither_estimators[i]->source, 1};
        return DITHER_OK;
    }
    i -= DITHER_ESTIMATOR_COUNT;
    if (i < DK_STEPPER_COUNT) {
        *out = (dither_entry){"stepper", dither_steppers[i].name, dither_steppers[i].summary, dither_steppers[i].source, 1};
        return DITHER_OK;
    }
    i -= DK_STEPPER_COUNT;
    if (i < DK_CODEC_COUNT) {
        *out = (dither_entry){"codec", dither_codecs[i].name, dither_codecs[i].summary, dither_codecs[i].source, 1};
        return DITHER_OK;
    }
    i -= DK_CODEC_COUNT;
    if (i < DK_WIRE_COUNT) {
        *out = (dither_entry){"wire", dither_wires[i].name, dither_wires[i].summary, dither_wires[i].source, 1};
        return DITHER_OK;
    }
    i -= DK_WIRE_COUNT;
    if (i < DITHER_AGGREGATE_COUNT) {
        *out = (dither_entry){"aggregate", dither_aggregates[i]->name, dither_aggregates[i]->summary,
                              dither_aggregates[i]->source, 1};
        return DITHER_OK;
    }
    i -= DITHER_AGGREGATE_COUNT;
    if (i < dither_loss_count()) {
        *out = (dither_entry){"loss", dither_loss_name((int)i), dither_loss_summary((int)i), "", 1};
        return DITHER_OK;
    }
    i -= dither_loss_count();
    if (i < FIXED) {
        *out = fixed_entries[i];
        return DITHER_OK;
    }
    return i < FIXED + FOUND && found_entry(i - FIXED, out) ? DITHER_OK : DITHER_USAGE;
}
