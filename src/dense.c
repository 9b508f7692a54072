#include "dense.h"

#include <stdlib.h>
#include <string.h>

enum { ROWS_AT_ONCE = 64 };

double dither_dense_bytes(const dither_plan *p)
{
    return (double)p->rows * (double)p->problem.data->features * (p->single ? 4 : 8);
}

dither_status dither_dense_check(const dither_plan *p, dither_error *error)
{
    dither_status status = DITHER_OK;
    const dither_data *data = p->problem.data;
    const double rows = (double)(dither_data_end(data) - dither_data_begin(data));
    const double share = (double)data->nonzeros / (rows * (double)data->features);
    if (share < DITHER_DENSE_LEAST)
        FAIL(DITHER_USAGE, "--dense-math blas: only %.2g %% of the data are not zero, and as a dense matrix it would take %.3g GB; "
             "it is for data with %.2g %% at least, use --dense-math exact", 100 * share, 1e-9 * dither_dense_bytes(p),
             100 * DITHER_DENSE_LEAST);
out:
    return status;
}

/* The rows [0, rows) of the rank, spread out some at a time. */
static dither_status upload(dither_rank *r, const dither_plan *p, int64_t rows, dither_error *error)
{
    dither_status status = DITHER_OK;
    const dither_data *data = dither_plan_data(p);
    const int64_t d = data->features, row0 = dither_plan_worker_row(p, r->k.first);
    const size_t real = r->k.single ? 4 : 8;
    double *some = NULL;
    TRY_ALLOC(some, ROWS_AT_ONCE * d);
    for (int64_t top = 0; top < rows; top += ROWS_AT_ONCE) {
        const int64_t count = rows - top < ROWS_AT_ONCE ? rows - top : ROWS_AT_ONCE;
        memset(some, 0, (size_t)(count * d) * sizeof *some);
        for (int64_t j = 0; j < count; j++)
            for (int64_t e = data->row_start[row0 + top + j]; e < data->row_start[row0 + top + j + 1]; e++)
                some[j * d + data->column[e]] = data->value[e];
        TRY(dither_rank_write(r, (char *)r->dense_arena + (size_t)(top * d) * real, count * d, some, error));
    }
out:
    free(some);
    return status;
}

dither_status dither_dense_fill(dither_rank *r, const dither_plan *p, const int64_t *shard_row, const double *weight,
                                dither_error *error)
{
    dither_status status = DITHER_OK;
    const dk_device *v = &r->device;
    const int count = r->k.count;
    const double bytes = (double)shard_row[count] * (double)r->k.features * (r->k.single ? 4 : 8);
    const char *why = "it has none";
    if (!v->dense || v->dense(v->context, &why)) FAIL(DITHER_DEVICE, "--dense-math blas on device %s: %s", v->name, why);
    TRY_ALLOC(r->dense_rows, 3 * count + 1);
    TRY_ALLOC(r->dense_share, count);
    memcpy(r->dense_rows, shard_row, (size_t)(count + 1) * sizeof *shard_row);
    for (int w = 0; w < count; w++) {
        const int64_t m = shard_row[w + 1] - shard_row[w];
        r->dense_rows[count + 1 + 2 * w + 1] = m; /* and 0 before it: of the worker alone */
        r->dense_share[w] = weight[w] / (double)m;
    }
    if (!(bytes < 9e18) || shard_row[count] > INT32_MAX || v->alloc(v->context, (size_t)bytes, &r->dense_arena))
        FAIL(DITHER_DEVICE, "--dense-math blas: device %s has no room for %lld rows as a dense matrix of %.3g GB", v->name,
             (long long)shard_row[count], 1e-9 * bytes);
    TRY(upload(r, p, shard_row[count], error));
    r->k.dense = (dk_dense){.value = r->dense_arena, .row = r->dense_rows, .share = r->dense_share};
out:
    return status;
}

void dither_dense_release(dither_rank *r)
{
    if (r->dense_arena) r->device.release(r->device.context, r->dense_arena);
    free(r->dense_rows), free(r->dense_share);
    r->dense_arena = NULL, r->dense_rows = NULL, r->dense_share = NULL;
}
