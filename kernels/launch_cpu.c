/* The CPU driver: the bodies as loops over workers and tiles, shared among threads (pool.h). Threads never share a
 * sum, so their number can't change a bit. Compiled once per instruction set (DK_ISA); cpu.c chooses. */
#include <string.h>
#include "cpu.h"
#include "bfloat16.h"
#include "digits.h"
#include "losses.h"
#include "mask.h"
#include "philox_fill.h"
#include "pick.h"
#include "prox.h"
#include "stepper.h"
#include "variable.h"

/* ---- messages of variable length, of either precision: the passes of variable.h ---- */

static void send_worker(const dk_rank *k, int w)
{
    dk_variable_model(k, w);
    const int64_t segments = dk_segments(k->layout.tiles, dk_group_of(k, k->first + w));
    for (int64_t e = 0; e < segments; e++) dk_variable_write(k, w, e);
    dk_variable_table(k, w);
    for (int64_t e = 0; e < segments; e++) dk_variable_place(k, w, e);
}

static void model_range(const void *job, int64_t begin, int64_t end)
{
    for (int64_t w = begin; w < end; w++) dk_variable_model(job, (int)w);
}

/* Segments of the rank's workers or of all, `most` being the largest number that one of them has. */
typedef struct segments {
    const dk_rank *k;
    int64_t most;
} segments;

static void write_range(const void *job, int64_t begin, int64_t end)
{
    const segments *s = job;
    for (int64_t e = begin; e < end; e++)
        if (e % s->most < dk_segments(s->k->layout.tiles, dk_group_of(s->k, s->k->first + (int)(e / s->most))))
            dk_variable_write(s->k, (int)(e / s->most), e % s->most);
}

static void table_range(const void *job, int64_t begin, int64_t end)
{
    for (int64_t w = begin; w < end; w++) dk_variable_table(job, (int)w);
}

static void place_range(const void *job, int64_t begin, int64_t end)
{
    const segments *s = job;
    for (int64_t e = begin; e < end; e++)
        if (e % s->most < dk_segments(s->k->layout.tiles, dk_group_of(s->k, s->k->first + (int)(e / s->most))))
            dk_variable_place(s->k, (int)(e / s->most), e % s->most);
}

static void open_range(const void *job, int64_t begin, int64_t end)
{
    for (int64_t w = begin; w < end; w++) dk_variable_open(job, (int)w);
}

static void expand_range(const void *job, int64_t begin, int64_t end)
{
    const segments *s = job;
    for (int64_t e = begin; e < end; e++)
        if (e % s->most < dk_variable_segments(s->k, (int)(e / s->most)))
            dk_variable_expand(s->k, (int)(e / s->most), e % s->most);
}

static void send_all(const dk_cpu *cpu, const dk_rank *k)
{
    const int64_t units = k->count * k->d, tiles = k->count * k->layout.tiles;
    segments s = {k, 0};
    dk_cpu_share(cpu, units, k->count, model_range, k);
    for (int w = 0; w < k->count; w++) {
        const int64_t here = dk_segments(k->layout.tiles, dk_group_of(k, k->first + w));
        s.most = here > s.most ? here : s.most;
    }
    dk_cpu_share(cpu, 4 * units, k->count * s.most, write_range, &s);
    dk_cpu_share(cpu, tiles, k->count, table_range, k);
    dk_cpu_share(cpu, units, k->count * s.most, place_range, &s);
}

static void receive_all(const dk_cpu *cpu, const dk_rank *k)
{
    segments s = {k, 0};
    dk_cpu_share(cpu, k->layout.tiles * k->workers, k->workers, open_range, k);
    for (int w = 0; w < k->workers; w++) {
        const int64_t here = dk_variable_segments(k, w);
        s.most = here > s.most ? here : s.most;
    }
    if (s.most) dk_cpu_share(cpu, 4 * k->workers * k->d, k->workers * s.most, expand_range, &s);
}

/* ---- messages of a mask: the passes of mask.h, for those workers of all whose places are not there yet ---- */

typedef struct masks {
    const dk_rank *k;
    const dk_round *r;
} masks;

static void mask_count_range(const void *job, int64_t begin, int64_t end)
{
    const masks *m = job;
    const int64_t tiles = m->k->layout.tiles;
    for (int64_t e = begin; e < end; e++)
        if (!dk_mask_placed(m->k, m->r, (int)(e / tiles))) dk_mask_count(m->k, m->r, (int)(e / tiles), e % tiles);
}

static void mask_place_range(const void *job, int64_t begin, int64_t end)
{
    const masks *m = job;
    for (int64_t w = begin; w < end; w++)
        if (!dk_mask_placed(m->k, m->r, (int)w)) dk_mask_place(m->k, m->r, (int)w);
}

static void place_masks(const dk_cpu *cpu, const dk_rank *k, const dk_round *r)
{
    const masks m = {k, r};
    dk_cpu_share(cpu, 2 * k->workers * k->d, k->workers * k->layout.tiles, mask_count_range, &m);
    dk_cpu_share(cpu, k->workers * k->layout.tiles, k->workers, mask_place_range, &m);
}

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

static int requantize(void *context, const dk_rank *k, const dk_rank *back, const dk_round *r, int64_t begin, int64_t end)
{
    const dk_cpu *cpu = context;
    k->single ? requantize_f32(cpu, k, back, r, begin, end) : requantize_f64(cpu, k, back, r, begin, end);
    return 0;
}

static int blend(void *context, const dk_rank *k, void *to, const void *from, int64_t count, double weight, const dk_round *at)
{
    const dk_cpu *cpu = context;
    (void)at; /* a GPU's */
    k->single ? blend_all_f32(cpu, to, from, count, weight) : blend_all_f64(cpu, to, from, count, weight);
    return 0;
}

static int race(void *context, const dk_rank *k, const dk_race *r)
{
    (void)context;
    k->single ? race_f32(k, r) : race_f64(k, r);
    return 0;
}

static int local(void *context, const dk_rank *k, const dk_local *l)
{
    const dk_cpu *cpu = context;
    k->single ? local_f32(cpu, k, l) : local_f64(cpu, k, l);
    return 0;
}

const dk_cpu_kernels JOIN(dk_cpu_kernels, DK_ISA) = {.work = work, .refresh = refresh, .step = step,
                                                     .evaluate = evaluate, .requantize = requantize, .blend = blend,
                                                     .local = local, .race = race};
