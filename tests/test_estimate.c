/* dither estimate against what its numbers mean, row by row. */
#include "theory.h"

#include "losses.h"

enum { D = 5, ROWS = 62, WORKERS = 4 }; /* shards of 15 and 16 rows */

static dither_estimates estimate(const dither_data *data, dither_options *options)
{
    dither_estimates e;
    dither_error error;
    if (dither_estimate(data, options, &e, &error) != DITHER_OK) fail_msg("%s", error.message);
    dither_options_free(options);
    return e;
}

/* Gradients of single rows, their means and squares, written out. */
static void brute_force(const dither_data *data, double l2, const double *x, dither_noise *out)
{
    double f[D] = {0};
    *out = (dither_noise){0};
    for (int w = 0; w < WORKERS; w++) {
        const int begin = ROWS * w / WORKERS, end = ROWS * (w + 1) / WORKERS, m = end - begin;
        const double weight = (double)WORKERS * m / ROWS;
        double g[ROWS][D], mean[D] = {0};
        for (int j = begin; j < end; j++) {
            double z = 0, dense[D] = {0};
            for (int64_t e = data->row_start[j]; e < data->row_start[j + 1]; e++) dense[data->column[e]] = data->value[e];
            for (int c = 0; c < D; c++) z += dense[c] * x[c];
            out->f += dk_loss_value(DK_LOSS_logistic, z, data->label[j]) / ROWS;
            for (int c = 0; c < D; c++) {
                g[j][c] = weight * dk_loss_slope(DK_LOSS_logistic, z, data->label[j]) * dense[c] + l2 * x[c];
                mean[c] += g[j][c] / m;
            }
        }
        for (int c = 0; c < D; c++) {
            f[c] += mean[c] / WORKERS;
            out->worker_norm2 += mean[c] * mean[c] / WORKERS;
            for (int j = begin; j < end; j++) out->variance += (g[j][c] - mean[c]) * (g[j][c] - mean[c]) / m / WORKERS;
        }
    }
    for (int c = 0; c < D; c++) out->grad_norm2 += f[c] * f[c], out->f += l2 / 2 * x[c] * x[c];
    out->zeta2 = out->worker_norm2 - out->grad_norm2;
}

static void near(const char *what, double value, double expected)
{
    if (!(fabs(value - expected) <= 1e-12 * (1 + fabs(expected)))) fail_msg("%s: %.17g, not %.17g", what, value, expected);
}

static void test_points(void **state)
{
    dither_data *data = synthetic(ROWS, D, 0.8, 1, 6);
    dither_options *options = options_of("l2=0.05");
    const dither_estimates e = estimate(data, options_of("l2=0.05 workers=4 batch=3"));
    dither_optimum *optimum;
    (void)state;
    assert_int_equal(dither_optimum_find(data, options, &optimum, NULL), DITHER_OK);
    assert_true(e.workers == WORKERS && e.batch == 3 && e.outputs == 1 && e.at_optimum);
    assert_true(e.L == optimum->L && e.L_max == optimum->L_max && e.mu == 0.05);
    double most = 0, zeta = 0;
    for (int i = 0; i < DITHER_NOISE_POINTS; i++) {
        double x[D];
        dither_noise b;
        for (int c = 0; c < D; c++) x[c] = i / 4.0 * optimum->x[c];
        brute_force(data, 0.05, x, &b);
        near("variance", e.at[i].variance, b.variance), near("gradient", e.at[i].grad_norm2, b.grad_norm2);
        near("f", e.at[i].f, b.f);
        near("workers", e.at[i].worker_norm2, b.worker_norm2), near("zeta^2", e.at[i].zeta2, b.zeta2);
        const double slack = e.sigma2 + e.M * b.grad_norm2 - b.variance;
        assert_true(slack >= -1e-12);
        if (i == 0 || slack < most) most = slack;
        zeta = fmax(zeta, b.zeta2);
    }
    assert_true(most <= 1e-12); /* the least sigma^2 */
    near("zeta^2", e.zeta2, zeta);
    near("h*", e.h2, e.at[4].worker_norm2);
    dither_optimum_free(optimum);
    dither_options_free(options);
    dither_data_free(data);
}

/* Two classes as softmax: at x_1 = -x_0 = x/2 each row's gradient is the logistic one twice, with both signs. */
static void test_outputs(void **state)
{
    dither_data *data = synthetic(ROWS, D, 0.8, 1, 6);
    const dither_estimates one = estimate(data, options_of("l2=0.02 workers=4")), two = estimate(data, options_of("loss=softmax l2=0.04 workers=4"));
    (void)state;
    for (int i = 0; i < DITHER_NOISE_POINTS; i++) {
        near("f", two.at[i].f, one.at[i].f);
        near("variance", two.at[i].variance, 2 * one.at[i].variance);
        near("zeta^2", two.at[i].zeta2, 2 * one.at[i].zeta2);
    }
    dither_data_free(data);
}

/* Rows y = a.x without noise, a normal, x_c = c - 3.5. */
static dither_data *noiseless(int rows, int d)
{
    int64_t *start = calloc((size_t)rows + 1, sizeof *start);
    int32_t *column = calloc((size_t)(rows * d), sizeof *column);
    double *value = calloc((size_t)(rows * d), sizeof *value), *label = calloc((size_t)rows, sizeof *label);
    dither_data *data;
    uint64_t seed = 5;
    for (int r = 0; r < rows; r++) {
        for (int c = 0; c < d; c++) {
            const double a = random_normal(&seed);
            column[r * d + c] = c, value[r * d + c] = a, label[r] += a * (c - 3.5);
        }
        start[r + 1] = start[r] + d;
    }
    assert_int_equal(dither_data_from_csr(rows, d, start, column, value, label, &data, NULL), DITHER_OK);
    free(start), free(column), free(value), free(label);
    return data;
}

/* No variance at x*, and E||a a'e||^2 = (d + 2)||e||^2 makes M = d + 1. */
static void test_interpolation(void **state)
{
    enum { FEW = 8 };
    dither_data *data = noiseless(6000, FEW);
    const dither_estimates e = estimate(data, options_of("loss=least-squares l2=0 workers=1"));
    (void)state;
    assert_true(fabs(e.M - (FEW + 1)) < 0.08 * (FEW + 1));
    assert_true(e.sigma2 < 1e-9 * e.at[0].variance && e.h2 < 1e-20);
    assert_true(e.L_worker_min == e.L_worker_max && fabs(e.L_worker_min - e.L) <= 1e-12 * e.L); /* one worker */
    dither_data_free(data);
}

/* ||x - x*||^2 after two steps of SGD, in the mean of `seeds` runs. */
static double distance_after(const dither_data *data, int batch, double gamma, int seeds)
{
    double sum = 0;
    for (int s = 0; s < seeds; s++) {
        dither_options *options = options_of("method=sgd loss=least-squares l2=0 workers=1 batch=%d gamma=%.17g iterations=2 "
                                             "seed=%d trace-every=1000 reference=none", batch, gamma, s);
        dither_result *r = NULL;
        const dither_status status = dither_train(data, options, NULL, NULL, &r, NULL);
        assert_true(r && (status == DITHER_OK || status == DITHER_DIVERGED)); /* a step too long: far away */
        dither_options_free(options);
        for (int c = 0; c < r->features; c++) sum += (r->x[c] - (c - 3.5)) * (r->x[c] - (c - 3.5)) / seeds;
        dither_result_free(r);
    }
    return sum;
}

/* The step that goes farthest, found by trying a grid of ratio sqrt 2, against the batch: in proportion to it below M,
 * nearly the same beyond, and everywhere what --scale-gamma mean says. */
static void test_scaling(void **state)
{
    static const int batches[] = {1, 4, 16, 64, 256};
    enum { BATCHES = 5, SEEDS = 60 };
    dither_data *data = noiseless(600, 14);
    const dither_estimates e = estimate(data, options_of("loss=least-squares l2=0 workers=1"));
    double best[BATCHES];
    (void)state;
    for (int i = 0; i < BATCHES; i++) {
        const double rule = batches[i] / (e.M + batches[i]) / e.L;
        dither_result *r = train(data, options_of("method=sgd loss=least-squares l2=0 workers=1 batch=%d scale-gamma=mean iterations=0 no-cache=1",
                                                  batches[i]), NULL, NULL);
        near("gamma", r->gamma, rule);
        dither_result_free(r);
        double least = INFINITY;
        for (int step = -10; step <= 1; step++) {
            const double gamma = pow(2, 0.5 * step), distance = distance_after(data, batches[i], gamma, SEEDS);
            if (distance < least) least = distance, best[i] = gamma;
        }
        if (!(best[i] > 0.45 * rule && best[i] < 2.2 * rule)) fail_msg("batch %d: best %g, the rule says %g", batches[i], best[i], rule);
    }
    assert_true(best[1] >= 2 * best[0] && best[2] >= 1.9 * best[1]); /* M is about 15 */
    assert_true(best[4] <= 2 * best[3] && best[4] <= 4 * best[2] && best[4] > 4 * best[0]);
    dither_data_free(data);
}

/* The mean over runs of f after two steps of SGD on rows of mushrooms. */
static double loss_after(const dither_data *data, int batch, double gamma, int seeds)
{
    double sum = 0;
    for (int s = 0; s < seeds; s++) {
        dither_result *r = train(data, options_of("method=sgd l2=0.01 workers=1 batch=%d gamma=%.17g iterations=2 seed=%d "
                                                  "trace-every=1000 reference=none", batch, gamma, s), NULL, NULL);
        sum += r->f / seeds;
        dither_result_free(r);
    }
    return sum;
}

/* The same on real rows. The loss flattens away from 0, so that the best steps are a multiple of the rule's: their shape is
 * B / (M + B). */
static void test_scaling_real(void **state)
{
    static const int batches[] = {1, 4, 16, 64, 256};
    enum { BATCHES = 5, SEEDS = 40 };
    dither_data *all = bundled("mushrooms", 0), *data = thin(all, 16);
    const dither_estimates e = estimate(data, options_of("l2=0.01 workers=1"));
    double best[BATCHES] = {0};
    (void)state;
    for (int i = 0; i < BATCHES; i++) {
        double least = INFINITY;
        for (int step = -8; step <= 4; step++) {
            const double gamma = pow(2, 0.5 * step) / e.L, f = loss_after(data, batches[i], gamma, SEEDS);
            if (f < least) least = f, best[i] = gamma;
        }
        print_message("batch %d: best step %.3g / L, B / (M + B) = %.3g\n", batches[i], best[i] * e.L, batches[i] / (e.M + batches[i]));
    }
    assert_true(e.M > 5 && e.M < 30);
    for (int i = 0; i < BATCHES; i++) {
        const double shape = best[i] / best[BATCHES - 1], rule = batches[i] / (e.M + batches[i]) * (1 + e.M / 256);
        if (!(shape > rule / 2 && shape < 2 * rule)) fail_msg("batch %d: %g of the longest step, the rule says %g", batches[i], shape, rule);
    }
    assert_true(best[1] > 2.5 * best[0] && best[4] < 2.5 * best[2] && best[4] <= 2 * best[3]);
    dither_data_free(data), dither_data_free(all);
}

/* mean and sum are one step in two forms; sigma^2 and the number of iterations shorten it; --gamma takes the place of 1/L. */
static void test_scaling_forms(void **state)
{
    dither_data *data = synthetic(600, 12, 0.8, 1, 6);
    const dither_estimates e = estimate(data, options_of("l2=0.01 workers=4"));
    const double B = 12, F = e.at[0].f - e.at[4].f, rule = B / (e.M + B);
    (void)state;
    assert_true(e.sigma2 > 0 && e.M > 0 && F > 0);
    for (int i = 0; i < 7; i++) {
        static const char *const more[] = {"iterations=3", "iterations=400", "iterations=90000 max-seconds=0", "iterations=50 gamma=0.3",
                                           "epochs=2 gamma=x0.5", "epochs=2 stepper=momentum",
                                           "iterations=90000 max-seconds=0 stepper=momentum"};
        const double share = i < 5 ? 1 : 0.1; /* 1 - momentum */
        const double noisy = share * sqrt(2 * F * B / (e.L * e.sigma2 * (i == 0 ? 3 : (i == 1 ? 400 : 90000))));
        const double c[] = {1 / e.L, 1 / e.L, 1 / e.L, 0.3, 0.5 / e.L_max, 0.1 / e.L, 0.1 / e.L};
        dither_result *r[2];
        for (int sum = 0; sum < 2; sum++)
            r[sum] = train(data, options_of("method=sgd l2=0.01 workers=4 batch=3 scale-gamma=%s %s", sum ? "sum" : "mean", more[i]),
                           NULL, NULL);
        near("gamma", r[0]->gamma, i < 3 || i == 6 ? fmin(c[i] * rule, noisy) : c[i] * rule);
        assert_true(fabs(r[0]->gamma - r[1]->gamma) <= 1e-15 * r[0]->gamma);
        for (int k = 0; k < 12; k++) assert_true(fabs(r[0]->x[k] - r[1]->x[k]) <= 1e-10 * (1e-3 + fabs(r[0]->x[k])));
        if (i == 0) assert_true(noisy > c[0] * rule);
        if (i == 2 || i == 6) assert_true(noisy < c[i] * rule);
        dither_result_free(r[0]), dither_result_free(r[1]);
    }
    dither_data_free(data);
}

static void test_scaling_refused(void **state)
{
    dither_data *data = synthetic(ROWS, D, 0.8, 1, 6);
    (void)state;
    check_fails(data, options_of("scale-gamma=mean"), DITHER_USAGE, "--estimator sgd");
    check_fails(data, options_of("method=sgd scale-gamma=mean step-form=sum"), DITHER_USAGE, "--scale-gamma sum");
    check_fails(data, options_of("method=sgd scale-gamma=mean gamma=theory"), DITHER_USAGE, "--gamma theory");
    /* whose steps are on one worker's batch, or one row */
    check_fails(data, options_of("method=async-sgd scale-gamma=mean"), DITHER_USAGE, "--method async-sgd");
    check_fails(data, options_of("method=hogwild scale-gamma=sum"), DITHER_USAGE, "--method hogwild");
    dither_data_free(data);
}

/* Workers with one label each differ more than those with a shuffle of all. */
static void test_split(void **state)
{
    dither_data *data = synthetic(600, D, 0.8, 1, 6);
    const dither_estimates sorted = estimate(data, options_of("split=by-label workers=6")), mixed = estimate(data, options_of("split=shuffled workers=6"));
    const dither_estimates flat = estimate(data, options_of("loss=sigmoid workers=6 l2=0.1"));
    (void)state;
    assert_true(sorted.h2 > 5 * mixed.h2 && sorted.zeta2 > 5 * mixed.zeta2);
    assert_true(sorted.L == mixed.L && fabs(sorted.at[2].grad_norm2 - mixed.at[2].grad_norm2) < 1e-14);
    assert_true(!flat.at_optimum && flat.mu == 0 && flat.at[4].grad_norm2 < 1e-8 && flat.at[0].grad_norm2 > 1e-4);
    dither_data_free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_points), cmocka_unit_test(test_outputs),
                                       cmocka_unit_test(test_interpolation), cmocka_unit_test(test_scaling), cmocka_unit_test(test_scaling_real),
                                       cmocka_unit_test(test_scaling_forms),
                                       cmocka_unit_test(test_scaling_refused), cmocka_unit_test(test_split)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
