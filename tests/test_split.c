/* --split: which rows a worker gets. */
#include "theory.h"

#include "data/split.h"
#include "hash.h"

#include <dirent.h>
#include <unistd.h>

/* ---- random numbers ---- */

static void test_normal(void **state)
{
    dither_words words = dither_words_of(7, 9);
    moments first = {0}, square = {0}, cube = {0}, fourth = {0};
    (void)state;
    for (int i = 0; i < 200000; i++) {
        const double v = dither_words_normal(&words);
        moments_add(&first, v), moments_add(&square, v * v), moments_add(&cube, v * v * v), moments_add(&fourth, v * v * v * v);
    }
    check_mean("normal", &first, 0, 0), check_mean("its square", &square, 1, 0);
    check_mean("its cube", &cube, 0, 0), check_mean("its fourth power", &fourth, 3, 0);
}

/* E v = Var v = a, and E log v = digamma(a), here by the difference quotient of log Gamma. */
static void test_gamma(void **state)
{
    static const double shapes[] = {1e-3, 0.05, 0.5, 1, 3.7, 250};
    (void)state;
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        const double a = shapes[s], h = 1e-4 * a;
        dither_words words = dither_words_of(s, 3);
        moments v = {0}, square = {0}, log = {0};
        for (int i = 0; i < 60000; i++) {
            const double l = dither_words_log_gamma(&words, a), x = exp(l);
            moments_add(&v, x), moments_add(&square, (x - a) * (x - a)), moments_add(&log, l);
        }
        check_mean("gamma", &v, a, 0), check_mean("its variance", &square, a, 0);
        check_mean("its logarithm", &log, (lgamma(a + h) - lgamma(a - h)) / (2 * h), 1e-6 / a);
    }
}

/* ---- orders ---- */

/* Labels 0, 1, 2 with shares 1/2, 1/3, 1/6, in an order that repeats. */
static dither_data *three_labels(int64_t rows)
{
    int64_t *start = calloc((size_t)rows + 1, sizeof *start);
    int32_t *column = calloc((size_t)rows, sizeof *column);
    double *value = calloc((size_t)rows, sizeof *value), *label = calloc((size_t)rows, sizeof *label);
    dither_data *data;
    for (int64_t r = 0; r < rows; r++) {
        start[r + 1] = r + 1, value[r] = 1 + (double)r;
        label[r] = (double[]){0, 1, 0, 2, 1, 0}[r % 6];
    }
    assert_int_equal(dither_data_from_csr(rows, 1, start, column, value, label, &data, NULL), DITHER_OK);
    free(start), free(column), free(value), free(label);
    return data;
}

static void make_order(const dither_data *data, int rule, double a, int workers, uint64_t seed, int64_t *order)
{
    const dither_row_split split = {rule, workers, a, seed};
    unsigned char *seen = calloc((size_t)data->rows, 1);
    assert_int_equal(dither_split_order(data, &split, order, NULL), DITHER_OK);
    for (int64_t i = 0; i < data->rows; i++) {
        assert_true(order[i] >= 0 && order[i] < data->rows && !seen[order[i]]);
        seen[order[i]] = 1;
    }
    free(seen);
}

/* A permutation each time, the same one on every machine, and another one for another seed. */
static void test_orders(void **state)
{
    static const struct {
        int rule;
        double a;
        const char *hash;
    } rules[] = {{DITHER_SPLIT_CONTIGUOUS, 0, "827603ce889559ff"}, {DITHER_SPLIT_SHUFFLED, 0, "15462aa3c090b1f7"},
                 {DITHER_SPLIT_BY_LABEL, 0, "5716f6afb9274dab"}, {DITHER_SPLIT_DIRICHLET, 0.5, "256856b90bcc983a"},
                 {DITHER_SPLIT_DIRICHLET, 1e-6, "1de7c71e4a86bd3f"}, {DITHER_SPLIT_DIRICHLET, 1e6, "425da936b711c42a"}};
    enum { ROWS = 601 };
    dither_data *data = three_labels(ROWS);
    int64_t order[ROWS], other[ROWS];
    (void)state;
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        char hash[24];
        make_order(data, rules[i].rule, rules[i].a, 7, 5, order);
        make_order(data, rules[i].rule, rules[i].a, 7, 6, other);
        const int drawn = rules[i].rule == DITHER_SPLIT_SHUFFLED || rules[i].rule == DITHER_SPLIT_DIRICHLET;
        assert_int_equal(memcmp(order, other, sizeof order) != 0, drawn);
        snprintf(hash, sizeof hash, "%016llx", (unsigned long long)dither_hash64(0, order, sizeof order));
        if (strcmp(hash, rules[i].hash) != 0) fail_msg("rule %d: %s, not %s", rules[i].rule, hash, rules[i].hash);
    }
    make_order(data, DITHER_SPLIT_BY_LABEL, 0, 7, 0, order);
    for (int i = 1; i < ROWS; i++) {
        const double before = data->label[order[i - 1]], here = data->label[order[i]];
        assert_true(before < here || (before == here && order[i - 1] < order[i]));
    }
    dither_data_free(data);
}

/* ---- mixtures ---- */

enum { WORKERS = 20, EACH = 30, ALL = WORKERS * EACH, MANY = 6000 };

static void count_labels(const dither_data *data, const int64_t *order, int worker, int counts[3])
{
    memset(counts, 0, 3 * sizeof *counts);
    for (int i = 0; i < EACH; i++) counts[(int)data->label[order[worker * EACH + i]]]++;
}

/* The first worker finds many rows of every label, so the number of its rows with label k is nearly Dirichlet-multinomial:
 * mean m p, variance m p (1 - p) (m + A) / (1 + A). */
static void test_mixture(void **state)
{
    static const double share[] = {1.0 / 2, 1.0 / 3, 1.0 / 6}, strengths[] = {0.02, 0.3, 5, 1e6};
    dither_data *data = three_labels(MANY);
    int64_t order[MANY];
    (void)state;
    for (int s = 0; s < 4; s++) {
        const double A = strengths[s];
        moments mean[3] = {{0}}, square[3] = {{0}};
        for (uint64_t seed = 0; seed < 1000; seed++) {
            int counts[3];
            make_order(data, DITHER_SPLIT_DIRICHLET, A, MANY / EACH, seed, order);
            count_labels(data, order, 0, counts);
            for (int k = 0; k < 3; k++) {
                const double away = counts[k] - EACH * share[k];
                moments_add(&mean[k], counts[k]), moments_add(&square[k], away * away);
            }
        }
        for (int k = 0; k < 3; k++) {
            check_mean("rows of a label", &mean[k], EACH * share[k], 0);
            const double variance = EACH * share[k] * (1 - share[k]) * (EACH + A) / (1 + A);
            check_mean("their variance", &square[k], variance, 0.01 * variance);
        }
    }
    dither_data_free(data);
}

/* sum over workers and labels of (share at the worker - share in the data)^2, over the number of workers */
static double unevenness(const dither_data *data, int rule, double a, uint64_t seed)
{
    int64_t order[ALL];
    double sum = 0;
    make_order(data, rule, a, WORKERS, seed, order);
    for (int w = 0; w < WORKERS; w++) {
        int counts[3];
        count_labels(data, order, w, counts);
        for (int k = 0; k < 3; k++) {
            const double away = (double)counts[k] / EACH - (double[]){1.0 / 2, 1.0 / 3, 1.0 / 6}[k];
            sum += away * away / WORKERS;
        }
    }
    return sum;
}

/* A large: as uneven as a shuffle. A small: nearly every worker has one label, as when sorted. Between: between. */
static void test_limits(void **state)
{
    dither_data *data = three_labels(ALL);
    moments shuffled = {0}, even = {0}, middle = {0}, sorted = {0};
    (void)state;
    for (uint64_t seed = 0; seed < 200; seed++) {
        moments_add(&shuffled, unevenness(data, DITHER_SPLIT_SHUFFLED, 0, seed));
        moments_add(&even, unevenness(data, DITHER_SPLIT_DIRICHLET, 1e6, seed));
        moments_add(&middle, unevenness(data, DITHER_SPLIT_DIRICHLET, 3, seed));
        moments_add(&sorted, unevenness(data, DITHER_SPLIT_DIRICHLET, 1e-6, seed));
    }
    /* a worker's share of a label has variance p (1 - p) / m, less (N - m) / (N - 1) without replacement */
    const double variance = (1.0 / 4 + 2.0 / 9 + 5.0 / 36) / EACH * (ALL - EACH) / (ALL - 1);
    check_mean("shuffled", &shuffled, variance, 0);
    check_mean("nearly even", &even, variance, 1e-4 * variance);
    const double by_label = unevenness(data, DITHER_SPLIT_BY_LABEL, 0, 0);
    assert_true(middle.mean > 3 * variance && middle.mean < 0.6 * by_label);
    assert_true(sorted.mean > 0.85 * by_label && sorted.mean < 1.15 * by_label);
    dither_data_free(data);
}

/* ---- training ---- */

static dither_result *train_split(const dither_data *data, const char *split)
{
    dither_options *options = options_of("split=%s workers=6 l2=0.01 target-gap=1e-22 no-cache=0", split);
    return train(data, options, NULL, NULL);
}

static int files_in(const char *folder)
{
    DIR *d = opendir(folder);
    int count = 0;
    for (struct dirent *e; d && (e = readdir(d));) count += e->d_name[0] != '.';
    if (d) closedir(d);
    return count;
}

/* Every split has the same optimum, found once and kept under one name, and is a run of its own. */
static void test_optimum(void **state)
{
    static const char *const splits[] = {"contiguous", "shuffled", "by-label", "dirichlet:0.2", "dirichlet:10"};
    enum { SPLITS = sizeof splits / sizeof *splits };
    char folder[] = "test_split.XXXXXX", file[300];
    dither_data *data = synthetic(90, 7, 0.8, 1, 4);
    dither_result *first = NULL;
    uint64_t hash[SPLITS];
    (void)state;
    assert_non_null(mkdtemp(folder));
    const char *const before = getenv("DITHER_CACHE_DIR");
    char *const kept = before ? strdup(before) : NULL;
    setenv("DITHER_CACHE_DIR", folder, 1);
    for (int i = 0; i < SPLITS; i++) {
        dither_result *r = train_split(data, splits[i]);
        hash[i] = r->state_hash;
        for (int j = 0; j < i; j++) assert_true(hash[i] != hash[j]);
        if (!first) first = r;
        assert_true(r->fstar == first->fstar && r->L == first->L && r->L_max == first->L_max);
        for (int c = 0; c < 7; c++) assert_true(fabs(r->x[c] - first->x[c]) < 1e-9);
        if (r != first) dither_result_free(r);
    }
    assert_int_equal(files_in(folder), 1);
    DIR *d = opendir(folder);
    for (struct dirent *e; (e = readdir(d));)
        if (e->d_name[0] != '.') snprintf(file, sizeof file, "%s/%s", folder, e->d_name), unlink(file);
    closedir(d);
    rmdir(folder);
    if (kept) setenv("DITHER_CACHE_DIR", kept, 1); else unsetenv("DITHER_CACHE_DIR");
    free(kept);
    dither_result_free(first);
    dither_data_free(data);
}

static void test_refused(void **state)
{
    static const char *const bad[] = {"sorted", "dirichlet", "dirichlet:", "dirichlet:0", "dirichlet:-1", "by-label:2", ""};
    dither_data *data = synthetic(5000, 2, 1, 0, 4);
    dither_options *options = options_of(" ");
    dither_error error;
    (void)state;
    check_fails(data, options_of("loss=least-squares reference=none split=dirichlet:1"), DITHER_USAGE, "classes");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(dither_options_set(options, "split", bad[i], &error), DITHER_USAGE);
    dither_options_free(options);
    dither_data_free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_normal), cmocka_unit_test(test_gamma),  cmocka_unit_test(test_orders),
        cmocka_unit_test(test_mixture), cmocka_unit_test(test_limits), cmocka_unit_test(test_optimum),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
