/* The CPU's loops over workers and tiles, for one REAL. A parallel region costs about a microsecond, as much as a
 * whole iteration on small data, so `threads` is asked for with the work at hand (cpu_threads). */


static void FN(encode_split_blocks)(const dk_cpu *cpu, const dk_rank *k)
{
    const int64_t tiles = k->layout.tiles, blocks = k->layout.blocks;
    if (k->layout.scale_words == 0 || k->layout.tiles_per_block == 1) return;
#pragma omp parallel for num_threads(cpu_threads(cpu, k->count * k->d)) schedule(static)
    for (int64_t e = 0; e < k->count * tiles; e++) FN(encode_tile_statistic)(k, (int)(e / tiles), e % tiles);
    for (int64_t e = 0; e < k->count * blocks; e++) FN(encode_block_scale)(k, (int)(e / blocks), e % blocks);
}

/* The rows of one worker's batch lie anywhere: ask for them while another worker's are being used. */
static void FN(prefetch_rows)(const dk_rank *k, int w)
{
    enum { LINES = 8 };
    const int64_t *picked = k->picked + (int64_t)w * k->batch;
    for (int q = 0; q < k->batch && q < 16; q++) {
        const int64_t begin = k->row_start[picked[q]], length = k->row_start[picked[q] + 1] - begin;
        const char *column = (const char *)(k->column + begin), *value = (const char *)((const REAL *)k->value + begin);
        for (int line = 0; line < LINES && line * 64 < length * (int64_t)sizeof(REAL); line++) {
            __builtin_prefetch(value + 64 * line);
            if (line * 64 < length * 4) __builtin_prefetch(column + 64 * line);
        }
        __builtin_prefetch(k->label + picked[q]);
        if (k->snapshot) __builtin_prefetch((const REAL *)k->table + picked[q]);
    }
}

static void FN(worker_gradient)(const dk_rank *k, int w, int stages)
{
    if (stages & DK_GRADIENT_SAMPLED) FN(draw_slopes)(k, w);
    FN(gradient_dense)(k, w, 0, k->d);
    if (stages & DK_GRADIENT_SAMPLED) FN(gradient_add_drawn)(k, w);
}

/* Gradients of all workers, and their messages where a worker's are few tiles. */
static void FN(worker_loop)(const dk_cpu *cpu, const dk_rank *k, const dk_round *r, int stages, int64_t tiles,
                            int64_t units)
{
    const int sampled = stages & DK_GRADIENT_SAMPLED, gradient = sampled || stages & DK_GRADIENT_DENSE;
#pragma omp parallel num_threads(cpu_threads(cpu, units))
    {
        if (sampled) {
#pragma omp for schedule(static) nowait
            for (int w = 0; w < k->count; w++) {
                FN(draw_rows)(k, r, w);
                FN(prefetch_rows)(k, w);
            }
        }
#pragma omp for schedule(static)
        for (int w = 0; w < k->count; w++) {
            if (gradient) FN(worker_gradient)(k, w, stages);
            for (int64_t tile = 0; tile < tiles; tile++) FN(encode_tile)(k, r, w, tile);
        }
    }
}

/* A tile's loads and its Philox rounds take turns: ask for the next tile's gradient and memory before this one's
 * rounds begin, so that the bus is not idle meanwhile. */
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

static void FN(work)(const dk_cpu *cpu, const dk_rank *k, const dk_round *r, int stages)
{
    const int64_t tiles = k->layout.tiles;
    const int64_t units = k->count * (k->d + (stages & DK_GRADIENT_SAMPLED ? 32 * (int64_t)k->batch : 0));
    const int together = k->layout.tiles_per_block == 1 && tiles <= 4, encode = stages & DK_ENCODE;
    FN(worker_loop)(cpu, k, r, stages, encode && together ? tiles : 0, units);
    if (!encode || together) return;
    FN(encode_split_blocks)(cpu, k);
#pragma omp parallel for num_threads(cpu_threads(cpu, units)) schedule(static)
    for (int64_t e = 0; e < k->count * tiles; e++) {
        FN(prefetch_tile)(k, (int)(e / tiles), e % tiles + 1);
        FN(encode_tile)(k, r, (int)(e / tiles), e % tiles);
    }
}

static void FN(refresh)(const dk_cpu *cpu, const dk_rank *k, REAL *table, REAL *out, int keep_table)
{
    enum { ROWS = 512, COLUMNS = 64 };
    const int64_t units = k->row_start[k->rows], chunks = (k->d + COLUMNS - 1) / COLUMNS;
#pragma omp parallel for num_threads(cpu_threads(cpu, units)) schedule(static)
    for (int64_t begin = 0; begin < (keep_table ? 0 : k->rows); begin += ROWS)
        FN(slopes_of_rows)(k, table, begin, begin + ROWS < k->rows ? begin + ROWS : k->rows);
#pragma omp parallel for num_threads(cpu_threads(cpu, units)) schedule(static)
    for (int64_t e = 0; e < k->count * chunks; e++) {
        const int64_t begin = e % chunks * COLUMNS;
        FN(columns_mean)(k, (int)(e / chunks), table, out, begin, begin + COLUMNS < k->d ? begin + COLUMNS : k->d);
    }
}

static void FN(step)(const dk_cpu *cpu, const dk_rank *k, const dk_round *r)
{
    const int64_t tiles = k->layout.tiles;
    if (dk_codec_is_gather(k->codec.kind)) {
        memset(k->sum, 0, (size_t)k->d * sizeof(REAL));
        FN(decode_gather)(k, r);
    }
#pragma omp parallel for num_threads(cpu_threads(cpu, k->d * k->workers)) schedule(static) if (tiles > 1)
    for (int64_t tile = 0; tile < tiles; tile++) FN(step_tile)(k, r, tile);
    if (k->prox != DK_PROX_BALL) return;
    FN(norm_total)(k);
    for (int64_t tile = 0; tile < tiles; tile++) FN(project_tile)(k, tile);
}

static void FN(evaluate)(const dk_cpu *cpu, const dk_rank *k)
{
    int64_t chunk = 0;
    for (int w = 0; w < k->count; w++) {
        const int64_t row0 = k->worker_row[w], m = k->worker_row[w + 1] - row0;
        const int64_t chunks = (m + DK_EVAL_ROWS - 1) / DK_EVAL_ROWS;
#pragma omp parallel for num_threads(cpu_threads(cpu, k->row_start[row0 + m] - k->row_start[row0])) schedule(static)
        for (int64_t c = 0; c < chunks; c++) {
            const int64_t begin = c * DK_EVAL_ROWS, end = begin + DK_EVAL_ROWS < m ? begin + DK_EVAL_ROWS : m;
            FN(evaluate_rows)(k, row0 + begin, row0 + end, k->eval_sums + 2 * (chunk + c));
        }
        chunk += chunks;
    }
}
