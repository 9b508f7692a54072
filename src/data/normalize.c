#include "data.h"

#include <math.h>

/* By a power of two first, which rounds nothing, so that squares neither overflow nor vanish. */
void dither_row_normalize(double *value, int64_t entries)
{
    double largest = 0, squares = 0;
    int exponent = 0;
    for (int64_t e = 0; e < entries; e++) largest = fabs(value[e]) > largest ? fabs(value[e]) : largest;
    if (largest == 0) return;
    (void)frexp(largest, &exponent);
    for (int64_t e = 0; e < entries; e++) {
        value[e] = ldexp(value[e], -exponent);
        squares += value[e] * value[e];
    }
    const double norm = sqrt(squares);
    for (int64_t e = 0; e < entries; e++) value[e] /= norm;
}

void dither_data_normalize_rows(struct dither_data *data)
{
    int64_t kept = 0;
    for (int64_t r = 0, begin = 0; r < data->rows; r++) {
        const int64_t end = data->row_start[r + 1];
        dither_row_normalize(data->value + begin, end - begin);
        for (int64_t e = begin; e < end; e++) {
            if (data->value[e] == 0) continue; /* so small beside the others */
            data->column[kept] = data->column[e];
            data->value[kept++] = data->value[e];
        }
        begin = end;
        data->row_start[r + 1] = kept;
    }
    data->nonzeros = kept;
    data->normalized = 1;
}
