/* The CPU driver: the bodies as loops over workers and tiles, shared among OpenMP threads. Threads never share a
 * sum, so their number can't change a bit. Compiled once per instruction set (DK_ISA); cpu.c chooses. */
#include <string.h>
#include "cpu.h"
#include "digits.h"
#include "losses.h"
#include "philox_fill.h"
#include "pick.h"
#include "prox.h"
#include "tile.h"

#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)

#define REAL double
#define FN(name) name##_f64
#include "bodies.inl"
#include "loops_cpu.inl"
#undef REAL
#undef FN
#define REAL float
#define FN(name) name##_f32
#include "bodies.inl"
#include "loops_cpu.inl"

static int work(void *context, const dk_rank *k, const dk_round *r, int stages)
{
    const dk_cpu *cpu = context;
    k->single ? work_f32(cpu, k, r, stages) : work_f64(cpu, k, r, stages);
    return 0;
}

static int refresh(void *context, const dk_rank *k, void *table, void *out, int keep_table)
{
    const dk_cpu *cpu = context;
    k->single ? refresh_f32(cpu, k, table, out, keep_table) : refresh_f64(cpu, k, table, out, keep_table);
    return 0;
}

static int step(void *context, const dk_rank *k, const dk_round *r)
{
    const dk_cpu *cpu = context;
    k->single ? step_f32(cpu, k, r) : step_f64(cpu, k, r);
    return 0;
}

static int evaluate(void *context, const dk_rank *k)
{
    const dk_cpu *cpu = context;
    k->single ? evaluate_f32(cpu, k) : evaluate_f64(cpu, k);
    return 0;
}

const dk_cpu_kernels JOIN(dk_cpu_kernels, DK_ISA) = {work, refresh, step, evaluate};
