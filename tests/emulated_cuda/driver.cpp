/* The CUDA driver as a C++ compiler sees it. */
#include "cuda_runtime.h"

#include "launch_cuda.cu"
