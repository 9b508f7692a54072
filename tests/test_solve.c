/* The reference optimum against what was computed without it: published values, optimality conditions evaluated in
 * long double from formulas of the tests' own, the same problem solved along another path; its cache; and the loss
 * formulas that every gap depends on. DITHER_EXTRA_DATA may name a folder with more of reference.csv's files. */
#include "theory.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include "losses.h"
#include "prox.h"
#include "solve/cholesky.h"
#include "solve/solve.h"

#ifndef DITHER_TESTS_DIR
#define DITHER_TESTS_DIR "tests"
#endif

typedef long double real;

/* ---- problems ---- */

/* A problem that owns its data and labels. */
static dither_problem problem_of(dither_data *data, int loss, double l2, int prox, double a, double b)
{
    double *y = calloc((size_t)data->rows + 1, sizeof *y), values[2];
    dither_error error;
    if (loss == DK_LOSS_least_squares)
        memcpy(y, data->label, (size_t)data->rows * sizeof *y);
    else if (dither_labels_map(data, "auto", y, values, &error) != DITHER_OK)
        fail_msg("%s", error.message);
    return (dither_problem){.data = data, .y = y, .loss = loss, .outputs = 1, .l2 = l2, .prox = prox, .prox_a = a, .prox_b = b};
}

static void problem_release(dither_problem *problem)
{
    dither_data_free((dither_data *)problem->data);
    free((double *)problem->y);
}

/* Rows of `entries` columns at random, values around 1, labels by a hidden x plus noise; label 0 is made -1. */
static dither_data *random_data(int64_t rows, int64_t features, int64_t entries, double noise, uint64_t seed)
{
    int64_t *start = calloc((size_t)rows + 1, sizeof *start), used = 0;
    int32_t *column = calloc((size_t)(rows * entries) + 1, sizeof *column);
    double *value = calloc((size_t)(rows * entries) + 1, sizeof *value), *label = calloc((size_t)rows, sizeof *label);
    double *hidden = calloc((size_t)features, sizeof *hidden);
    dither_data *out = NULL;
    for (int64_t c = 0; c < features; c++) hidden[c] = random_normal(&seed);
    for (int64_t j = 0; j < rows; j++) {
        double margin = noise * random_normal(&seed);
        for (int64_t c = 0, left = entries; c < features && left > 0; c++) {
            if (random_uniform(&seed) * (double)(features - c) >= (double)left) continue;
            column[used] = (int32_t)c, value[used] = 1 + 0.5 * random_normal(&seed), left--;
            margin += value[used] * hidden[c], used++;
        }
        start[j + 1] = used, label[j] = margin > 0 ? 1 : -1;
    }
    label[0] = 1, label[rows - 1] = -1;
    dither_error error;
    if (dither_data_from_csr(rows, features, start, column, value, label, &out, &error) != DITHER_OK)
        fail_msg("%s", error.message);
    free(start), free(column), free(value), free(label), free(hidden);
    return out;
}

/* Dense rows given one after another. */
static dither_data *dense_data(int64_t rows, int64_t features, const double *matrix, const double *label)
{
    int64_t *start = calloc((size_t)rows + 1, sizeof *start), used = 0;
    int32_t *column = calloc((size_t)(rows * features) + 1, sizeof *column);
    double *value = calloc((size_t)(rows * features) + 1, sizeof *value);
    dither_data *out = NULL;
    for (int64_t j = 0; j < rows; j++) {
        for (int64_t c = 0; c < features; c++)
            if (matrix[j * features + c] != 0) column[used] = (int32_t)c, value[used++] = matrix[j * features + c];
        start[j + 1] = used;
    }
    dither_error error;
    if (dither_data_from_csr(rows, features, start, column, value, label, &out, &error) != DITHER_OK)
        fail_msg("%s", error.message);
    free(start), free(column), free(value);
    return out;
}

static dither_optimum *solved(const dither_problem *problem)
{
    dither_optimum *out = NULL;
    dither_error error;
    if (dither_solve(problem, 0, &out, &error) != DITHER_OK)
        fail_msg("loss %d l2 %g prox %d:%g,%g: %s", problem->loss, problem->l2, problem->prox, problem->prox_a,
                 problem->prox_b, error.message);
    assert_null(out->cache_path);
    return out;
}

static void assert_refused(const dither_problem *problem, dither_status status, const char *part)
{
    dither_optimum *out = (dither_optimum *)&status;
    dither_error error = {0};
    assert_int_equal(dither_solve(problem, 0, &out, &error), status);
    assert_null(out);
    assert_int_equal(error.status, status);
    if (!strstr(error.message, part)) fail_msg("\"%s\" does not say \"%s\"", error.message, part);
    assert_int_equal(dither_solve(problem, 0, &out, NULL), status);
}

/* ---- the problem once more, in long double ---- */

static real exact_loss(int loss, real z, real y)
{
    const real t = y * z;
    if (loss == DK_LOSS_least_squares) return (z - y) * (z - y) / 2;
    if (loss == DK_LOSS_logistic) return (t < 0 ? -t : 0) + log1pl(expl(-fabsl(t)));
    return t >= 1 ? 0 : (t <= 0 ? 0.5L - t : (1 - t) * (1 - t) / 2);
}

static real exact_slope(int loss, real z, real y)
{
    const real t = y * z;
    if (loss == DK_LOSS_least_squares) return z - y;
    if (loss == DK_LOSS_logistic) return t < 0 ? -y / (1 + expl(t)) : -y * expl(-t) / (1 + expl(-t));
    return t >= 1 ? 0 : (t <= 0 ? -y : -y * (1 - t));
}

/* Of f + the smooth part of R: the value, and the gradient into g[d]. */
static real exact_smooth(const dither_problem *p, const double *x, real *g)
{
    const dither_data *data = p->data;
    const double l2 = p->l2 + (p->prox == DK_PROX_L2 ? p->prox_a : (p->prox == DK_PROX_ELASTIC ? p->prox_b : 0));
    real value = 0, square = 0;
    for (int64_t c = 0; c < data->features; c++) g[c] = 0, square += (real)x[c] * x[c];
    for (int64_t j = 0; j < data->rows; j++) {
        real z = 0;
        for (int64_t k = data->row_start[j]; k < data->row_start[j + 1]; k++)
            z += (real)data->value[k] * x[data->column[k]];
        value += exact_loss(p->loss, z, p->y[j]);
        const real slope = exact_slope(p->loss, z, p->y[j]);
        for (int64_t k = data->row_start[j]; k < data->row_start[j + 1]; k++)
            g[data->column[k]] += slope * data->value[k];
    }
    for (int64_t c = 0; c < data->features; c++) g[c] = g[c] / data->rows + l2 * (real)x[c];
    return value / data->rows + l2 * square / 2;
}

/* One coordinate of the shortest subgradient of P, for what acts on coordinates. */
static real shortest(const dither_problem *p, double x, real g)
{
    const real a = p->prox_a;
    if (p->prox == DK_PROX_L1 || p->prox == DK_PROX_ELASTIC) {
        if (x != 0) return x > 0 ? g + a : g - a;
        return g > a ? g - a : (g < -a ? g + a : 0);
    }
    if (p->prox == DK_PROX_BOX && ((x == p->prox_a && g > 0) || (x == p->prox_b && g < 0))) return 0;
    return g;
}

/* The norm of the shortest subgradient of P at x; *value = P(x). Fails where x is not feasible. */
static double exact_residual(const dither_problem *p, const double *x, double *value)
{
    const int64_t d = p->data->features;
    real *g = calloc((size_t)d, sizeof *g), total = exact_smooth(p, x, g), one = 0, two = 0, gx = 0, residual = 0;
    for (int64_t c = 0; c < d; c++) one += fabsl(x[c]), two += (real)x[c] * x[c], gx += g[c] * x[c];
    if (p->prox == DK_PROX_L1 || p->prox == DK_PROX_ELASTIC) total += p->prox_a * one;
    *value = (double)total;
    real multiplier = 0;
    if (p->prox == DK_PROX_BALL) {
        assert_true(two <= (real)p->prox_a * p->prox_a * (1 + 1e-15L));
        if (two > (real)p->prox_a * p->prox_a * (1 - 1e-12L) && gx < 0) multiplier = -gx / two;
    }
    for (int64_t c = 0; c < d; c++) {
        if (p->prox == DK_PROX_BOX) assert_true(x[c] >= p->prox_a && x[c] <= p->prox_b);
        const real v = p->prox == DK_PROX_BALL ? g[c] + multiplier * x[c] : shortest(p, x[c], g[c]);
        residual += v * v;
    }
    free(g);
    return (double)sqrtl(residual);
}

/* That x is optimal but for the rounding of its coordinates, and that everything the optimum says of itself is so. */
static void check_optimum(const dither_problem *p, const dither_optimum *o, double slack)
{
    const int64_t d = p->data->features;
    double value, size = 0;
    const double residual = exact_residual(p, o->x, &value);
    for (int64_t c = 0; c < d; c++) size += o->x[c] * o->x[c];
    const double rounding = slack * (1e-17 * (o->L - p->l2 + 1) + 4e-17 * (o->L + 1) * sqrt(size));
    if (!(residual <= rounding) || !(o->grad_norm <= rounding))
        fail_msg("loss %d l2 %g prox %d:%g,%g: residual %g, said to be %g, by rounding %g", p->loss, p->l2, p->prox,
                 p->prox_a, p->prox_b, residual, o->grad_norm, rounding);
    if (!(fabs(o->fstar - value) <= 1e-15 + 4e-15 * fabs(value)))
        fail_msg("fstar %.17g is %.17g", o->fstar, value);
    if (o->mu > 0)
        assert_true(o->certificate == o->grad_norm * o->grad_norm / (2 * o->mu));
    else
        assert_true(isnan(o->certificate));
    assert_int_equal(o->features, d);
    assert_true(o->mu >= p->l2 && o->L >= o->mu && o->L_max >= o->L * 0.99);
}

/* ---- published optima ---- */

static dither_data *find_file(const char *name, int features)
{
    char path[1024];
    const char *extra = getenv("DITHER_EXTRA_DATA");
    snprintf(path, sizeof path, "%s/%s", DITHER_DATA_DIR, name);
    if (access(path, R_OK)) snprintf(path, sizeof path, "%s/%s", extra ? extra : "/nowhere", name);
    if (access(path, R_OK)) return NULL;
    dither_data *data;
    dither_error error;
    dither_options *options = options_of("features=%d", features);
    if (dither_data_read(path, options, &data, &error) != DITHER_OK) fail_msg("%s", error.message);
    dither_options_free(options);
    return data;
}

static void test_reference(void **state)
{
    char line[512], name[64];
    int rows, features, checked = 0;
    double l2, fstar, norm, L_max, L;
    FILE *table = fopen(DITHER_TESTS_DIR "/reference.csv", "r");
    (void)state;
    assert_non_null(table);
    while (fgets(line, sizeof line, table)) {
        const int fields = sscanf(line, "%63[^,],%d,%d,%lf,%lf,%lf,%lf,%lf", name, &rows, &features, &l2, &fstar, &norm,
                                  &L_max, &L);
        if (fields != 8) continue;
        dither_data *data = find_file(name, features);
        if (!data) continue;
        dither_problem p = problem_of(data, DK_LOSS_logistic, l2, DK_PROX_NONE, 0, 0);
        dither_optimum *o = solved(&p);
        double size = 0;
        assert_int_equal(data->rows, rows);
        for (int c = 0; c < features; c++) size += o->x[c] * o->x[c];
        if (!(fabs(o->fstar - fstar) <= 1e-13 * fstar)) fail_msg("%s: fstar %.17g", name, o->fstar);
        if (!(fabs(sqrt(size) - norm) <= 1e-9 * norm)) fail_msg("%s: ||x*|| %.17g", name, sqrt(size));
        if (!(fabs(o->L_max - L_max) <= 5e-10 * L_max)) fail_msg("%s: L_max %.17g", name, o->L_max);
        if (!(o->L >= L * (1 - 1e-9) && o->L <= 1.01 * L)) fail_msg("%s: L %.17g", name, o->L);
        assert_true(o->mu == l2);
        assert_true(o->certificate <= 1e-25);
        check_optimum(&p, o, 1);
        dither_optimum_free(o);
        problem_release(&p);
        checked++;
    }
    fclose(table);
    assert_true(checked >= 5); /* three rows of mushrooms, two of a5a */
}

/* ---- every loss with every regulariser ---- */

static const int all_losses[] = {DK_LOSS_least_squares, DK_LOSS_logistic, DK_LOSS_smooth_hinge};

/* kind, parameters, and what must occur in x*: a share of exact zeros or bounds between low and high */
static const struct {
    int prox;
    double a, b, low, high;
} regularisers[] = {
    {DK_PROX_NONE, 0, 0, 0, 1},        {DK_PROX_L2, 0.01, 0, 0, 1},       {DK_PROX_L1, 0.01, 0, 0.1, 0.99},
    {DK_PROX_L1, 0.0005, 0, 0, 0.9},   {DK_PROX_ELASTIC, 0.01, 0.1, 0.1, 0.99}, {DK_PROX_BOX, -0.1, 0.3, 0.05, 0.99},
    {DK_PROX_BOX, 0, 0.5, 0.05, 0.99}, {DK_PROX_BOX, 0.1, 0.2, 0.05, 1},  {DK_PROX_BALL, 0.7, 0, 0, 1},
    {DK_PROX_BALL, 1000, 0, 0, 1},
};
#define REGULARISERS (sizeof regularisers / sizeof *regularisers)

static double pinned_share(const dither_problem *p, const double *x)
{
    int64_t pinned = 0;
    for (int64_t c = 0; c < p->data->features; c++)
        pinned += p->prox == DK_PROX_BOX ? x[c] == p->prox_a || x[c] == p->prox_b : x[c] == 0;
    return (double)pinned / (double)p->data->features;
}

static void check_all(dither_data *data, double l2, int check_share)
{
    for (size_t l = 0; l < 3; l++)
        for (size_t r = 0; r < REGULARISERS; r++) {
            dither_problem p = problem_of(data, all_losses[l], l2, regularisers[r].prox, regularisers[r].a,
                                          regularisers[r].b);
            dither_optimum *o = solved(&p);
            check_optimum(&p, o, 4);
            const double share = pinned_share(&p, o->x);
            if (check_share && !(share >= regularisers[r].low && share <= regularisers[r].high))
                fail_msg("loss %d prox %d:%g,%g: %g of x* is pinned", p.loss, p.prox, p.prox_a, p.prox_b, share);
            dither_optimum_free(o);
            free((double *)p.y);
        }
    dither_data_free(data);
}

static void test_mushrooms(void **state) { (void)state, check_all(bundled("mushrooms", 112), 1e-4, 1); }
static void test_a5a(void **state) { (void)state, check_all(bundled("a5a", 123), 5e-5, 1); }

static void test_random_problems(void **state)
{
    static const int shapes[][3] = {{40, 1, 1}, {2, 3, 2}, {30, 7, 7}, {25, 40, 5}, {200, 30, 30}, {300, 60, 4}};
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        check_all(random_data(shapes[i][0], shapes[i][1], shapes[i][2], 1.0, 100 + i), 1e-3, 0);
}

/* l2 outside and in R: the same x*, but R's share is not in f's constants. */
static void test_l2_in_prox(void **state)
{
    dither_problem inside = problem_of(random_data(200, 20, 5, 1, 7), DK_LOSS_logistic, 0.01, DK_PROX_NONE, 0, 0);
    dither_problem outside = problem_of(random_data(200, 20, 5, 1, 7), DK_LOSS_logistic, 0, DK_PROX_L2, 0.01, 0);
    dither_optimum *a = solved(&inside), *b = solved(&outside);
    (void)state;
    assert_memory_equal(a->x, b->x, 20 * sizeof *a->x);
    assert_true(a->fstar == b->fstar && b->mu == 0 && fabs(a->L - b->L - 0.01) < 1e-12);
    dither_optimum_free(a), dither_optimum_free(b);
    problem_release(&inside), problem_release(&outside);
}

/* Columns that nearly repeat each other: where a step along the smooth part leads far away. */
static void check_dependent(int rows, int features, double weight)
{
    double *matrix = calloc((size_t)(rows * features), sizeof *matrix), *label = calloc((size_t)rows, sizeof *label);
    uint64_t seed = 11;
    for (int j = 0; j < rows; j++) {
        const double common = 30 + random_normal(&seed);
        for (int c = 0; c < features; c++) matrix[j * features + c] = common + 0.3 * random_normal(&seed);
        label[j] = random_uniform(&seed) < 0.5 ? 1 : -1;
    }
    for (int box = 0; box < 2; box++)
        for (int loss = 0; loss < 2; loss++) {
            dither_problem p = problem_of(dense_data(rows, features, matrix, label), all_losses[loss], 0,
                                          box ? DK_PROX_BOX : DK_PROX_L1, box ? -weight : weight, weight);
            dither_optimum *o = solved(&p);
            check_optimum(&p, o, 4);
            dither_optimum_free(o);
            problem_release(&p);
        }
    free(matrix), free(label);
}

static void test_dependent_columns(void **state)
{
    (void)state;
    check_dependent(60, 100, 1e-1);
    check_dependent(60, 100, 1e-2);
    check_dependent(60, 100, 1e-3);
    check_dependent(60, 100, 1e-5);
    check_dependent(16, 5200, 1e-2); /* too many for a dense factorization */
}

/* ---- two paths to one optimum ---- */

/* The same rows with columns spread over `features` ones. */
static dither_data *spread(const dither_data *data, int64_t features)
{
    int32_t *column = calloc((size_t)data->nonzeros, sizeof *column);
    dither_data *out = NULL;
    const int32_t stride = (int32_t)(features / data->features);
    for (int64_t k = 0; k < data->nonzeros; k++) column[k] = data->column[k] * stride;
    if (dither_data_from_csr(data->rows, features, data->row_start, column, data->value, data->label, &out, NULL) !=
        DITHER_OK)
        fail_msg("spread");
    free(column);
    return out;
}

static void check_paths(int loss, double l2, int prox, double a, double b)
{
    enum { SMALL = 150, LARGE = 7500 };
    dither_data *data = random_data(2000, SMALL, 20, 4, 5);
    dither_problem large = problem_of(spread(data, LARGE), loss, l2, prox, a, b);
    dither_problem small = problem_of(data, loss, l2, prox, a, b);
    dither_optimum *l = solved(&large), *s = solved(&small);
    check_optimum(&large, l, 4);
    check_optimum(&small, s, 4);
    if (prox == DK_PROX_NONE) assert_string_equal(l->solver, "newton-cg");
    if (prox == DK_PROX_NONE) assert_string_equal(s->solver, "newton");
    if (prox == DK_PROX_BALL) assert_string_equal(l->solver, "ball newton-cg");
    double difference = 0, size = 0;
    for (int c = 0; c < LARGE; c++) {
        const double expected = c % (LARGE / SMALL) == 0 ? s->x[c / (LARGE / SMALL)] : 0;
        difference += (l->x[c] - expected) * (l->x[c] - expected), size += expected * expected;
        if (expected == 0) assert_true(l->x[c] == 0);
    }
    assert_true(sqrt(difference) <= 1e-12 * sqrt(size));
    assert_true(fabs(l->fstar - s->fstar) <= 2e-16);
    assert_true(fabs(l->L - s->L) <= 0.01 * s->L && l->L_max == s->L_max);
    dither_optimum_free(l), dither_optimum_free(s);
    problem_release(&large), problem_release(&small);
}

static void test_paths(void **state)
{
    (void)state;
    for (size_t l = 0; l < 3; l++) {
        check_paths(all_losses[l], 1e-4, DK_PROX_NONE, 0, 0);
        check_paths(all_losses[l], 1e-4, DK_PROX_L1, 3e-3, 0);
        check_paths(all_losses[l], 1e-4, DK_PROX_BALL, 1, 0);
        check_paths(all_losses[l], 1e-4, DK_PROX_BOX, -0.05, 0.02);
    }
}

/* ---- dense factorization ---- */

/* A positive definite matrix with a diagonal about 1, padded; the factor must give it back. */
static void check_cholesky(int64_t n, const char *isa, int threads, double *factor)
{
    const int64_t order = dither_padded(n);
    double *a = calloc((size_t)(order * order), sizeof *a), *x = calloc((size_t)order, sizeof *x);
    double *panels = calloc((size_t)(order * DITHER_DEPTH), sizeof *panels);
    uint64_t seed = 3;
    setenv("DITHER_ISA", isa, 1);
    for (int64_t i = 0; i < order; i++)
        for (int64_t j = 0; j <= i; j++)
            a[i * order + j] = i == j ? 1 : (i < n ? 0.3 * random_normal(&seed) / sqrt((double)n) : 0);
    memcpy(factor, a, (size_t)(order * order) * sizeof *a);
    assert_true(dither_cholesky_factor(factor, order, panels, threads));
    unsetenv("DITHER_ISA");
    for (int64_t i = 0; i < n; i++) /* b = A 1 */
        for (int64_t j = 0; j < n; j++) x[i] += a[i > j ? i * order + j : j * order + i];
    dither_cholesky_solve(factor, order, x);
    for (int64_t i = 0; i < order; i++)
        if (!(fabs(x[i] - (i < n)) < 1e-13)) fail_msg("n=%d: x[%d] = %g", (int)n, (int)i, x[i]);
    for (int64_t i = 0; i < order; i++) /* the upper half is scratch */
        for (int64_t j = i + 1; j < order; j++) factor[i * order + j] = 0;
    free(a), free(panels), free(x);
}

static void test_cholesky(void **state)
{
    static const int sizes[] = {1, 7, 8, 9, 63, 64, 65, 72, 129, 200, 600};
    double *one = calloc(600 * 600, sizeof *one), *other = calloc(600 * 600, sizeof *other);
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const size_t bytes = (size_t)(dither_padded(sizes[i]) * dither_padded(sizes[i])) * sizeof *one;
        check_cholesky(sizes[i], "avx512", 1, one);
        check_cholesky(sizes[i], "avx2", 1, other);
        assert_memory_equal(one, other, bytes);
        check_cholesky(sizes[i], "baseline", 3, other);
        assert_memory_equal(one, other, bytes);
    }
    double panels[8 * DITHER_DEPTH], singular[64];
    for (int i = 0; i < 64; i++) singular[i] = i % 9 == 0 || i == 8 ? 1 : 0; /* rows 0 and 1 are equal */
    assert_false(dither_cholesky_factor(singular, 8, panels, 1));
    free(one), free(other);
}

/* The same bits on one thread and on several, dense enough that threads are used. */
static void test_threads(void **state)
{
    dither_problem p = problem_of(random_data(700, 560, 300, 1, 21), DK_LOSS_least_squares, 1e-3, DK_PROX_NONE, 0, 0);
    p.threads = 1;
    dither_optimum *one = solved(&p);
    p.threads = 3;
    dither_optimum *three = solved(&p);
    (void)state;
    assert_memory_equal(one->x, three->x, 560 * sizeof *one->x);
    assert_true(one->mu == three->mu && one->mu > 1e-3);
    dither_optimum_free(one), dither_optimum_free(three);
    problem_release(&p);
}

/* ---- smoothness ---- */

/* Eigenvalues of the symmetric a[n][n], destroyed, by Jacobi's rotations: the smallest and the largest. */
static void eigenvalues(int n, double *a, double *least, double *largest)
{
    for (int sweep = 0; sweep < 60; sweep++)
        for (int p = 0; p < n; p++)
            for (int q = p + 1; q < n; q++) {
                if (a[p * n + q] == 0) continue;
                const double theta = (a[q * n + q] - a[p * n + p]) / (2 * a[p * n + q]);
                const double t = (theta < 0 ? -1 : 1) / (fabs(theta) + sqrt(theta * theta + 1));
                const double c = 1 / sqrt(t * t + 1), s = t * c;
                for (int k = 0; k < n; k++) {
                    const double u = a[k * n + p], v = a[k * n + q];
                    a[k * n + p] = c * u - s * v, a[k * n + q] = s * u + c * v;
                }
                for (int k = 0; k < n; k++) {
                    const double u = a[p * n + k], v = a[q * n + k];
                    a[p * n + k] = c * u - s * v, a[q * n + k] = s * u + c * v;
                }
            }
    *least = *largest = a[0];
    for (int i = 1; i < n; i++) {
        *least = a[i * n + i] < *least ? a[i * n + i] : *least;
        *largest = a[i * n + i] > *largest ? a[i * n + i] : *largest;
    }
}

static void gram(const dither_data *data, int64_t begin, int64_t end, double *out)
{
    const int64_t d = data->features;
    memset(out, 0, (size_t)(d * d) * sizeof *out);
    for (int64_t j = begin; j < end; j++)
        for (int64_t k = data->row_start[j]; k < data->row_start[j + 1]; k++)
            for (int64_t m = data->row_start[j]; m < data->row_start[j + 1]; m++)
                out[data->column[k] * d + data->column[m]] += data->value[k] * data->value[m] / (double)(end - begin);
}

static void check_gram_norm(const dither_data *data, int64_t begin, int64_t end)
{
    const int n = (int)data->features;
    double *a = calloc((size_t)(n * n), sizeof *a), least, largest, bound = -1;
    dither_error error;
    gram(data, begin, end, a);
    eigenvalues(n, a, &least, &largest);
    if (dither_gram_norm(data, begin, end, &bound, &error) != DITHER_OK) fail_msg("%s", error.message);
    if (!(bound >= largest * (1 - 1e-13) && bound <= 1.01 * largest))
        fail_msg("%d x %d: lambda_max %.17g, bound %.17g", (int)(end - begin), n, largest, bound);
    free(a);
}

static void test_gram_norm(void **state)
{
    static const int shapes[][3] = {{1, 5, 3},  {2, 1, 1},    {50, 1, 1},  {3, 40, 10},
                                    {40, 3, 2}, {60, 60, 60}, {200, 50, 3}};
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        dither_data *data = random_data(shapes[i][0], shapes[i][1], shapes[i][2], 1, 40 + i);
        check_gram_norm(data, 0, data->rows);
        check_gram_norm(data, data->rows - 1, data->rows);
        check_gram_norm(data, data->rows / 2, data->rows);
        dither_data_free(data);
    }
}

/* What power iteration gets wrong: no gap below the top, a top that hides from a vector of ones, nothing at all. */
static void test_gram_norm_hard(void **state)
{
    enum { N = 40 };
    static double matrix[N * N], label[N];
    (void)state;
    for (int kind = 0; kind < 5; kind++) {
        memset(matrix, 0, sizeof matrix);
        for (int i = 0; i < N; i++) {
            if (kind == 0) matrix[i * N + i] = 1;                        /* all eigenvalues the same */
            if (kind == 1) matrix[i * N + i] = 1 - 1e-4 * i;             /* hardly apart */
            if (kind == 2) matrix[i * N + i] = i == 17 ? 1.05 : 1;       /* one above many */
            if (kind == 3) matrix[i * N + i] = i == 17 ? 1e-150 : 1e-160; /* tiny */
        }
        if (kind == 4) matrix[0] = 5, matrix[1] = -5, matrix[N] = 1, matrix[N + 1] = 1; /* top along (1, -1) */
        dither_data *data = dense_data(N, N, matrix, label);
        check_gram_norm(data, 0, N);
        dither_data_free(data);
    }
    double bound = -1;
    memset(matrix, 0, sizeof matrix);
    dither_data *zeros = dense_data(N, N, matrix, label);
    assert_int_equal(dither_gram_norm(zeros, 0, N, &bound, NULL), DITHER_OK);
    assert_true(bound == 0);
    assert_int_equal(dither_gram_norm(zeros, 3, 3, &bound, NULL), DITHER_OK);
    assert_true(bound == 0);
    dither_data_free(zeros);
    matrix[0] = 1e200;
    dither_data *large = dense_data(N, N, matrix, label);
    dither_error error;
    assert_int_equal(dither_gram_norm(large, 0, N, &bound, &error), DITHER_BAD_DATA);
    dither_data_free(large);
}

static void test_least_squares_convexity(void **state)
{
    static const int shapes[][3] = {{50, 1, 1}, {100, 20, 20}, {60, 60, 60}, {400, 30, 3}};
    dither_smoothness s;
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const int n = shapes[i][1];
        dither_data *data = random_data(shapes[i][0], n, shapes[i][2], 1, 60 + i);
        dither_problem p = problem_of(data, DK_LOSS_least_squares, 0.25, DK_PROX_NONE, 0, 0);
        double *a = calloc((size_t)(n * n), sizeof *a), least, largest;
        gram(p.data, 0, p.data->rows, a);
        eigenvalues(n, a, &least, &largest);
        assert_int_equal(dither_smoothness_find(&p, &s, NULL), DITHER_OK);
        const double mu = s.mu - 0.25;
        if (!(mu <= least * (1 + 1e-9) + 1e-16 && mu >= 0.99 * least - 1e-16))
            fail_msg("%d: %.17g for %.17g", n, mu, least);
        assert_true(s.pooled >= (largest + 0.25) * (1 - 1e-14) && s.pooled <= 1.01 * largest + 0.25);
        free(a);
        p.loss = DK_LOSS_logistic;
        assert_int_equal(dither_smoothness_find(&p, &s, NULL), DITHER_OK);
        assert_true(s.mu == 0.25);
        problem_release(&p);
    }
    /* fewer rows than features, and a column that repeats another: singular */
    const double matrix[] = {1, 1, 2, 2, 3, 3, 4, 4}, label[] = {1, 2, 3, 4};
    dither_problem p = problem_of(dense_data(4, 2, matrix, label), DK_LOSS_least_squares, 0, DK_PROX_NONE, 0, 0);
    assert_int_equal(dither_smoothness_find(&p, &s, NULL), DITHER_OK);
    assert_true(s.mu == 0);
    problem_release(&p);
    p = problem_of(dense_data(2, 4, matrix, label), DK_LOSS_least_squares, 0, DK_PROX_NONE, 0, 0);
    assert_int_equal(dither_smoothness_find(&p, &s, NULL), DITHER_OK);
    assert_true(s.mu == 0);
    problem_release(&p);
}

/* ---- problems without a minimiser, singular ones, and the smallest ---- */

/* Whether the classes can be separated strictly, but for ties, or not. */
static dither_data *separable_data(int tie)
{
    const double matrix[] = {1, 2, 1, 0, -1, 1, -2, -1, 0, tie ? 1 : 0, 0, tie ? 1 : 0};
    const double label[] = {1, 1, -1, -1, 1, -1};
    return dense_data(tie ? 6 : 4, 2, matrix, label);
}

static void test_separable(void **state)
{
    (void)state;
    for (int tie = 0; tie < 2; tie++) {
        dither_problem p = problem_of(separable_data(tie), DK_LOSS_logistic, 0, DK_PROX_NONE, 0, 0);
        assert_refused(&p, DITHER_USAGE, "--l2");
        p.prox = DK_PROX_L2; /* with a weight of 0 */
        assert_refused(&p, DITHER_USAGE, "no finite minimiser");
        static const struct {
            int loss, prox;
            double l2, a, b;
        } bounded[] = {
            {DK_LOSS_logistic, DK_PROX_NONE, 1e-6, 0, 0},      {DK_LOSS_logistic, DK_PROX_L1, 0, 1e-3, 0},
            {DK_LOSS_logistic, DK_PROX_ELASTIC, 0, 0, 1e-3},   {DK_LOSS_logistic, DK_PROX_BOX, 0, -3, 2},
            {DK_LOSS_logistic, DK_PROX_BALL, 0, 3, 0},         {DK_LOSS_logistic, DK_PROX_BALL, 0, 1000, 0},
            {DK_LOSS_smooth_hinge, DK_PROX_NONE, 0, 0, 0},     {DK_LOSS_smooth_hinge, DK_PROX_BALL, 0, 0.5, 0},
            {DK_LOSS_least_squares, DK_PROX_NONE, 0, 0, 0},
        };
        for (size_t i = 0; i < sizeof bounded / sizeof *bounded; i++) {
            p.loss = bounded[i].loss, p.l2 = bounded[i].l2, p.prox = bounded[i].prox;
            p.prox_a = bounded[i].a, p.prox_b = bounded[i].b;
            dither_optimum *o = solved(&p);
            check_optimum(&p, o, 4);
            dither_optimum_free(o);
        }
        problem_release(&p);
    }
}

/* Columns that depend on each other, l2 = 0: many minimisers, of which any will do. */
static void test_singular(void **state)
{
    enum { ROWS = 50, FEATURES = 6 };
    static double matrix[ROWS * FEATURES], label[ROWS];
    uint64_t seed = 8;
    (void)state;
    for (int j = 0; j < ROWS; j++) {
        for (int c = 0; c < 3; c++) {
            matrix[j * FEATURES + c] = random_normal(&seed);
            matrix[j * FEATURES + c + 3] = c < 2 ? 2 * matrix[j * FEATURES + c] : 0; /* copies, and an empty column */
        }
        label[j] = random_normal(&seed) > 0 ? 1 : -1;
    }
    for (size_t l = 0; l < 3; l++)
        for (size_t r = 0; r < REGULARISERS; r++) {
            dither_problem p = problem_of(dense_data(ROWS, FEATURES, matrix, label), all_losses[l], 0,
                                          regularisers[r].prox, regularisers[r].a, regularisers[r].b);
            dither_optimum *o = solved(&p);
            check_optimum(&p, o, 8);
            dither_optimum_free(o);
            problem_release(&p);
        }
}

static void test_smallest(void **state)
{
    const double row[] = {2}, zero[] = {0}, label[] = {1};
    (void)state;
    /* (2x - 1)^2 / 2 + x^2 / 2 has its minimum at 2/5, which bounds and balls move */
    dither_problem p = problem_of(dense_data(1, 1, row, label), DK_LOSS_least_squares, 1, DK_PROX_NONE, 0, 0);
    static const struct {
        int prox;
        double a, b, x;
    } cases[] = {{DK_PROX_NONE, 0, 0, 0.4},   {DK_PROX_L1, 0.5, 0, 0.3},   {DK_PROX_L1, 2, 0, 0},
                 {DK_PROX_L1, 3, 0, 0},       {DK_PROX_L1, 0, 0, 0.4},     {DK_PROX_L2, 3, 0, 0.25},
                 {DK_PROX_ELASTIC, 1, 5, 0.1}, {DK_PROX_BOX, 0.5, 0.7, 0.5}, {DK_PROX_BOX, -1, 0.125, 0.125},
                 {DK_PROX_BOX, -2, -1, -1},   {DK_PROX_BOX, -9, 9, 0.4},   {DK_PROX_BOX, 3, 3, 3},
                 {DK_PROX_BALL, 0.25, 0, 0.25}, {DK_PROX_BALL, 0, 0, 0},   {DK_PROX_BALL, 0.4, 0, 0.4}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        p.prox = cases[i].prox, p.prox_a = cases[i].a, p.prox_b = cases[i].b;
        dither_optimum *o = solved(&p);
        if (!(fabs(o->x[0] - cases[i].x) <= 1e-15)) fail_msg("case %d: x = %.17g", (int)i, o->x[0]);
        if (p.prox != DK_PROX_BALL || p.prox_a > 0) check_optimum(&p, o, 4);
        dither_optimum_free(o);
    }
    problem_release(&p);
    /* nothing but zeros, and labels that are already met */
    for (size_t l = 0; l < 3; l++)
        for (size_t r = 0; r < REGULARISERS; r++) {
            p = problem_of(dense_data(1, 1, zero, all_losses[l] == DK_LOSS_least_squares ? zero : label),
                           DK_LOSS_least_squares, 0.5, regularisers[r].prox, regularisers[r].a, regularisers[r].b);
            p.loss = all_losses[l];
            dither_optimum *o = solved(&p);
            check_optimum(&p, o, 4);
            assert_true(o->x[0] == (p.prox == DK_PROX_BOX && p.prox_a > 0 ? p.prox_a : 0));
            dither_optimum_free(o);
            problem_release(&p);
        }
}

static void test_refusals(void **state)
{
    dither_problem p = problem_of(random_data(20, 3, 2, 1, 1), DK_LOSS_logistic, -1, DK_PROX_NONE, 0, 0);
    (void)state;
    assert_refused(&p, DITHER_USAGE, "--l2");
    p.l2 = NAN;
    assert_refused(&p, DITHER_USAGE, "--l2");
    p.l2 = 0.1;
    static const struct {
        int prox;
        double a, b;
    } cases[] = {{DK_PROX_L1, -1, 0}, {DK_PROX_ELASTIC, 1, -2}, {DK_PROX_L2, -1, 0},
                 {DK_PROX_BOX, 1, 0}, {DK_PROX_BALL, -1, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        p.prox = cases[i].prox, p.prox_a = cases[i].a, p.prox_b = cases[i].b;
        assert_refused(&p, DITHER_USAGE, "--prox");
    }
    problem_release(&p);
    const double matrix[] = {1e200, 1}, label[] = {1, -1};
    p = problem_of(dense_data(2, 1, matrix, label), DK_LOSS_logistic, 0.1, DK_PROX_NONE, 0, 0);
    assert_refused(&p, DITHER_BAD_DATA, "scale");
    problem_release(&p);
    dither_optimum_free(NULL);
}

/* ---- the cache ---- */

static char cache_folder[64];

static int make_folder(void **state)
{
    (void)state;
    strcpy(cache_folder, "/tmp/dither-solve-XXXXXX");
    return !mkdtemp(cache_folder) || setenv("DITHER_CACHE_DIR", cache_folder, 1);
}

/* Removes what is in the folder, which is flat but for one level; returns how many files there were. */
static int empty_folder(const char *path)
{
    char name[1024];
    int files = 0;
    DIR *folder = opendir(path);
    if (!folder) return 0;
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (entry->d_name[0] == '.' && strlen(entry->d_name) < 3) continue;
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        struct stat info;
        if (stat(name, &info) || !S_ISDIR(info.st_mode))
            files += !unlink(name);
        else
            files += empty_folder(name), rmdir(name);
    }
    closedir(folder);
    return files;
}

static int remove_folder(void **state)
{
    (void)state;
    empty_folder(cache_folder);
    return rmdir(cache_folder);
}

static dither_optimum *cached(const dither_problem *problem)
{
    dither_optimum *out = NULL;
    dither_error error;
    if (dither_solve(problem, 1, &out, &error) != DITHER_OK) fail_msg("%s", error.message);
    return out;
}

/* All of an optimum but its origin. */
static void assert_same(const dither_optimum *a, const dither_optimum *b)
{
    assert_int_equal(a->features, b->features);
    assert_memory_equal(a->x, b->x, (size_t)a->features * sizeof *a->x);
    assert_true(a->fstar == b->fstar && a->grad_norm == b->grad_norm && a->L_max == b->L_max && a->L == b->L);
    assert_true(a->mu == b->mu && a->certificate == b->certificate);
    assert_string_equal(a->solver, b->solver);
    assert_string_equal(a->cache_path, b->cache_path);
}

static dither_problem small_problem(double l2)
{
    return problem_of(random_data(60, 9, 4, 1, 2), DK_LOSS_logistic, l2, DK_PROX_NONE, 0, 0);
}

static void test_cache_hit(void **state)
{
    dither_problem p = small_problem(0.01);
    dither_optimum *without = solved(&p), *first = cached(&p), *second = cached(&p);
    (void)state;
    assert_true(first->iterations > 0 && first->iterations == without->iterations);
    assert_int_equal(second->iterations, 0);
    assert_true(!strncmp(first->cache_path, cache_folder, strlen(cache_folder)));
    assert_same(first, second);
    assert_memory_equal(first->x, without->x, 9 * sizeof *first->x);
    dither_optimum_free(without), dither_optimum_free(first), dither_optimum_free(second);
    problem_release(&p);
    assert_int_equal(empty_folder(cache_folder), 1); /* and no temporary file beside it */
}

/* Whatever decides x* has a file of its own. */
static void test_cache_key(void **state)
{
    dither_problem p[9], base = small_problem(0.01);
    dither_problem other = problem_of(random_data(60, 9, 4, 1, 3), DK_LOSS_logistic, 0.01, DK_PROX_NONE, 0, 0);
    char *path[9];
    double *y = calloc(60, sizeof *y);
    (void)state;
    for (int i = 0; i < 9; i++) p[i] = base;
    memcpy(y, base.y, 60 * sizeof *y);
    y[7] = -y[7];
    p[1].l2 = 0.02, p[2].loss = DK_LOSS_smooth_hinge, p[3].y = y, p[4].data = other.data;
    p[5].prox = DK_PROX_BOX, p[5].prox_a = -0.1, p[5].prox_b = 1;
    p[6].prox = DK_PROX_BOX, p[6].prox_a = -1, p[6].prox_b = 1;
    p[7].prox = DK_PROX_BALL, p[7].prox_a = 1;
    p[8].prox = DK_PROX_L1, p[8].prox_a = 1;
    for (int i = 0; i < 9; i++) {
        dither_optimum *o = cached(&p[i]);
        if (i < 8 && o->iterations == 0) fail_msg("problem %d was taken for another", i); /* for the last x* = 0 */
        path[i] = strdup(o->cache_path);
        for (int k = 0; k < i; k++) assert_string_not_equal(path[k], path[i]);
        dither_optimum_free(o);
    }
    assert_int_equal(empty_folder(cache_folder), 9);
    for (int i = 0; i < 9; i++) free(path[i]);
    free(y);
    problem_release(&base), problem_release(&other);
}

static char *slurp(const char *path, size_t *bytes)
{
    FILE *file = fopen(path, "rb");
    char *text = calloc(1, 1 << 16);
    assert_non_null(file);
    *bytes = fread(text, 1, 1 << 16, file);
    fclose(file);
    return text;
}

static void spit(const char *path, const char *text, size_t bytes)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, bytes, file), bytes);
    fclose(file);
}

/* A byte changed anywhere, a byte less or more, nothing at all, or another problem's file: solved again, and the
 * file is whole afterwards. */
static void test_cache_damage(void **state)
{
    dither_problem p = small_problem(0.01), other = small_problem(0.02);
    dither_optimum *first = cached(&p), *foreign = cached(&other);
    size_t bytes, foreign_bytes;
    char *good = slurp(first->cache_path, &bytes), *bad = calloc(1, (1 << 16) + 1);
    char *text = slurp(foreign->cache_path, &foreign_bytes);
    (void)state;
    assert_int_equal(bytes, foreign_bytes);
    const size_t lengths[] = {bytes - 1, bytes + 1, 0, bytes};
    for (size_t i = 0; i < bytes + 4; i++) {
        memcpy(bad, i == bytes + 3 ? text : good, bytes);
        if (i < bytes) bad[i] ^= (char)(1 << i % 8);
        spit(first->cache_path, bad, i < bytes ? bytes : lengths[i - bytes]);
        dither_optimum *again = cached(&p);
        if (again->iterations == 0) fail_msg("damage %d of %d was not seen", (int)i, (int)bytes);
        assert_same(first, again);
        dither_optimum_free(again);
        again = cached(&p);
        assert_int_equal(again->iterations, 0);
        dither_optimum_free(again);
    }
    free(good), free(bad), free(text);
    dither_optimum_free(first), dither_optimum_free(foreign);
    problem_release(&p), problem_release(&other);
    assert_int_equal(empty_folder(cache_folder), 2);
}

/* $DITHER_CACHE_DIR, else $XDG_CACHE_HOME/dither if absolute, else ~/.cache/dither, made as need be; else none. */
static void test_cache_place(void **state)
{
    dither_problem p = small_problem(0.01);
    static const char *const folders[] = {"own/deep", "dither", ".cache/dither", ".cache/dither", "", ""};
    char expected[1200], *home = getenv("HOME") ? strdup(getenv("HOME")) : NULL;
    (void)state;
    for (int place = 0; place < 6; place++) {
        snprintf(expected, sizeof expected, "%s/%s", cache_folder, folders[place]);
        unsetenv("DITHER_CACHE_DIR"), unsetenv("XDG_CACHE_HOME"), setenv("HOME", cache_folder, 1);
        if (place == 0) setenv("DITHER_CACHE_DIR", expected, 1);
        if (place == 1) setenv("XDG_CACHE_HOME", cache_folder, 1);
        if (place == 2) setenv("XDG_CACHE_HOME", "relative", 1), setenv("DITHER_CACHE_DIR", "", 1);
        if (place == 4) unsetenv("HOME");
        if (place == 5) setenv("DITHER_CACHE_DIR", "/dev/null/folder", 1); /* can't be made */
        dither_optimum *o = cached(&p);
        assert_true(o->iterations > 0);
        if (place < 4)
            assert_true(!strncmp(o->cache_path, expected, strlen(expected)) && !access(o->cache_path, R_OK));
        else
            assert_null(o->cache_path);
        check_optimum(&p, o, 4);
        dither_optimum_free(o);
        assert_int_equal(empty_folder(cache_folder), place < 4);
    }
    if (home) setenv("HOME", home, 1);
    free(home);
    setenv("DITHER_CACHE_DIR", cache_folder, 1);
    problem_release(&p);
}

/* A problem that has no minimiser leaves no file. */
static void test_cache_failure(void **state)
{
    dither_problem p = problem_of(separable_data(0), DK_LOSS_logistic, 0, DK_PROX_NONE, 0, 0);
    dither_optimum *out;
    (void)state;
    assert_int_equal(dither_solve(&p, 1, &out, NULL), DITHER_USAGE);
    assert_int_equal(empty_folder(cache_folder), 0);
    problem_release(&p);
}

/* ---- the losses ---- */

static void test_loss_values(void **state)
{
    (void)state;
    for (size_t l = 0; l < 3; l++)
        for (int i = -2000; i <= 2000; i++)
            for (int side = -1; side <= 1; side += 2) {
                const double z = i * 0.37, y = side;
                const real value = exact_loss(all_losses[l], z, y), slope = exact_slope(all_losses[l], z, y);
                const double near = fabs(y * z) > 700 ? 1e-300 : 0; /* no subnormals */
                if (!(fabsl(dk_loss_value(all_losses[l], z, y) - value) <= 1e-15L * value + near))
                    fail_msg("loss %d at %g", all_losses[l], y * z);
                if (!(fabsl(dk_loss_slope(all_losses[l], z, y) - slope) <= 1e-15L * fabsl(slope) + near))
                    fail_msg("slope %d at %g", all_losses[l], y * z);
            }
}

/* The curvature is the slope's slope, within the bounds that step sizes are made of. */
static void test_loss_curvature(void **state)
{
    (void)state;
    for (size_t l = 0; l < 3; l++)
        for (int i = -400; i <= 400; i++) {
            const int loss = all_losses[l];
            const double z = i * 0.0507 + 0.001, h = 1e-4, y = i % 2 ? 1 : -1;
            const double curvature = dk_loss_curvature(loss, z, y);
            const double slope = (double)((exact_slope(loss, z + h, y) - exact_slope(loss, z - h, y)) / (2 * (real)h));
            const int kink = loss == DK_LOSS_smooth_hinge && (fabs(y * z) < 2 * h || fabs(y * z - 1) < 2 * h);
            if (!kink && !(fabs(curvature - slope) <= 1e-8))
                fail_msg("curvature %d at %g: %g, not %g", loss, y * z, curvature, slope);
            assert_true(curvature >= 0 && curvature <= (loss == DK_LOSS_logistic ? 0.25 : 1.0));
        }
    assert_true(dk_loss_curvature(DK_LOSS_logistic, 0, 1) == 0.25);
}

/* phi(z + h) - phi(z) - phi'(z) h, in long double and without cancellation. */
static real exact_bregman(int loss, real z, real h, real y)
{
    if (loss == DK_LOSS_least_squares) return h * h / 2;
    if (loss == DK_LOSS_logistic) { /* log1p(v) + p s with v = p (e^-s - 1); the same for t and -t */
        const real t = fabsl(z), s = (y * z < 0 ? -y : y) * h, p = expl(-t) / (1 + expl(-t));
        real curve = 0, term = -s, log = 0;
        if (fabsl(s) > 0.1L) return exact_loss(loss, t + s, 1) - log1pl(expl(-t)) + p * s;
        for (int k = 2; k < 40; k++) curve += term *= -s / k; /* e^-s - 1 + s */
        const real v = p * (curve - s);
        real power = v;
        for (int k = 2; k < 60; k++) log += (power *= -v) / k; /* log1p(v) - v */
        return p * curve + log;
    }
    /* the slope is clamp(t) - 1: integrate piece by piece, each measured from its own corner */
    const real low = -y * z, high = 1 - y * z, step = y * h, from = 0 < low ? low : (0 > high ? high : 0);
    const real to = step < low ? low : (step > high ? high : step), inside = to - from;
    return inside * inside / 2 + (step - to) * inside;
}

static void check_bregman(int loss, double z, double h, double y, double tolerance)
{
    const double value = dk_loss_bregman(loss, z, h, y);
    const real exact = exact_bregman(loss, z, h, y);
    if (!(fabsl(value - exact) <= tolerance * exact + 1e-300L))
        fail_msg("loss %d bregman(%.17g, %.17g, %g) = %.17g, exactly %.17Lg", loss, z, h, y, value, exact);
    assert_true(value >= 0);
}

static void test_loss_bregman(void **state)
{
    uint64_t seed = 77;
    (void)state;
    for (size_t l = 0; l < 3; l++)
        for (int i = 0; i < 60000; i++) {
            const double y = random_uniform(&seed) < 0.5 ? 1 : -1, h = pow(10, -14 + 15.5 * random_uniform(&seed));
            const double spread = i % 3 == 0 ? 40 : 3, z = spread * (random_uniform(&seed) - 0.5);
            check_bregman(all_losses[l], z, random_uniform(&seed) < 0.5 ? h : -h, y, 1e-9);
        }
}

/* Steps as small as 1e-12 that begin, end or pass where the formula changes. */
static void test_loss_bregman_corners(void **state)
{
    static const double corners[] = {0, 1, -1, 0.5, 30, -30, 600, -600};
    static const double sizes[] = {1e-12, 1e-9, 1e-3, 0.0099, 0.01, 0.011, 1, 3};
    (void)state;
    for (size_t l = 0; l < 3; l++)
        for (size_t c = 0; c < 8; c++)
            for (size_t s = 0; s < 8; s++)
                for (int k = -8; k <= 8; k++)
                    for (int side = -1; side <= 1; side += 2) {
                        const double z = corners[c] + k * sizes[s] / 4;
                        check_bregman(all_losses[l], z, side * sizes[s], 1, 1e-9);
                        check_bregman(all_losses[l], z, side * sizes[s], -1, 1e-9);
                    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loss_values),
        cmocka_unit_test(test_loss_curvature),
        cmocka_unit_test(test_loss_bregman),
        cmocka_unit_test(test_loss_bregman_corners),
        cmocka_unit_test(test_cholesky),
        cmocka_unit_test(test_gram_norm),
        cmocka_unit_test(test_gram_norm_hard),
        cmocka_unit_test(test_least_squares_convexity),
        cmocka_unit_test(test_reference),
        cmocka_unit_test(test_random_problems),
        cmocka_unit_test(test_mushrooms),
        cmocka_unit_test(test_a5a),
        cmocka_unit_test(test_l2_in_prox),
        cmocka_unit_test(test_dependent_columns),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_separable),
        cmocka_unit_test(test_singular),
        cmocka_unit_test(test_smallest),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_cache_hit),
        cmocka_unit_test(test_cache_key),
        cmocka_unit_test(test_cache_damage),
        cmocka_unit_test(test_cache_place),
        cmocka_unit_test(test_cache_failure),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
