/* The GPU's kernels and launches over workers and tiles, for one REAL. grid.y is the worker where there are two. */

enum { FN(SMALL_D) = 4096, FN(COLUMNS) = 256, FN(ROWS) = 256 };

/* One block a worker: gradient and, where a worker's message is few tiles, the message. */
__global__ void __launch_bounds__(DK_THREADS) FN(small_kernel)(const __grid_constant__ dk_rank k, const __grid_constant__ dk_given given, int stages, int64_t tiles)
{
    const dk_round *r = round_now(&given);
    const int w = (int)blockIdx.x, sampled = stages & DK_GRADIENT_SAMPLED;
    if (sampled) {
        FN(draw_rows)(&k, r, w);
        FN(draw_slopes)(&k, w);
    }
    if (stages & (DK_GRADIENT_SAMPLED | DK_GRADIENT_DENSE)) FN(gradient_dense)(&k, w, 0, k.d);
    if (sampled) FN(gradient_add_drawn)(&k, w);
    for (int64_t tile = 0; tile < tiles; tile++) FN(encode_tile)(&k, r, w, tile);
}

__global__ void __launch_bounds__(DK_THREADS) FN(slopes_kernel)(const __grid_constant__ dk_rank k, const __grid_constant__ dk_given given)
{
    const dk_round *r = round_now(&given);
    FN(draw_rows)(&k, r, (int)blockIdx.x);
    FN(draw_slopes)(&k, (int)blockIdx.x);
}

__global__ void __launch_bounds__(DK_THREADS) FN(dense_kernel)(const __grid_constant__ dk_rank k)
{
    const int64_t begin = (int64_t)blockIdx.x * DK_TILE;
    FN(gradient_dense)(&k, (int)blockIdx.y, begin, begin + DK_TILE < k.d ? begin + DK_TILE : k.d);
}

__global__ void __launch_bounds__(DK_THREADS) FN(drawn_kernel)(const __grid_constant__ dk_rank k) { FN(gradient_add_drawn)(&k, (int)blockIdx.x); }

__global__ void __launch_bounds__(DK_THREADS) FN(statistic_kernel)(const __grid_constant__ dk_rank k, int64_t first)
{
    FN(encode_tile_statistic)(&k, (int)blockIdx.y, first + blockIdx.x);
}

__global__ void __launch_bounds__(DK_THREADS) FN(scale_kernel)(const __grid_constant__ dk_rank k, int64_t first)
{
    FN(encode_block_scale)(&k, (int)blockIdx.y, first + blockIdx.x);
}

__global__ void __launch_bounds__(DK_THREADS) FN(encode_kernel)(const __grid_constant__ dk_rank k, const __grid_constant__ dk_given given, int64_t first)
{
    const dk_round *r = round_now(&given);
    FN(encode_tile)(&k, r, (int)blockIdx.y, first + blockIdx.x);
}

__global__ void __launch_bounds__(DK_THREADS) FN(table_kernel)(const __grid_constant__ dk_rank k, REAL *table)
{
    const int64_t begin = (int64_t)blockIdx.x * FN(ROWS);
    FN(slopes_of_rows)(&k, table, begin, begin + FN(ROWS) < k.rows ? begin + FN(ROWS) : k.rows);
}

__global__ void __launch_bounds__(DK_THREADS) FN(columns_kernel)(const __grid_constant__ dk_rank k, const REAL *table, REAL *out)
{
    const int64_t begin = (int64_t)blockIdx.x * FN(COLUMNS);
    FN(columns_mean)(&k, (int)blockIdx.y, table, out, begin, begin + FN(COLUMNS) < k.features ? begin + FN(COLUMNS) : k.features);
}

__global__ void __launch_bounds__(DK_THREADS) FN(gather_kernel)(const __grid_constant__ dk_rank k, const __grid_constant__ dk_given given)
{
    const dk_round *r = round_now(&given);
    FN(decode_gather)(&k, r);
}

__global__ void __launch_bounds__(DK_THREADS) FN(step_kernel)(const __grid_constant__ dk_rank k, const __grid_constant__ dk_given given)
{
    const dk_round *r = round_now(&given);
    FN(step_tile)(&k, r, blockIdx.x);
}

__global__ void __launch_bounds__(DK_THREADS) FN(norm_kernel)(const __grid_constant__ dk_rank k) { FN(norm_total)(&k); }

__global__ void __launch_bounds__(DK_THREADS) FN(project_kernel)(const __grid_constant__ dk_rank k) { FN(project_tile)(&k, blockIdx.x); }

/* Chunk blockIdx.x of worker blockIdx.y; the chunks of the workers before it come first in eval_sums. */
__global__ void __launch_bounds__(DK_THREADS) FN(evaluate_kernel)(const __grid_constant__ dk_rank k)
{
    const int w = (int)blockIdx.y;
    const int64_t row0 = k.worker_row[w], m = k.worker_row[w + 1] - row0, begin = (int64_t)blockIdx.x * DK_EVAL_ROWS;
    int64_t before = 0;
    if (begin >= m) return; /* the whole block */
    for (int v = 0; v < w; v++) before += (k.worker_row[v + 1] - k.worker_row[v] + DK_EVAL_ROWS - 1) / DK_EVAL_ROWS;
    FN(evaluate_rows)(&k, row0 + begin, row0 + (begin + DK_EVAL_ROWS < m ? begin + DK_EVAL_ROWS : m),
                      k.eval_sums + 2 * (before + blockIdx.x));
}

__global__ void __launch_bounds__(DK_THREADS) FN(mask_encode_kernel)(const __grid_constant__ dk_rank k, const __grid_constant__ dk_given given)
{
    const dk_round *r = round_now(&given);
    FN(mask_encode)(&k, r, (int)blockIdx.y, blockIdx.x);
}

__global__ void __launch_bounds__(DK_THREADS) FN(mask_decode_kernel)(const __grid_constant__ dk_rank k, const __grid_constant__ dk_given given)
{
    const dk_round *r = round_now(&given);
    FN(mask_decode)(&k, r, blockIdx.x);
}

static unsigned FN(blocks)(int64_t count, int64_t each) { return (unsigned)((count + each - 1) / each); }

static cudaError_t FN(gradient)(cudaStream_t s, const dk_rank *k, const dk_round *r, int stages)
{
    if (stages & DK_GRADIENT_SAMPLED) LAUNCH(FN(slopes_kernel), k->count, s, *k, give(r));
    LAUNCH(FN(dense_kernel), dim3(FN(blocks)(k->d, DK_TILE), k->count), s, *k);
    if (stages & DK_GRADIENT_SAMPLED) LAUNCH(FN(drawn_kernel), k->count, s, *k);
    return cudaGetLastError();
}

static cudaError_t FN(encode)(cudaStream_t s, const dk_rank *k, const dk_round *r)
{
    const dim3 tiles((unsigned)k->layout.tiles, k->count);
    if (dk_codec_is_masked(k->codec.kind)) {
        place_masks(s, k, r);
        LAUNCH(FN(mask_encode_kernel), tiles, s, *k, give(r));
        return cudaGetLastError();
    }
    if (k->layout.scale_words > 0 && k->layout.tiles_per_block > 1) {
        LAUNCH(FN(statistic_kernel), tiles, s, *k, 0);
        LAUNCH(FN(scale_kernel), dim3((unsigned)k->layout.blocks, k->count), s, *k, 0);
    }
    LAUNCH(FN(encode_kernel), tiles, s, *k, give(r), 0);
    if (k->layout.coded) {
        LAUNCH(model_kernel, k->count, s, *k);
        LAUNCH(write_kernel, tiles, s, *k);
        LAUNCH(table_kernel, k->count, s, *k);
        LAUNCH(place_kernel, tiles, s, *k);
    }
    return cudaGetLastError();
}

__global__ void __launch_bounds__(DK_THREADS) FN(scale_tile_kernel)(dk_rank k)
{
    FN(scale_tile)(&k, (int)blockIdx.y, blockIdx.x);
}

__global__ void __launch_bounds__(DK_THREADS) FN(share_kernel)(dk_rank k)
{
    const int64_t begin = (int64_t)blockIdx.x * DK_TILE, n = k.layout.blocks;
    FN(share_scales)(&k, begin, begin + DK_TILE < n ? begin + DK_TILE : n);
}

__global__ void __launch_bounds__(DK_THREADS) FN(sum_kernel)(dk_rank k) { FN(sum_tile)(&k, blockIdx.x); }

__global__ void __launch_bounds__(DK_THREADS) FN(lanes_kernel)(dk_rank k)
{
    const int64_t begin = (int64_t)blockIdx.x * DK_TILE, n = k.lanes.words;
    FN(pack_lanes)(&k, begin, begin + DK_TILE < n ? begin + DK_TILE : n);
}

/* The stages of messages that are summed as integers. */
static cudaError_t FN(work_shared)(cudaStream_t s, const dk_rank *k, const dk_round *r, int stages)
{
    const dim3 tiles((unsigned)k->layout.tiles, k->count);
    if (stages & DK_SCALES) {
        if (k->layout.tiles_per_block == 1) {
            LAUNCH(FN(scale_tile_kernel), tiles, s, *k);
        } else {
            LAUNCH(FN(statistic_kernel), tiles, s, *k, 0);
            LAUNCH(FN(scale_kernel), dim3((unsigned)k->layout.blocks, k->count), s, *k, 0);
        }
        LAUNCH(FN(share_kernel), FN(blocks)(k->layout.blocks, DK_TILE), s, *k);
    }
    if (stages & DK_ENCODE) {
        LAUNCH(FN(encode_kernel), tiles, s, *k, give(r), 0);
        LAUNCH(FN(sum_kernel), tiles.x, s, *k);
        LAUNCH(FN(lanes_kernel), FN(blocks)(k->lanes.words, DK_TILE), s, *k);
    }
    return cudaGetLastError();
}

__global__ void __launch_bounds__(DK_THREADS) FN(plain_kernel)(const __grid_constant__ dk_rank k) { FN(plain_sum)(&k, blockIdx.x); }

static cudaError_t FN(work)(cudaStream_t s, const dk_rank *k, const dk_round *r, int stages)
{
    const int gradient = stages & (DK_GRADIENT_SAMPLED | DK_GRADIENT_DENSE);
    if (k->plain) {
        const cudaError_t e = gradient ? FN(gradient)(s, k, r, stages) : cudaSuccess;
        if (e != cudaSuccess) return e;
        if (stages & DK_ENCODE) LAUNCH(FN(plain_kernel), (unsigned)k->layout.tiles, s, *k);
        return cudaGetLastError();
    }
    if (k->shared) {
        const cudaError_t e = gradient ? FN(gradient)(s, k, r, stages) : cudaSuccess;
        return e == cudaSuccess ? FN(work_shared)(s, k, r, stages) : e;
    }
    if (k->d <= FN(SMALL_D) && k->layout.tiles_per_block == 1 && !k->layout.variable) {
        LAUNCH(FN(small_kernel), k->count, s, *k, give(r), stages, stages & DK_ENCODE ? k->layout.tiles : 0);
        return cudaGetLastError();
    }
    cudaError_t e = gradient ? FN(gradient)(s, k, r, stages) : cudaSuccess;
    if (e == cudaSuccess && stages & DK_ENCODE) e = FN(encode)(s, k, r);
    return e;
}

static cudaError_t FN(refresh)(cudaStream_t s, const dk_rank *k, REAL *table, REAL *out, int keep_table)
{
    if (!keep_table) LAUNCH(FN(table_kernel), FN(blocks)(k->rows, FN(ROWS)), s, *k, table);
    LAUNCH(FN(columns_kernel), dim3(FN(blocks)(k->features, FN(COLUMNS)), k->count), s, *k, table, out);
    return cudaGetLastError();
}

static cudaError_t FN(step)(cudaStream_t s, const dk_rank *k, const dk_round *r)
{
    const unsigned tiles = (unsigned)k->layout.tiles;
    if (dk_codec_is_gather(k->codec.kind)) {
        const cudaError_t e = cudaMemsetAsync(k->sum, 0, (size_t)k->d * sizeof(REAL), s);
        if (e != cudaSuccess) return e;
        LAUNCH(FN(gather_kernel), 1, s, *k, give(r));
    }
    if (dk_codec_is_masked(k->codec.kind)) {
        place_masks(s, k, r);
        LAUNCH(FN(mask_decode_kernel), tiles, s, *k, give(r));
    }
    if (k->layout.coded) {
        LAUNCH(open_kernel, k->workers, s, *k);
        LAUNCH(expand_kernel, dim3((unsigned)k->layout.tiles, k->workers), s, *k);
    }
    LAUNCH(FN(step_kernel), tiles, s, *k, give(r));
    if (k->prox == DK_PROX_BALL) {
        LAUNCH(FN(norm_kernel), 1, s, *k);
        LAUNCH(FN(project_kernel), tiles, s, *k);
    }
    return cudaGetLastError();
}

__global__ void __launch_bounds__(DK_THREADS) FN(direction_kernel)(const __grid_constant__ dk_rank k, const __grid_constant__ dk_given given, int64_t first, REAL *out)
{
    const dk_round *r = round_now(&given);
    FN(direction_tile)(&k, r, first + blockIdx.x, out);
}

static cudaError_t FN(requantize)(cudaStream_t s, const dk_rank *k, const dk_rank *back, const dk_round *r, int64_t begin, int64_t end)
{
    const dk_layout *y = &back->layout;
    const int64_t per = y->tiles_per_block;
    const unsigned count = (unsigned)(end - begin);
    dk_round still = *r;
    still.alpha = 0;
    if (end <= begin) return cudaSuccess;
    if (dk_codec_is_gather(k->codec.kind)) {
        const cudaError_t e = cudaMemsetAsync(k->sum, 0, (size_t)k->d * sizeof(REAL), s);
        if (e != cudaSuccess) return e;
        LAUNCH(FN(gather_kernel), 1, s, *k, give(r));
    }
    LAUNCH(FN(direction_kernel), count, s, *k, give(r), begin, (REAL *)back->gradient);
    if (y->scale_words > 0 && per > 1) {
        LAUNCH(FN(statistic_kernel), count, s, *back, begin);
        LAUNCH(FN(scale_kernel), (unsigned)((end + per - 1) / per - begin / per), s, *back, begin / per);
    }
    LAUNCH(FN(encode_kernel), count, s, *back, give(&still), begin);
    return cudaGetLastError();
}

static cudaError_t FN(evaluate)(cudaStream_t s, const dk_rank *k)
{
    const int64_t most = (k->rows + k->count - 1) / k->count + 1; /* rows of the largest shard */
    LAUNCH(FN(evaluate_kernel), dim3(FN(blocks)(most, DK_EVAL_ROWS), k->count), s, *k);
    return cudaGetLastError();
}

__global__ void __launch_bounds__(DK_THREADS) FN(blend_kernel)(REAL *to, const REAL *from, double weight, const dk_round *at, int64_t count)
{
    const int64_t begin = (int64_t)blockIdx.x * DK_TILE;
    FN(blend)(to, from, at ? at->share : weight, begin, begin + DK_TILE < count ? begin + DK_TILE : count);
}

static cudaError_t FN(blend_all)(cudaStream_t s, REAL *to, const REAL *from, int64_t count, double weight, const dk_round *at)
{
    if (count > 0) LAUNCH(FN(blend_kernel), FN(blocks)(count, DK_TILE), s, to, from, weight, at, count);
    return cudaGetLastError();
}

/* One block a worker: all of its steps. */
__global__ void __launch_bounds__(DK_THREADS) FN(local_small_kernel)(const __grid_constant__ dk_rank k, const __grid_constant__ dk_local l)
{
    FN(local_steps)(&k, &l, (int)blockIdx.x);
}

enum { FN(LOCAL_BEGIN), FN(LOCAL_MOVE), FN(LOCAL_END) };

__global__ void __launch_bounds__(DK_THREADS) FN(local_kernel)(const __grid_constant__ dk_rank k, const __grid_constant__ dk_local l, int part, int64_t iteration)
{
    const int64_t begin = (int64_t)blockIdx.x * DK_TILE, end = begin + DK_TILE < k.d ? begin + DK_TILE : k.d;
    if (part == FN(LOCAL_BEGIN)) FN(local_begin)(&k, &l, (int)blockIdx.y, begin, end);
    if (part == FN(LOCAL_MOVE)) FN(local_move)(&k, &l, iteration, (int)blockIdx.y, begin, end);
    if (part == FN(LOCAL_END)) FN(local_end)(&k, &l, (int)blockIdx.y, begin, end);
}

/* Long vectors are spread over many blocks, which meet between the phases of a step. */
static cudaError_t FN(local)(cudaStream_t s, const dk_rank *k, const dk_local *l)
{
    const dim3 tiles(FN(blocks)(k->d, DK_TILE), k->count);
    cudaError_t e = cudaSuccess;
    if (k->d <= FN(SMALL_D)) {
        LAUNCH(FN(local_small_kernel), k->count, s, *k, *l);
        return cudaGetLastError();
    }
    if (l->begin) LAUNCH(FN(local_kernel), tiles, s, *k, *l, FN(LOCAL_BEGIN), 0);
    for (int64_t i = l->iteration; i < l->iteration + l->steps && e == cudaSuccess; i++) {
        dk_round r = {};
        r.iteration = i, r.gamma = l->gamma;
        if (l->sampled) e = FN(gradient)(s, k, &r, DK_GRADIENT_SAMPLED);
        LAUNCH(FN(local_kernel), tiles, s, *k, *l, FN(LOCAL_MOVE), i);
    }
    if (l->end) LAUNCH(FN(local_kernel), tiles, s, *k, *l, FN(LOCAL_END), 0);
    return e == cudaSuccess ? cudaGetLastError() : e;
}

__global__ void __launch_bounds__(DK_THREADS) FN(race_kernel)(const __grid_constant__ dk_rank k, const __grid_constant__ dk_race r)
{
    FN(race_updates)(&k, &r, (int64_t)blockIdx.x, r.count, (int64_t)gridDim.x);
}

__global__ void __launch_bounds__(DK_THREADS) FN(race_emulate_kernel)(const __grid_constant__ dk_rank k, const __grid_constant__ dk_race r)
{
    for (int64_t t = r.first; t < r.first + r.count; t++) FN(race_emulate)(&k, &r, t);
}

static cudaError_t FN(race)(cudaStream_t s, const dk_rank *k, const dk_race *r)
{
    if (r->ring) LAUNCH(FN(race_emulate_kernel), 1, s, *k, *r);
    else LAUNCH(FN(race_kernel), k->workers, s, *k, *r);
    return cudaGetLastError();
}

#ifdef DITHER_HAVE_CUBLAS

/* ---- dense rows: cuBLAS's products, and the same kernels for the rest ---- */

__global__ void __launch_bounds__(DK_THREADS) FN(margins_kernel)(const __grid_constant__ dk_rank k, REAL *table)
{
    const int64_t begin = (int64_t)blockIdx.x * FN(ROWS);
    FN(slopes_of_margins)(&k, table, begin, begin + FN(ROWS) < k.rows ? begin + FN(ROWS) : k.rows);
}

/* z[m x K] := margins of the rows [begin, begin + m) at x */
static int FN(dense_margins)(cublasHandle_t h, const dk_rank *k, int64_t begin, int64_t m, const REAL *x, REAL *z)
{
    const REAL *a = (const REAL *)k->dense.value + begin * k->features;
    const int features = (int)k->features, outputs = k->outputs;
    if (outputs == 1) return cublas_gemv(h, CUBLAS_OP_T, features, (int)m, (REAL)1, a, features, x, z);
    return cublas_gemm(h, CUBLAS_OP_T, CUBLAS_OP_N, outputs, (int)m, features, (REAL)1, x, features, a, features, z, outputs);
}

static int FN(dense_columns)(cublasHandle_t h, const dk_rank *k, int w, const REAL *table, REAL *out)
{
    const int64_t row = k->dense.row[w];
    const REAL *a = (const REAL *)k->dense.value + row * k->features, *slopes = table + row * k->outputs;
    const int features = (int)k->features, outputs = k->outputs, m = (int)(k->dense.row[w + 1] - row);
    const REAL share = (REAL)k->dense.share[w];
    if (outputs == 1) return cublas_gemv(h, CUBLAS_OP_N, features, m, share, a, features, slopes, out + w * k->stride);
    return cublas_gemm(h, CUBLAS_OP_N, CUBLAS_OP_T, features, outputs, m, share, a, features, slopes, outputs,
                       out + w * k->stride, features);
}

static int FN(dense_refresh)(cublasHandle_t h, cudaStream_t s, const dk_rank *k, REAL *table, REAL *out, int keep_table)
{
    const REAL *x = (const REAL *)(k->local ? k->local : k->x);
    const int together = !k->local; /* all workers see the same x */
    int code = 0;
    for (int w = 0; !keep_table && !code && w < (together ? 1 : k->count); w++) {
        const int64_t begin = k->dense.row[w], end = together ? k->rows : k->dense.row[w + 1];
        code = FN(dense_margins)(h, k, begin, end - begin, x + w * k->stride, table + begin * k->outputs);
    }
    if (!keep_table && !code) LAUNCH(FN(margins_kernel), FN(blocks)(k->rows, FN(ROWS)), s, *k, table);
    for (int w = 0; !code && w < k->count; w++) code = FN(dense_columns)(h, k, w, table, out);
    return code ? code : (int)cudaGetLastError();
}

#endif
