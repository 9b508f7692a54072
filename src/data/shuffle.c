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

void dither_shuffle_order(int64_t *order, int64_t rows, uint64_t seed, int64_t use)
{
    const uint64_t subsequence = dk_subsequence(use, DK_WORKER_ALL, DK_STREAM_INIT);
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

dither_status dither_data_reorder(const struct dither_data *data, const int64_t *order, struct dither_data **out,
                                  dither_error *error)
{
    dither_status status = DITHER_OK;
    struct dither_data *copy = NULL;
    *out = NULL;
    TRY_ALLOC(copy, 1);
    copy->rows = data->rows, copy->features = data->features, copy->nonzeros = data->nonzeros;
    copy->normalized = data->normalized;
    TRY_ALLOC(copy->row_start, data->rows + 1);
    TRY_ALLOC(copy->column, data->nonzeros);
    TRY_ALLOC(copy->value, data->nonzeros);
    TRY_ALLOC(copy->label, data->rows);
    copy_in_order(data, order, copy);
    *out = copy, copy = NULL;
out:
    dither_data_free(copy);
    return status;
}

dither_status dither_data_shuffle(struct dither_data *data, uint64_t seed, dither_error *error)
{
    dither_status status = DITHER_OK;
    struct dither_data *shuffled = NULL, before;
    int64_t *order = NULL;
    TRY_ALLOC(order, data->rows);
    dither_shuffle_order(order, data->rows, seed, 0);
    TRY(dither_data_reorder(data, order, &shuffled, error));
    before = *data;
    *data = *shuffled;
    *shuffled = before;
out:
    free(order);
    dither_data_free(shuffled);
    return status;
}
