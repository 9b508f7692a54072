#include "split.h"

#include "exact_math.h"
#include "options.h"
#include "philox.h"
#include "shuffle.h"

#include <stdlib.h>
#include <string.h>

enum { USE_SHUFFLE = 1, USE_MIXTURES = 2, USE_ROWS = 3 }; /* 0 is --shuffle's */

/* ---- random numbers ---- */

dither_words dither_words_of(uint64_t seed, int64_t use)
{
    return (dither_words){seed, dk_subsequence(use, DK_WORKER_ALL, DK_STREAM_INIT), 0};
}

double dither_words_uniform(dither_words *words)
{
    const dk_words w = dk_philox(words->seed, words->subsequence, words->next >> 1);
    const int half = 2 * (int)(words->next++ & 1);
    const uint64_t u = w.w[half] | (uint64_t)w.w[half + 1] << 32;
    return ((double)(u >> 12) + 0.5) * 0x1p-52;
}

/* Marsaglia and Bray, "A convenient method for generating normal variables", 1964: only log and sqrt are needed. */
double dither_words_normal(dither_words *words)
{
    for (;;) {
        const double u = 2 * dither_words_uniform(words) - 1, v = 2 * dither_words_uniform(words) - 1;
        const double s = u * u + v * v;
        if (s < 1 && s > 0) return u * __builtin_sqrt(-2 * dk_log(s) / s);
    }
}

/* Marsaglia and Tsang, "A simple method for generating gamma variables", 2000; for a < 1 by
 * Gamma(a) = Gamma(a + 1) U^(1/a). */
double dither_words_log_gamma(dither_words *words, double a)
{
    const double boost = a < 1 ? dk_log(dither_words_uniform(words)) / a : 0;
    const double d = (a < 1 ? a + 1 : a) - 1.0 / 3, c = 1 / __builtin_sqrt(9 * d);
    for (;;) {
        const double x = dither_words_normal(words), t = 1 + c * x, v = t * t * t;
        if (!(t > 0)) continue;
        const double u = dither_words_uniform(words);
        if (dk_log(u) < 0.5 * x * x + d - d * v + d * dk_log(v)) return boost + dk_log(d * v);
    }
}

/* ---- labels ---- */

typedef struct labelled {
    double label;
    int64_t row;
} labelled;

/* Rows of one label keep their order: qsort itself is not stable. */
static int compare(const void *a, const void *b)
{
    const labelled *x = a, *y = b;
    if (x->label != y->label) return x->label < y->label ? -1 : 1;
    return (x->row > y->row) - (x->row < y->row);
}

static dither_status sort_by_label(const struct dither_data *data, int64_t *order, dither_error *error)
{
    dither_status status = DITHER_OK;
    labelled *list = NULL;
    TRY_ALLOC(list, data->rows);
    for (int64_t r = 0; r < data->rows; r++) list[r] = (labelled){data->label[r], r};
    qsort(list, (size_t)data->rows, sizeof *list, compare);
    for (int64_t r = 0; r < data->rows; r++) order[r] = list[r].row;
out:
    free(list);
    return status;
}

/* ---- dirichlet ---- */

/* Rows sorted by label: label k has those from start[k] to start[k+1] - 1 of `sorted`, taken up to next[k]. */
typedef struct pools {
    int64_t *sorted, *start, *next;
    int labels;
    double *log_ratio, *ratio; /* labels: q_k / p_k of the worker at work, the largest of those with rows left being 1 */
} pools;

static dither_status open_pools(pools *p, const struct dither_data *data, dither_error *error)
{
    dither_status status = DITHER_OK;
    TRY_ALLOC(p->sorted, data->rows);
    TRY_ALLOC(p->start, DITHER_LABELS_MAX + 1);
    TRY(sort_by_label(data, p->sorted, error));
    for (int64_t i = 0; i < data->rows; i++) {
        if (i > 0 && data->label[p->sorted[i]] == data->label[p->sorted[i - 1]]) continue;
        if (p->labels == DITHER_LABELS_MAX)
            FAIL(DITHER_USAGE, "--split dirichlet:A needs labels that are classes; there are more than %d of them", DITHER_LABELS_MAX);
        p->start[p->labels++] = i;
    }
    p->start[p->labels] = data->rows;
    TRY_ALLOC(p->next, p->labels);
    TRY_ALLOC(p->log_ratio, p->labels);
    TRY_ALLOC(p->ratio, p->labels);
    memcpy(p->next, p->start, (size_t)p->labels * sizeof *p->next);
out:
    return status;
}

static void close_pools(pools *p)
{
    free(p->sorted), free(p->start), free(p->next), free(p->log_ratio), free(p->ratio);
}

static int64_t rows_left(const pools *p, int k) { return p->start[k + 1] - p->next[k]; }

static void scale_ratios(pools *p)
{
    double most = -__builtin_inf();
    for (int k = 0; k < p->labels; k++)
        if (rows_left(p, k) > 0 && p->log_ratio[k] > most) most = p->log_ratio[k];
    for (int k = 0; k < p->labels; k++) p->ratio[k] = rows_left(p, k) > 0 ? dk_exp(p->log_ratio[k] - most) : 0;
}

/* Label k with probability in proportion to ratio[k] rows_left(k); u is uniform in (0, 1). */
static int pick_label(const pools *p, double u)
{
    double left = 0;
    int last = 0;
    for (int k = 0; k < p->labels; k++) left += p->ratio[k] * (double)rows_left(p, k);
    left *= u;
    for (int k = 0; k < p->labels; k++) {
        const double weight = p->ratio[k] * (double)rows_left(p, k);
        if (weight == 0) continue;
        last = k;
        left -= weight;
        if (left < 0) break;
    }
    return last;
}

static dither_status mix_labels(const struct dither_data *data, const dither_row_split *split, int64_t *order,
                                dither_error *error)
{
    dither_status status = DITHER_OK;
    pools p = {0};
    dither_words mixtures = dither_words_of(split->seed, USE_MIXTURES), rows = dither_words_of(split->seed, USE_ROWS);
    TRY(open_pools(&p, data, error));
    for (int64_t w = 0, i = 0; w < split->workers; w++) {
        const int64_t end = (int64_t)((__int128)data->rows * (w + 1) / split->workers);
        for (int k = 0; k < p.labels; k++) {
            const double share = (double)(p.start[k + 1] - p.start[k]) / (double)data->rows;
            p.log_ratio[k] = dither_words_log_gamma(&mixtures, split->a * share) - dk_log(share);
        }
        scale_ratios(&p);
        for (; i < end; i++) {
            const int k = pick_label(&p, dither_words_uniform(&rows));
            order[i] = p.sorted[p.next[k]++];
            if (rows_left(&p, k) == 0) scale_ratios(&p);
        }
    }
out:
    close_pools(&p);
    return status;
}

dither_status dither_split_order(const struct dither_data *data, const dither_row_split *split, int64_t *order,
                                 dither_error *error)
{
    switch (split->rule) {
    case DITHER_SPLIT_SHUFFLED: return dither_shuffle_order(order, data->rows, split->seed, USE_SHUFFLE), DITHER_OK;
    case DITHER_SPLIT_BY_LABEL: return sort_by_label(data, order, error);
    case DITHER_SPLIT_DIRICHLET: return mix_labels(data, split, order, error);
    default:
        for (int64_t i = 0; i < data->rows; i++) order[i] = i;
        return DITHER_OK;
    }
}
