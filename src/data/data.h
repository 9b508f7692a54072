/* Rows in memory, as read: labels are not yet mapped to classes. */
#ifndef DITHER_DATA_H
#define DITHER_DATA_H

#include "error.h"

struct dither_data {
    int64_t rows, features, nonzeros;
    int64_t *row_start; /* rows + 1 */
    int32_t *column;    /* nonzeros, from 0, ascending within a row */
    double *value;      /* nonzeros, finite, not 0 */
    double *label;      /* rows, finite */
    int partial;        /* only the rows of this rank's workers have entries; `nonzeros` counts those, and labels and
                           counts of rows are of all */
    int64_t own_begin, own_end; /* with partial: those rows */
    int normalized;     /* rows have been divided by their norms */
    uint64_t hash;      /* of shape, columns, values and labels: the key of the optimum's cache */
};

/* The rows that have their entries here. */
static inline int64_t dither_data_begin(const struct dither_data *data) { return data->partial ? data->own_begin : 0; }
static inline int64_t dither_data_end(const struct dither_data *data) { return data->partial ? data->own_end : data->rows; }

/* data->hash := that of shape, columns, values and labels */
void dither_data_set_hash(struct dither_data *data);

/* value[0 .. entries) divided by their Euclidean norm; zeros stay. */
void dither_row_normalize(double *value, int64_t entries);
/* The option `normalize`, "rows": every row. The hash is the caller's to set. */
void dither_data_normalize_rows(struct dither_data *data);

/* Map labels to -1 and +1. `positive` is the text of the label value that means +1; "auto" takes the larger of
 * exactly two distinct values, and with any other number of values fails with a list of them. On success
 * values[0] and values[1] are what -1 and +1 stand for; with an explicit positive label and several others,
 * values[0] is NaN: all the rest. y has data->rows elements. */
dither_status dither_labels_map(const dither_data *data, const char *positive, double *y, double values[2],
                                dither_error *error);

/* The most values that --loss softmax and --split dirichlet take for classes: more are measurements. */
#define DITHER_LABELS_MAX 4096

/* Number the label values from 0 in ascending order: y[r] is the number of row r's. *values: the *count values, owned by
 * the caller. `positive` must be "auto". DITHER_BAD_DATA for fewer than two values or more than DITHER_LABELS_MAX. */
dither_status dither_labels_number(const dither_data *data, const char *positive, double *y, double **values, int *count,
                                   dither_error *error);

#endif
