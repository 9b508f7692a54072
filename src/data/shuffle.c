#include "shuffle.h"

#include "philox.h"

#include <stdlib.h>
#include <string.h>

uint64_t dither_scale_down(uint64_t u, uint64_t m)
{
    const uint64_t u0 = (uint32_t)u, u1 = u >> 32, m0 = (uint32_t)m, m1 = m >> 32;
    const uint64_t middle = u1 * m0 + (u0 * m0 >> 32);
    return u1 * m1 + (middle >> 32) + ((u0 * m1 + (uint32_t)middle) >> 32);
}

/* order[i] is the present number of the row that comes i-th. */
static void draw_order(int64_t *order, int64_t rows, uint64_t seed)
{
    const uint64_t subsequence = dk_subsequence(0, DK_WORKER_ALL, DK_STREAM_INIT);
    for (int64_t i = 0; i < rows; i++) order[i] = i;
    for (int64_t t = 0; t + 1 < rows; t++) {
        const dk_words words = dk_philox(seed, subsequence, (uint64_t)t >> 1);
        const uint64_t u = words.w[2 * (t & 1)] | (uint64_t)words.w[2 * (t & 1) + 1] << 32;
        const int64_t i = rows - 1 - t, j = (int64_t)dither_scale_down(u, (uint64_t)i + 1);
        const int64_t swapped = order[i];
        order[i] = order[j];
        order[j] = swapped;
    }
}

/* Row i of `to` becomes row order[i] of `from`. */
static void copy_in_order(const struct dither_data *from, const int64_t *order, struct dither_data *to)
{
    int64_t filled = 0;
    for (int64_t i = 0; i < from->rows; i++) {
        const int64_t start = from->row_start[order[i]], n = from->row_start[order[i] + 1] - start;
        memcpy(to->column + filled, from->column + start, (size_t)n * sizeof *to->column);
        memcpy(to->value + filled, from->value + start, (size_t)n * sizeof *to->value);
        to->label[i] = from->label[order[i]];
        filled += n;
        to->row_start[i + 1] = filled;
    }
}

dither_status dither_data_shuffle(struct dither_data *data, uint64_t seed, dither_error *error)
{
    dither_status status = DITHER_OK;
    struct dither_data shuffled = *data, unused = {0};
    shuffled.row_start = NULL, shuffled.column = NULL, shuffled.value = NULL, shuffled.label = NULL;
    int64_t *order = NULL;
    TRY_ALLOC(order, data->rows);
    TRY_ALLOC(shuffled.row_start, data->rows + 1);
    TRY_ALLOC(shuffled.column, data->nonzeros);
    TRY_ALLOC(shuffled.value, data->nonzeros);
    TRY_ALLOC(shuffled.label, data->rows);
    draw_order(order, data->rows, seed);
    copy_in_order(data, order, &shuffled);
    unused = *data;
    *data = shuffled;
    shuffled = unused;
out:
    free(order);
    free(shuffled.row_start);
    free(shuffled.column);
    free(shuffled.value);
    free(shuffled.label);
    return status;
}
