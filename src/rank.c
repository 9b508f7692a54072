#include "rank.h"
#include "dense.h"
#include "self_check.h"
#include "steppers.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

dither_status dither_rank_check(const dither_rank *rank, int code, const char *what, dither_error *error)
{
    if (code == 0) return DITHER_OK;
    return dither_fail(error, DITHER_DEVICE, "device %s, %s: %s", rank->device.name, what,
                       rank->device.explain(rank->device.context, code));
}

dither_status dither_rank_gpu(const char *gpus, int devices, const dither_place *place, int *ordinal,
                              dither_error *error)
{
    dither_status status = DITHER_OK;
    int listed[DITHER_GPUS_MAX], count;
    TRY(dither_parse_gpus(gpus, listed, &count, error));
    for (int i = 0; i < count; i++)
        if (listed[i] >= devices)
            FAIL(DITHER_DEVICE, "--gpus %.80s: there is no GPU %d on this machine, which has %d, from number 0", gpus,
                 listed[i], devices);
    *ordinal = count ? listed[place->neighbour % count] : place->neighbour % devices;
out:
    return status;
}

static dither_status open_cuda(dither_rank *r, const dither_options *o, const dither_place *place, dither_error *error)
{
    dither_status status = DITHER_OK;
    const char *why = NULL;
    int ordinal = 0;
    const int devices = dk_cuda_devices(&why);
    if (!devices)
        FAIL(DITHER_DEVICE, "%s: %s; use --device cpu%s", strcmp(o->device, "cuda") ? "--gpus" : "--device cuda", why,
             strcmp(o->gpus, "auto") ? " without --gpus" : "");
    TRY(dither_rank_gpu(o->gpus, devices, place, &ordinal, error));
    if (dk_device_open_cuda(&r->device, ordinal, &why))
        FAIL(DITHER_DEVICE, "GPU %d can't be used: %s; use --device cpu", ordinal, why);
    r->device_open = 1;
out:
    return status;
}

/* auto: a GPU when there is one, or --gpus names one. One that is asked for, or there, and can't be used is an error. */
static dither_status open_device(dither_rank *r, const dither_options *o, const dither_place *place, dither_error *error)
{
    dither_status status = DITHER_OK;
    const char *why = NULL;
    const int cores = (int)sysconf(_SC_NPROCESSORS_ONLN);
    const int share = cores > place->neighbours ? cores / place->neighbours : 1;
    const int named = strcmp(o->gpus, "auto") != 0;
    if (named && !strcmp(o->device, "cpu"))
        FAIL(DITHER_USAGE, "--gpus %.80s is of --device cuda, not of cpu", o->gpus);
    if (!strcmp(o->device, "cuda") || (!strcmp(o->device, "auto") && (named || dk_cuda_devices(&why) > 0)))
        return open_cuda(r, o, place, error);
    if (dk_device_open_cpu(&r->device, o->threads_set ? (int)o->threads : -share))
        FAIL(DITHER_INTERNAL, "out of memory");
    r->device_open = r->on_host = 1;
out:
    return status;
}

/* An arena is laid out twice: once to count the bytes, once to place the pointers. */
typedef struct arena {
    char *base; /* NULL: counting */
    size_t used;
} arena;

static void *place(arena *a, int64_t count, size_t size)
{
    void *here = a->base ? a->base + a->used : NULL;
    a->used += ((size_t)count * size + 255) / 256 * 256;
    return here;
}

static void place_variable(dk_rank *k, arena *a)
{
    const int64_t tiles = k->layout.tiles;
    k->piece_at = place(a, k->workers * (tiles + 2), 8);
    k->message_bytes = place(a, k->workers, 8);
    k->sent = place(a, k->count, 8);
    if (!k->layout.coded) return;
    k->symbols = place(a, k->count * k->stride, 2);
    k->pieces = place(a, k->count * tiles * k->layout.tile_words, 4);
    k->piece_bytes = place(a, k->count * tiles, 4);
    k->received = place(a, k->workers * k->stride, 2);
}

static void place_state(dk_rank *k, arena *a, int64_t eval_chunks)
{
    const size_t real = k->single ? 4 : 8;
    const int64_t vectors = (int64_t)k->count * k->stride, draws = (int64_t)k->count * k->batch, outputs = k->outputs;
    k->x = place(a, k->stride, real);
    k->h_mean = place(a, k->stride, real);
    k->velocity = place(a, dither_steppers[k->stepper].vectors > 0 ? k->stride : 0, real);
    k->square = place(a, dither_steppers[k->stepper].vectors > 1 ? k->stride : 0, real);
    k->average = place(a, k->averaged ? k->stride : 0, real);
    k->h = place(a, k->memory ? vectors : 0, real);
    k->mu = place(a, k->snapshot ? vectors : 0, real);
    k->table = place(a, k->snapshot ? k->rows * outputs : 0, real);
    k->gradient = place(a, vectors, real);
    k->picked = place(a, draws, sizeof *k->picked);
    k->slope = place(a, draws * outputs, sizeof *k->slope);
    k->change = place(a, draws * outputs, sizeof *k->change);
    k->margin = outputs > 1 || k->dense.value ? place(a, 2 * k->rows * outputs, 8) : NULL;
    k->messages = place(a, k->plain_bits ? 0 : k->workers * k->layout.message_words, 4);
    if (k->layout.variable) place_variable(k, a);
    k->block_stat = place(a, k->layout.tiles_per_block > 1 ? DK_STAT_PARTS * k->count * k->layout.tiles : 0, 8);
    k->sum = place(a, k->stride, real);
    k->shared = k->lanes.words ? place(a, k->layout.blocks, 4) : NULL;
    k->sums = place(a, k->lanes.words ? k->d : 0, 4);
    k->lane_words = place(a, k->lanes.words, (size_t)k->lanes.word_bytes);
    k->plain = k->plain_bits ? place(a, k->d, (size_t)k->plain_bits / 8) : NULL;
    k->tile_norm = place(a, k->layout.tiles + 1, 8);
    k->bad = place(a, 2, 8);
    k->eval_table = place(a, k->rows * outputs, real);
    k->x_star = place(a, k->stride, 8);
    k->x_diff = place(a, k->stride, 8);
    k->eval_sums = place(a, 2 * eval_chunks, 8);
}

/* The rows of the rank on the host, in the form the kernels take. */
typedef struct shard {
    int64_t rows, nonzeros, *worker_row, *row_start, *col_start;
    int32_t *col_row;
    double *col_value, *weight;
} shard;

static void shard_free(shard *s)
{
    free(s->worker_row), free(s->row_start), free(s->col_start), free(s->col_row), free(s->col_value), free(s->weight);
}

/* One worker's rows by column: a counting sort, so rows ascend within a column. */
static void transpose(const dither_data *data, int64_t row0, int64_t rows, int64_t base, int64_t d, int64_t *start,
                      int32_t *col_row, double *col_value)
{
    for (int64_t e = data->row_start[row0]; e < data->row_start[row0 + rows]; e++) start[data->column[e] + 1]++;
    start[0] = base;
    for (int64_t c = 0; c < d; c++) start[c + 1] += start[c];
    for (int64_t r = 0; r < rows; r++)
        for (int64_t e = data->row_start[row0 + r]; e < data->row_start[row0 + r + 1]; e++) {
            const int64_t to = start[data->column[e]]++;
            col_row[to] = (int32_t)r;
            col_value[to] = data->value[e];
        }
    for (int64_t c = d; c > 0; c--) start[c] = start[c - 1];
    start[0] = base;
}

static dither_status shard_make(shard *s, const dither_plan *p, int first, int count, dither_error *error)
{
    const dither_data *data = dither_plan_data(p);
    const int64_t row0 = dither_plan_worker_row(p, first), d = data->features;
    dither_status status = DITHER_OK;
    s->rows = dither_plan_worker_row(p, first + count) - row0;
    s->nonzeros = data->row_start[row0 + s->rows] - data->row_start[row0];
    TRY_ALLOC(s->worker_row, count + 1);
    TRY_ALLOC(s->row_start, s->rows + 1);
    TRY_ALLOC(s->col_start, count * (d + 1));
    TRY_ALLOC(s->col_row, s->nonzeros);
    TRY_ALLOC(s->col_value, s->nonzeros);
    TRY_ALLOC(s->weight, count);
    for (int64_t r = 0; r <= s->rows; r++) s->row_start[r] = data->row_start[row0 + r] - data->row_start[row0];
    for (int w = 0; w < count; w++) {
        const int64_t begin = dither_plan_worker_row(p, first + w), end = dither_plan_worker_row(p, first + w + 1);
        s->worker_row[w] = begin - row0;
        s->weight[w] = (double)p->workers * (double)(end - begin) / (double)p->rows;
        transpose(data, begin, end - begin, s->row_start[begin - row0], d, s->col_start + w * (d + 1), s->col_row,
                  s->col_value);
    }
    s->worker_row[count] = s->rows;
out:
    return status;
}

dither_status dither_rank_write(const dither_rank *rank, void *real, int64_t count, const double *in,
                                dither_error *error)
{
    dither_status status = DITHER_OK;
    float *narrow = NULL;
    const dk_device *v = &rank->device;
    if (!rank->k.single) {
        TRY_DEVICE(rank, v->upload(v->context, real, in, (size_t)count * 8), "upload");
        return DITHER_OK;
    }
    TRY_ALLOC(narrow, count);
    for (int64_t i = 0; i < count; i++) narrow[i] = (float)in[i];
    TRY_DEVICE(rank, v->upload(v->context, real, narrow, (size_t)count * 4), "upload");
out:
    free(narrow);
    return status;
}

dither_status dither_rank_read(const dither_rank *rank, const void *real, int64_t count, double *out,
                               dither_error *error)
{
    dither_status status = DITHER_OK;
    const dk_device *v = &rank->device;
    TRY_DEVICE(rank, v->download(v->context, out, real, (size_t)count * (rank->k.single ? 4 : 8)), "download");
    /* widen in place, from the end: the floats lie in the lower half */
    if (rank->k.single)
        for (int64_t i = count; i-- > 0;) {
            float narrow;
            memcpy(&narrow, (char *)out + 4 * i, 4);
            out[i] = (double)narrow;
        }
out:
    return status;
}

static dither_status upload_shard(dither_rank *r, const dither_plan *p, const shard *s, dither_error *error)
{
    dk_rank *k = &r->k;
    const dk_device *v = &r->device;
    const dither_data *data = dither_plan_data(p);
    const int64_t row0 = dither_plan_worker_row(p, k->first), first = data->row_start[row0], nz = s->nonzeros;
    const size_t real = k->single ? 4 : 8;
    dither_status status = DITHER_OK;
    for (int pass = 0; pass < 2; pass++) {
        arena a = {.base = r->data_arena};
        k->worker_row = place(&a, k->count + 1, 8);
        k->row_start = place(&a, s->rows + 1, 8);
        k->column = place(&a, nz, 4);
        k->value = place(&a, k->unit ? 0 : nz, real);
        k->label = place(&a, s->rows, 8);
        k->weight = place(&a, k->count, 8);
        k->col_start = place(&a, k->count * (k->features + 1), 8);
        k->col_row = place(&a, nz, 4);
        k->col_value = place(&a, k->unit ? 0 : nz, real);
        if (pass == 0) TRY_DEVICE(r, v->alloc(v->context, a.used, &r->data_arena), "memory for the data");
    }
    const struct {
        const void *to, *from;
        size_t bytes;
    } copies[] = {{k->worker_row, s->worker_row, (size_t)(k->count + 1) * 8},
                  {k->row_start, s->row_start, (size_t)(s->rows + 1) * 8},
                  {k->column, data->column + first, (size_t)nz * 4},
                  {k->label, dither_plan_labels(p) + row0, (size_t)s->rows * 8},
                  {k->weight, s->weight, (size_t)k->count * 8},
                  {k->col_start, s->col_start, (size_t)(k->count * (k->features + 1)) * 8},
                  {k->col_row, s->col_row, (size_t)nz * 4}};
    for (size_t i = 0; i < sizeof copies / sizeof *copies; i++)
        TRY_DEVICE(r, v->upload(v->context, (void *)copies[i].to, copies[i].from, copies[i].bytes), "upload");
    if (!k->unit) {
        TRY(dither_rank_write(r, (void *)k->value, nz, data->value + first, error));
        TRY(dither_rank_write(r, (void *)k->col_value, nz, s->col_value, error));
    }
out:
    return status;
}

/* p + count elements of `bytes`; NULL stays NULL */
static void *moved(const void *p, int64_t count, size_t bytes)
{
    return p ? (char *)p + (size_t)count * bytes : NULL;
}

dk_rank dither_rank_worker(const dither_rank *rank, int w, int64_t begin, int64_t end, const int64_t *rows)
{
    dk_rank k = rank->k;
    const size_t real = k.single ? 4 : 8;
    const int64_t vector = w * k.stride, draws = (int64_t)w * k.batch, tiles = k.layout.tiles, slot = k.first + w;
    k.first = 0, k.count = k.workers = 1, k.rows = end - begin, k.worker_row = rows;
    k.row_start += begin, k.label += begin, k.weight += w, k.col_start += w * (k.features + 1);
    k.h = moved(k.h, vector, real), k.mu = moved(k.mu, vector, real), k.table = moved(k.table, begin * k.outputs, real);
    k.gradient = moved(k.gradient, vector, real);
    k.picked += draws, k.slope += draws * k.outputs, k.change += draws * k.outputs;
    k.margin = moved(k.margin, begin * k.outputs, 8);
    if (k.dense.value)
        k.dense = (dk_dense){.value = moved(k.dense.value, begin * k.features, real),
                             .row = k.dense.row + rank->k.count + 1 + 2 * w, .share = k.dense.share + w};
    k.messages = moved(k.messages, slot * k.layout.message_words, 4);
    k.block_stat = moved(k.block_stat, DK_STAT_PARTS * w * tiles, 8);
    if (!k.layout.variable) return k;
    k.piece_at = moved(k.piece_at, slot * (tiles + 2), 8), k.message_bytes = moved(k.message_bytes, slot, 8);
    k.sent = moved(k.sent, w, 8);
    if (!k.layout.coded) return k;
    k.symbols = moved(k.symbols, vector, 2), k.pieces = moved(k.pieces, w * tiles * k.layout.tile_words, 4);
    k.piece_bytes = moved(k.piece_bytes, w * tiles, 4), k.received = moved(k.received, slot * k.stride, 2);
    return k;
}

/* Multiplying by 1 changes no bit, so data of zeros and ones needs no values: a third of the memory traffic. */
static int all_ones(const dither_data *data)
{
    int64_t e = 0;
    while (e < data->nonzeros && data->value[e] == 1) e++;
    return e == data->nonzeros;
}

dither_status dither_rank_sent(const dither_rank *rank, int64_t *bytes, dither_error *error)
{
    dither_status status = DITHER_OK;
    const dk_device *v = &rank->device;
    int64_t *each = NULL;
    TRY_ALLOC(each, rank->k.count);
    TRY_DEVICE(rank, v->download(v->context, each, rank->k.sent, (size_t)rank->k.count * 8), "message sizes");
    *bytes = 0;
    for (int w = 0; w < rank->k.count; w++) *bytes += each[w];
out:
    free(each);
    return status;
}

static void describe(dk_rank *k, const dither_plan *p, int first, int count)
{
    *k = (dk_rank){.single = p->single, .loss = p->problem.loss, .prox = p->problem.prox, .workers = p->workers,
                   .first = first, .count = count, .batch = p->batch, .sampling = p->sampling,
                   .snapshot = p->estimator->full || p->estimator->table, .saga = p->estimator->drawn, .memory = p->memory,
                   .unit = all_ones(dither_plan_data(p)), .averaged = p->average != DITHER_AVERAGE_NONE,
                   .outputs = p->problem.outputs, .features = p->problem.data->features,
                   .d = p->d, .stride = (p->d + 15) / 16 * 16, .seed = p->seed, .l2 = p->problem.l2,
                   .nonconvex = p->problem.nonconvex,
                   .prox_a = p->problem.prox_a, .prox_b = p->problem.prox_b, .codec = p->codec, .lanes = p->lanes,
                   .stepper = p->stepper, .beta1 = p->options->momentum, .beta2 = p->options->beta2,
                   .epsilon = p->options->epsilon,
                   .plain_bits = p->aggregate->plain};
    dk_layout_make(&k->layout, &p->codec, p->d, p->block, p->single ? 4 : 8);
}

dither_status dither_rank_fill(dither_rank *r, const dither_plan *p, int first, int count, dither_error *error)
{
    dither_status status = DITHER_OK;
    shard s = {0};
    arena a = {0};
    describe(&r->k, p, first, count);
    TRY(shard_make(&s, p, first, count, error));
    r->k.rows = s.rows;
    TRY(upload_shard(r, p, &s, error));
    if (p->dense) TRY(dither_dense_fill(r, p, s.worker_row, s.weight, error));
    r->eval_chunks = 0;
    for (int w = 0; w < count; w++)
        r->eval_chunks += (s.worker_row[w + 1] - s.worker_row[w] + DK_EVAL_ROWS - 1) / DK_EVAL_ROWS;
    place_state(&r->k, &a, r->eval_chunks);
    TRY_DEVICE(r, r->device.alloc(r->device.context, a.used, &r->state_arena), "memory for the state");
    a = (arena){.base = r->state_arena};
    place_state(&r->k, &a, r->eval_chunks);
out:
    shard_free(&s);
    if (status != DITHER_OK) dither_rank_release(r);
    return status;
}

void dither_rank_release(dither_rank *rank)
{
    const dk_device *v = &rank->device;
    if (rank->data_arena) v->release(v->context, rank->data_arena);
    if (rank->state_arena) v->release(v->context, rank->state_arena);
    rank->data_arena = rank->state_arena = NULL;
    dither_dense_release(rank);
}

dither_status dither_rank_open(dither_rank *out, const dither_plan *p, int first, int count, const dither_place *place,
                               dither_error *error)
{
    static const dither_place alone = {.neighbours = 1};
    dither_status status = DITHER_OK;
    *out = (dither_rank){0};
    TRY(open_device(out, p->options, place ? place : &alone, error));
    TRY(dither_self_check(&out->device, error));
    TRY(dither_rank_fill(out, p, first, count, error));
out:
    if (status != DITHER_OK) dither_rank_close(out);
    return status;
}

void dither_rank_close(dither_rank *rank)
{
    if (!rank || !rank->device_open) return;
    dither_rank_release(rank);
    rank->device.close(rank->device.context);
    *rank = (dither_rank){0};
}
