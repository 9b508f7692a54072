/* Between cpu.c, which opens the CPU device, and launch_cpu.c, its kernels for one instruction set. */
#ifndef DITHER_CPU_H
#define DITHER_CPU_H

#include "kernels.h"

typedef struct dk_cpu {
    int threads;  /* at most this many */
    int always;   /* even when the work is too small to gain by it */
} dk_cpu;

/* Threads for `units` of work, a unit being about a nanosecond. */
static inline int cpu_threads(const dk_cpu *cpu, int64_t units)
{
    return cpu->always || units >= 10000 ? cpu->threads : 1;
}

typedef struct dk_cpu_kernels {
    int (*work)(void *, const dk_rank *, const dk_round *, int);
    int (*refresh)(void *, const dk_rank *, void *, void *, int);
    int (*step)(void *, const dk_rank *, const dk_round *);
    int (*evaluate)(void *, const dk_rank *);
} dk_cpu_kernels;

#endif
