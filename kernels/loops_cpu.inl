/* The CPU's loops over workers and tiles, for one REAL. Each is a function of a range, which dk_cpu_share runs whole or
 * in parts on several threads. */

typedef struct FN(job) {
    const dk_rank *k;
    const dk_round *r;
    int stages;
    int64_t tiles;
    int64_t first; /* of a range that does not begin at 0 */
    const dk_cpu *cpu; /* of dense rows */
    REAL *table, *out;
} FN(job);

enum { FN(ROWS) = 512, FN(COLUMNS) = 64 }; /* of a refresh's parts */

/* The rows of a batch lie anywhere in memory: a worker's are drawn and asked for while the worker before it is at
 * work. */
static void FN(draw_ahead)(const dk_rank *k, const dk_round *r, int w)
{
    FN(draw_rows)(k, r, w);
    const int64_t *picked = k->picked + (int64_t)w * k->batch;
    for (int q = 0; q < k->batch && q < 64; q++) {
        const int64_t begin = k->row_start[picked[q]], length = k->row_start[picked[q] + 1] - begin;
        const char *column = (const char *)(k->column + begin), *value = (const char *)k->value + begin * (int64_t)sizeof(REAL);
        const int64_t bytes = length * (int64_t)sizeof(REAL) < 512 ? length * (int64_t)sizeof(REAL) : 512;
        for (int64_t i = 0; !k->unit && i < bytes + 63; i += 64) __builtin_prefetch(value + i);
        for (int64_t i = 0; i < length * 4 + 63 && i < 320; i += 64) __builtin_prefetch(column + i);
        __builtin_prefetch(k->label + picked[q]);
        if (k->snapshot) __builtin_prefetch((const REAL *)k->table + picked[q] * k->outputs);
    }
}

static void FN(work_range)(const void *job, int64_t begin, int64_t end)
{
    const FN(job) *j = job;
    const dk_rank *k = j->k;
    const int sampled = j->stages & DK_GRADIENT_SAMPLED, gradient = sampled || j->stages & DK_GRADIENT_DENSE;
    if (sampled && begin < end) FN(draw_ahead)(k, j->r, (int)begin);
    for (int64_t w = begin; w < end; w++) {
        if (sampled && w + 1 < end) FN(draw_ahead)(k, j->r, (int)w + 1);
        if (sampled) FN(draw_slopes)(k, (int)w);
        if (gradient) FN(gradient_dense)(k, (int)w, 0, k->d);
        if (sampled) FN(gradient_add_drawn)(k, (int)w);
        for (int64_t tile = 0; tile < j->tiles; tile++) FN(encode_tile)(k, j->r, (int)w, tile);
        if (j->tiles && k->layout.coded) send_worker(k, (int)w);
    }
}

static void FN(statistic_range)(const void *job, int64_t begin, int64_t end)
{
    const FN(job) *j = job;
    const int64_t tiles = j->k->layout.tiles;
    for (int64_t e = begin; e < end; e++) FN(encode_tile_statistic)(j->k, (int)(e / tiles), e % tiles);
}

static void FN(scale_range)(const void *job, int64_t begin, int64_t end)
{
    const FN(job) *j = job;
    const int64_t blocks = j->k->layout.blocks;
    for (int64_t e = begin; e < end; e++) FN(encode_block_scale)(j->k, (int)(e / blocks), e % blocks);
}

/* A tile's loads and its Philox rounds take turns: the next tile's gradient and memory are asked for before this
 * one's rounds begin, so that the bus is not idle meanwhile. */
static void FN(prefetch_tile)(const dk_rank *k, int w, int64_t tile)
{
    if (tile >= k->layout.tiles) return;
    const dk_tile t = dk_tile_at(&k->layout, tile);
    const char *g = (const char *)((const REAL *)k->gradient + w * k->stride + t.lo);
    const char *h = (const char *)((const REAL *)k->h + w * k->stride + t.lo);
    for (int64_t i = 0; i < t.n * (int64_t)sizeof(REAL); i += 64) {
        __builtin_prefetch(g + i, 0, 2);
        if (k->memory) __builtin_prefetch(h + i, 1, 2);
    }
}

static void FN(encode_range)(const void *job, int64_t begin, int64_t end)
{
    const FN(job) *j = job;
    const int64_t tiles = j->k->layout.tiles;
    for (int64_t e = begin; e < end; e++) {
        FN(prefetch_tile)(j->k, (int)(e / tiles), e % tiles + 1);
        FN(encode_tile)(j->k, j->r, (int)(e / tiles), e % tiles);
    }
}

enum { FN(SHARE) = 2048 }; /* blocks or words of a part */

static void FN(scale_tile_range)(const void *job, int64_t begin, int64_t end)
{
    const FN(job) *j = job;
    const int64_t tiles = j->k->layout.tiles;
    for (int64_t e = begin; e < end; e++) FN(scale_tile)(j->k, (int)(e / tiles), e % tiles);
}

static void FN(sum_range)(const void *job, int64_t begin, int64_t end)
{
    const FN(job) *j = job;
    for (int64_t tile = begin; tile < end; tile++) FN(sum_tile)(j->k, tile);
}

static void FN(lanes_range)(const void *job, int64_t begin, int64_t end)
{
    const FN(job) *j = job;
    const int64_t words = j->k->lanes.words, last = end * FN(SHARE) < words ? end * FN(SHARE) : words;
    FN(pack_lanes)(j->k, begin * FN(SHARE), last);
}

/* The stages of messages that are summed as integers. */
static void FN(work_shared)(const dk_cpu *cpu, const FN(job) *job)
{
    const dk_rank *k = job->k;
    const dk_layout *y = &k->layout;
    const int64_t all = k->count * y->tiles, units = k->count * k->d;
    if (job->stages & DK_SCALES) {
        if (y->tiles_per_block == 1) {
            dk_cpu_share(cpu, units, all, FN(scale_tile_range), job);
        } else {
            dk_cpu_share(cpu, units, all, FN(statistic_range), job);
            dk_cpu_share(cpu, all, k->count * y->blocks, FN(scale_range), job);
        }
        FN(share_scales)(k, 0, y->blocks);
    }
    if (!(job->stages & DK_ENCODE)) return;
    dk_cpu_share(cpu, units, all, FN(encode_range), job);
    dk_cpu_share(cpu, units, y->tiles, FN(sum_range), job);
    dk_cpu_share(cpu, k->d, (k->lanes.words + FN(SHARE) - 1) / FN(SHARE), FN(lanes_range), job);
}

static void FN(plain_range)(const void *job, int64_t begin, int64_t end)
{
    const FN(job) *j = job;
    for (int64_t tile = begin; tile < end; tile++) FN(plain_sum)(j->k, tile);
}

static void FN(mask_encode_range)(const void *job, int64_t begin, int64_t end)
{
    const FN(job) *j = job;
    const int64_t tiles = j->k->layout.tiles;
    for (int64_t e = begin; e < end; e++) FN(mask_encode)(j->k, j->r, (int)(e / tiles), e % tiles);
}

static void FN(mask_decode_range)(const void *job, int64_t begin, int64_t end)
{
    const FN(job) *j = job;
    for (int64_t tile = begin; tile < end; tile++) FN(mask_decode)(j->k, j->r, tile);
}

static void FN(work)(const dk_cpu *cpu, const dk_rank *k, const dk_round *r, int stages)
{
    const dk_layout *y = &k->layout;
    const int64_t units = k->count * (k->d + (stages & DK_GRADIENT_SAMPLED ? 32 * (int64_t)k->batch * k->outputs : 0));
    const int masked = dk_codec_is_masked(k->codec.kind), encode = stages & DK_ENCODE && !k->shared && !k->plain;
    const int together = y->tiles_per_block == 1 && y->tiles <= 4 && !masked;
    const FN(job) job = {.k = k, .r = r, .stages = stages, .tiles = encode && together ? y->tiles : 0};
    if (stages != DK_ENCODE || !k->shared) dk_cpu_share(cpu, units, k->count, FN(work_range), &job);
    if (k->shared) FN(work_shared)(cpu, &job);
    if (k->plain && stages & DK_ENCODE) dk_cpu_share(cpu, k->count * k->d, y->tiles, FN(plain_range), &job);
    if (!encode || together) return;
    if (masked) {
        place_masks(cpu, k, r);
        dk_cpu_share(cpu, 2 * k->count * k->d, k->count * y->tiles, FN(mask_encode_range), &job);
        return;
    }
    if (y->scale_words > 0 && y->tiles_per_block > 1) {
        dk_cpu_share(cpu, k->count * k->d, k->count * y->tiles, FN(statistic_range), &job);
        dk_cpu_share(cpu, k->count * y->tiles, k->count * y->blocks, FN(scale_range), &job);
    }
    dk_cpu_share(cpu, units, k->count * y->tiles, FN(encode_range), &job);
    if (y->coded) send_all(cpu, k);
}

static void FN(table_range)(const void *job, int64_t begin, int64_t end)
{
    const FN(job) *j = job;
    for (int64_t e = begin; e < end; e++) {
        const int64_t row = e * FN(ROWS), last = row + FN(ROWS) < j->k->rows ? row + FN(ROWS) : j->k->rows;
        FN(slopes_of_rows)(j->k, j->table, row, last);
    }
}

static void FN(columns_range)(const void *job, int64_t begin, int64_t end)
{
    const FN(job) *j = job;
    const int64_t d = j->k->features, chunks = (d + FN(COLUMNS) - 1) / FN(COLUMNS);
    for (int64_t e = begin; e < end; e++) {
        const int64_t column = e % chunks * FN(COLUMNS), last = column + FN(COLUMNS) < d ? column + FN(COLUMNS) : d;
        FN(columns_mean)(j->k, (int)(e / chunks), j->table, j->out, column, last);
    }
}

/* ---- dense rows: the library's products, each of a part of one worker's rows or columns, whatever the number of threads */

enum { FN(DENSE_COLUMNS) = 512, FN(DENSE_CACHED) = 1 << 18 /* bytes of rows */, FN(DENSE_WORKERS) = 4 };

/* z[m x K] := margins of the rows [begin, begin + m) at x */
static void FN(dense_margins)(const dk_cpu *cpu, const dk_rank *k, int64_t begin, int m, const REAL *x, REAL *z)
{
    const REAL *a = (const REAL *)k->dense.value + begin * k->features;
    const int features = (int)k->features, outputs = k->outputs;
    if (outputs == 1) cpu->blas->FN(gemv)(0, m, features, 1, a, features, x, 0, z);
    else cpu->blas->FN(gemm)(0, 1, m, outputs, features, 1, a, features, x, features, z, outputs);
}

/* Where part e of a worker's rows lies, `each` rows being a part, and parts of workers following each other. */
static int FN(dense_part)(const dk_rank *k, int64_t each, int64_t e, int64_t *begin, int64_t *end)
{
    int w = 0;
    int64_t parts = 0;
    for (;; w++) {
        parts = (k->dense.row[w + 1] - k->dense.row[w] + each - 1) / each;
        if (e < parts) break;
        e -= parts;
    }
    *begin = k->dense.row[w] + e * each;
    *end = *begin + each < k->dense.row[w + 1] ? *begin + each : k->dense.row[w + 1];
    return w;
}

static void FN(dense_table_range)(const void *job, int64_t first, int64_t last)
{
    const FN(job) *j = job;
    for (int64_t e = first; e < last; e++) {
        int64_t begin, end;
        const int w = FN(dense_part)(j->k, FN(ROWS), e, &begin, &end);
        FN(dense_margins)(j->cpu, j->k, begin, (int)(end - begin), FN(view)(j->k, w), j->table + begin * j->k->outputs);
        FN(slopes_of_margins)(j->k, j->table, begin, end);
    }
}

static void FN(dense_columns_range)(const void *job, int64_t first, int64_t last)
{
    const FN(job) *j = job;
    const dk_rank *k = j->k;
    const int features = (int)k->features, outputs = k->outputs;
    const int64_t chunks = (k->features + FN(DENSE_COLUMNS) - 1) / FN(DENSE_COLUMNS);
    for (int64_t e = first; e < last; e++) {
        const int64_t w = e / chunks, c = e % chunks * FN(DENSE_COLUMNS), row = k->dense.row[w];
        const int n = (int)(k->features - c < FN(DENSE_COLUMNS) ? k->features - c : FN(DENSE_COLUMNS));
        const int m = (int)(k->dense.row[w + 1] - row);
        const REAL share = (REAL)k->dense.share[w], *a = (const REAL *)k->dense.value + row * k->features + c;
        const REAL *slopes = j->table + row * outputs;
        REAL *out = j->out + w * k->stride + c;
        if (outputs == 1) j->cpu->blas->FN(gemv)(1, m, n, share, a, features, slopes, 0, out);
        else j->cpu->blas->FN(gemm)(1, 0, outputs, n, m, share, slopes, outputs, a, features, out, features);
    }
}

/* Both for whole workers, some rows at a time, so that the second product finds them in the cache. One output. */
static void FN(dense_workers_range)(const void *job, int64_t first, int64_t last)
{
    const FN(job) *j = job;
    const dk_rank *k = j->k;
    const int64_t fit = (int64_t)FN(DENSE_CACHED) / (k->features * (int64_t)sizeof(REAL)), each = fit > 8 ? fit : 8;
    for (int64_t w = first; w < last; w++) {
        const REAL share = (REAL)k->dense.share[w];
        REAL *out = j->out + w * k->stride;
        for (int64_t row = k->dense.row[w], end = k->dense.row[w + 1]; row < end; row += each) {
            const int m = (int)(end - row < each ? end - row : each), features = (int)k->features;
            const REAL *a = (const REAL *)k->dense.value + row * k->features;
            const REAL beta = row > k->dense.row[w];
            FN(dense_margins)(j->cpu, k, row, m, FN(view)(k, (int)w), j->table + row);
            FN(slopes_of_margins)(k, j->table, row, row + m);
            j->cpu->blas->FN(gemv)(1, m, features, share, a, features, j->table + row, beta, out);
        }
    }
}

static void FN(dense_refresh)(const dk_cpu *cpu, const dk_rank *k, REAL *table, REAL *out, int keep_table)
{
    const FN(job) job = {.k = k, .cpu = cpu, .table = table, .out = out};
    const int64_t units = k->rows * k->features * k->outputs / 4;
    int64_t parts = 0;
    if (!keep_table && k->outputs == 1 && k->count >= FN(DENSE_WORKERS)) { /* of fewer, threads take parts */
        dk_cpu_share(cpu, units, k->count, FN(dense_workers_range), &job);
        return;
    }
    for (int w = 0; w < k->count; w++) parts += (k->dense.row[w + 1] - k->dense.row[w] + FN(ROWS) - 1) / FN(ROWS);
    if (!keep_table) dk_cpu_share(cpu, units, parts, FN(dense_table_range), &job);
    dk_cpu_share(cpu, units, k->count * ((k->features + FN(DENSE_COLUMNS) - 1) / FN(DENSE_COLUMNS)), FN(dense_columns_range), &job);
}

static void FN(refresh)(const dk_cpu *cpu, const dk_rank *k, REAL *table, REAL *out, int keep_table)
{
    if (k->dense.value) {
        FN(dense_refresh)(cpu, k, table, out, keep_table);
        return;
    }
    const int64_t units = k->row_start[k->rows] * k->outputs, chunks = (k->features + FN(COLUMNS) - 1) / FN(COLUMNS);
    const FN(job) job = {.k = k, .table = table, .out = out};
    if (!keep_table) dk_cpu_share(cpu, units, (k->rows + FN(ROWS) - 1) / FN(ROWS), FN(table_range), &job);
    dk_cpu_share(cpu, units, k->count * chunks, FN(columns_range), &job);
}

static void FN(step_range)(const void *job, int64_t begin, int64_t end)
{
    const FN(job) *j = job;
    for (int64_t tile = begin; tile < end; tile++) FN(step_tile)(j->k, j->r, tile);
}

static void FN(step)(const dk_cpu *cpu, const dk_rank *k, const dk_round *r)
{
    const int64_t tiles = k->layout.tiles;
    const FN(job) job = {.k = k, .r = r};
    if (dk_codec_is_gather(k->codec.kind)) {
        memset(k->sum, 0, (size_t)k->d * sizeof(REAL));
        FN(decode_gather)(k, r);
    }
    if (dk_codec_is_masked(k->codec.kind)) {
        place_masks(cpu, k, r);
        dk_cpu_share(cpu, 2 * k->d * k->workers, tiles, FN(mask_decode_range), &job);
    }
    if (k->layout.coded) receive_all(cpu, k);
    dk_cpu_share(cpu, k->d * k->workers, tiles, FN(step_range), &job);
    if (k->prox != DK_PROX_BALL) return;
    FN(norm_total)(k);
    for (int64_t tile = 0; tile < tiles; tile++) FN(project_tile)(k, tile);
}

typedef struct FN(local_job) {
    const dk_rank *k;
    const dk_local *l;
} FN(local_job);

static void FN(local_range)(const void *job, int64_t begin, int64_t end)
{
    const FN(local_job) *j = job;
    for (int64_t w = begin; w < end; w++) FN(local_steps)(j->k, j->l, (int)w);
}

static void FN(local)(const dk_cpu *cpu, const dk_rank *k, const dk_local *l)
{
    const FN(local_job) job = {.k = k, .l = l};
    dk_cpu_share(cpu, k->count * (k->d + 32 * (int64_t)k->batch * k->outputs) * (l->steps + 1), k->count, FN(local_range), &job);
}

static void FN(direction_range)(const void *job, int64_t begin, int64_t end)
{
    const FN(job) *j = job;
    for (int64_t e = j->first + begin; e < j->first + end; e++) FN(direction_tile)(j->k, j->r, e, j->out);
}

static void FN(back_statistic_range)(const void *job, int64_t begin, int64_t end)
{
    const int64_t first = ((const FN(job) *)job)->first;
    FN(statistic_range)(job, first + begin, first + end);
}

static void FN(back_encode_range)(const void *job, int64_t begin, int64_t end)
{
    const int64_t first = ((const FN(job) *)job)->first;
    FN(encode_range)(job, first + begin, first + end);
}

static void FN(requantize)(const dk_cpu *cpu, const dk_rank *k, const dk_rank *back, const dk_round *r, int64_t begin,
                           int64_t end)
{
    const dk_layout *y = &back->layout;
    const int64_t per = y->tiles_per_block, count = end - begin, units = count * DK_TILE;
    const dk_round still = {.iteration = r->iteration, .gamma = r->gamma};
    const FN(job) direction = {.k = k, .r = r, .first = begin, .out = (REAL *)back->gradient};
    const FN(job) encode = {.k = back, .r = &still, .first = begin};
    if (count <= 0) return;
    if (dk_codec_is_gather(k->codec.kind)) {
        memset(k->sum, 0, (size_t)k->d * sizeof(REAL));
        FN(decode_gather)(k, r);
    }
    dk_cpu_share(cpu, units * k->workers, count, FN(direction_range), &direction);
    if (y->scale_words > 0 && per > 1) {
        dk_cpu_share(cpu, units, count, FN(back_statistic_range), &encode);
        FN(scale_range)(&encode, begin / per, (end + per - 1) / per);
    }
    dk_cpu_share(cpu, units, count, FN(back_encode_range), &encode);
}

static void FN(race)(const dk_rank *k, const dk_race *r)
{
    /* one by one, so that the lanes' order does not become that of the updates */
    for (int64_t q = r->begin; !r->ring && q < r->count; q += r->step) FN(race_updates)(k, r, q, q + 1, 1);
    for (int64_t t = r->first; r->ring && t < r->first + r->count; t++) FN(race_emulate)(k, r, t);
}

/* Margins at x*, then those of x - x*; real is double. */
static void FN(dense_evaluate)(const dk_cpu *cpu, const dk_rank *k, int64_t begin, int m)
{
    REAL *z = (REAL *)(void *)k->margin + begin * k->outputs;
    FN(dense_margins)(cpu, k, begin, m, (const REAL *)(const void *)k->x_star, z);
    FN(dense_margins)(cpu, k, begin, m, (const REAL *)(const void *)k->x_diff, z + k->rows * k->outputs);
}

/* Part e of the evaluation is chunk e of the rank; a chunk belongs to one worker. */
static void FN(evaluate_range)(const void *job, int64_t begin, int64_t end)
{
    const FN(job) *j = job;
    const dk_rank *k = j->k;
    int64_t first = 0;
    for (int w = 0; w < k->count && first < end; w++) {
        const int64_t row0 = k->worker_row[w], m = k->worker_row[w + 1] - row0;
        const int64_t last = first + (m + DK_EVAL_ROWS - 1) / DK_EVAL_ROWS;
        for (int64_t e = begin > first ? begin : first; e < end && e < last; e++) {
            const int64_t row = (e - first) * DK_EVAL_ROWS, stop = row + DK_EVAL_ROWS < m ? row + DK_EVAL_ROWS : m;
            if (FN(margins_given)(k)) FN(dense_evaluate)(j->cpu, k, row0 + row, (int)(stop - row));
            FN(evaluate_rows)(k, row0 + row, row0 + stop, k->eval_sums + 2 * e);
        }
        first = last;
    }
}

static void FN(evaluate)(const dk_cpu *cpu, const dk_rank *k)
{
    const FN(job) job = {.k = k, .cpu = cpu};
    int64_t chunks = 0;
    for (int w = 0; w < k->count; w++)
        chunks += (k->worker_row[w + 1] - k->worker_row[w] + DK_EVAL_ROWS - 1) / DK_EVAL_ROWS;
    dk_cpu_share(cpu, k->row_start[k->rows] * k->outputs, chunks, FN(evaluate_range), &job);
}

typedef struct FN(blend_job) {
    REAL *to;
    const REAL *from;
    double weight;
    int64_t count;
} FN(blend_job);

static void FN(blend_range)(const void *job, int64_t begin, int64_t end)
{
    const FN(blend_job) *j = job;
    const int64_t last = end * DK_TILE < j->count ? end * DK_TILE : j->count;
    FN(blend)(j->to, j->from, j->weight, begin * DK_TILE, last);
}

static void FN(blend_all)(const dk_cpu *cpu, REAL *to, const REAL *from, int64_t count, double weight)
{
    const FN(blend_job) job = {.to = to, .from = from, .weight = weight, .count = count};
    dk_cpu_share(cpu, count / 2, (count + DK_TILE - 1) / DK_TILE, FN(blend_range), &job);
}
