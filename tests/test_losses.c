/* Every loss of one output by itself, and problems that are not convex. tests/test_solve.c holds the convex losses to
 * formulas in long double; what is here needs no formula, so a new file in kernels/models/ is tested by being there. */
#include "theory.h"

#include "losses.h"
#include "problem.h"
#include "solve/objective.h"

#define X(name) {name##_CLASSES, name##_SMOOTHNESS, name##_STRONG},
static const struct {
    int classes;
    double smoothness, strong;
} losses[] = {DITHER_MODELS(X)};
#undef X

static double label_of(int loss, uint64_t *seed)
{
    return losses[loss].classes ? (random_uniform(seed) < 0.5 ? -1 : 1) : random_normal(seed);
}

/* Slope and curvature by central differences of fourth order. */
static void test_differences(void **state)
{
    (void)state;
    for (int loss = 0; loss < DK_LOSS_ONE_COUNT; loss++) {
        uint64_t seed = (uint64_t)loss + 1;
        for (int i = 0; i < 2000; i++) {
            const double y = label_of(loss, &seed), z = 6 * random_normal(&seed), h = 1e-3;
            double value[5], slope[5];
            for (int k = 0; k < 5; k++) {
                value[k] = dk_loss_value(loss, z + (k - 2) * h, y);
                slope[k] = dk_loss_slope(loss, z + (k - 2) * h, y);
            }
            const double s = (8 * (value[3] - value[1]) - (value[4] - value[0])) / (12 * h);
            const double c = (8 * (slope[3] - slope[1]) - (slope[4] - slope[0])) / (12 * h);
            const int kink = loss == DK_LOSS_smooth_hinge && (fabs(y * z) < 3 * h || fabs(y * z - 1) < 3 * h);
            const double size = 1 + fabs(value[2]);
            if (kink) continue;
            if (!(fabs(s - slope[2]) <= 1e-11 * size))
                fail_msg("%s: slope %g at %g, differences say %g", dither_loss_name(loss), slope[2], z, s);
            if (!(fabs(c - dk_loss_curvature(loss, z, y)) <= 1e-11 * size))
                fail_msg("%s: curvature %g at %g, differences say %g", dither_loss_name(loss), dk_loss_curvature(loss, z, y), z, c);
        }
    }
}

/* Step sizes are made of SMOOTHNESS and STRONG: both hold, and neither can be improved by 1 %. */
static void test_bounds(void **state)
{
    (void)state;
    for (int loss = 0; loss < DK_LOSS_ONE_COUNT; loss++) {
        double least = INFINITY, largest = -INFINITY;
        for (int i = -200000; i <= 200000; i++) {
            const double c = dk_loss_curvature(loss, i * 1e-4, 1);
            least = fmin(least, c), largest = fmax(largest, c);
        }
        const double smoothness = losses[loss].smoothness, strong = losses[loss].strong;
        if (!(largest <= smoothness && largest >= 0.99 * smoothness && smoothness >= -least))
            fail_msg("%s: curvature up to %.17g, SMOOTHNESS %.17g", dither_loss_name(loss), largest, smoothness);
        if (!(least >= strong && least <= strong + 0.01 * smoothness))
            fail_msg("%s: curvature from %.17g, STRONG %.17g", dither_loss_name(loss), least, strong);
    }
}

/* The divergence is the integral of (slope(z + t) - slope(z)): by Simpson's rule on pieces, relative to the integral of
 * the absolute values. Small steps too, where a difference of two losses would be noise. */
static void test_divergence(void **state)
{
    (void)state;
    for (int loss = 0; loss < DK_LOSS_ONE_COUNT; loss++) {
        uint64_t seed = (uint64_t)loss + 50;
        for (int i = 0; i < 4000; i++) {
            enum { PIECES = 64 };
            const double y = label_of(loss, &seed), z = 4 * random_normal(&seed);
            const double h = (random_uniform(&seed) < 0.5 ? -1 : 1) * pow(10, -5 + 5.5 * random_uniform(&seed));
            if (loss == DK_LOSS_smooth_hinge) continue; /* corners: tests/test_solve.c */
            double sum = 0, size = 0;
            for (int k = 0; k < PIECES; k++) { /* integral of (h - t) phi''(z + t), which cancels nothing */
                const double a = k * h / PIECES, b = (k + 1) * h / PIECES, m = (a + b) / 2;
                const double f[3] = {(h - a) * dk_loss_curvature(loss, z + a, y), (h - m) * dk_loss_curvature(loss, z + m, y),
                                     (h - b) * dk_loss_curvature(loss, z + b, y)};
                sum += (b - a) / 6 * (f[0] + 4 * f[1] + f[2]);
                size += fabs(b - a) / 6 * (fabs(f[0]) + 4 * fabs(f[1]) + fabs(f[2]));
            }
            const double value = dk_loss_bregman(loss, z, h, y);
            if (!(fabs(value - sum) <= 2e-7 * size))
                fail_msg("%s: divergence %.12g at %g + %g, the integral is %.12g", dither_loss_name(loss), value, z, h, sum);
        }
    }
}

/* ---- whole problems ---- */

enum { D = 6, ROWS = 72, WORKERS = 5 };

/* P(x), written down apart from the library but for phi. */
static double objective(const dither_data *data, int loss, double l2, double lam, const double *x)
{
    double sum = 0, rest = 0;
    for (int64_t r = 0; r < data->rows; r++) {
        double z = 0;
        for (int64_t k = data->row_start[r]; k < data->row_start[r + 1]; k++) z += data->value[k] * x[data->column[k]];
        sum += dk_loss_value(loss, z, data->label[r]);
    }
    for (int64_t c = 0; c < data->features; c++) rest += l2 / 2 * x[c] * x[c] + lam * x[c] * x[c] / (1 + x[c] * x[c]);
    return sum / (double)data->rows + rest;
}

/* x_(k+1) = x_k - gamma g: what gd steps along, and what the trace reports, is the gradient of the objective. */
static void test_problem_gradient(void **state)
{
    static const double lams[] = {0, 0.03};
    (void)state;
    for (int loss = 0; loss < DK_LOSS_ONE_COUNT; loss++)
        for (int i = 0; i < 2; i++) {
            const double l2 = 0.02, lam = lams[i], gamma = 0.1;
            dither_data *data = synthetic(ROWS, D, 0.8, losses[loss].classes, 7);
            dither_result *r[2];
            double norm2 = 0, x[D];
            for (int k = 0; k < 2; k++)
                r[k] = train(data, options_of("method=gd loss=%s l2=%g nonconvex=%g gamma=%g workers=%d iterations=%d reference=none",
                                              dither_loss_name(loss), l2, lam, gamma, WORKERS, 9 + k), NULL, NULL);
            const double value = objective(data, loss, l2, lam, r[0]->x);
            assert_true(fabs(r[0]->last.loss - value) <= 1e-13 * value);
            for (int c = 0; c < D; c++) {
                const double h = 1e-4;
                double side[5];
                for (int k = 0; k < 5; k++) {
                    memcpy(x, r[0]->x, sizeof x);
                    x[c] += (k - 2) * h;
                    side[k] = objective(data, loss, l2, lam, x);
                }
                const double g = (8 * (side[3] - side[1]) - (side[4] - side[0])) / (12 * h);
                const double stepped = (r[0]->x[c] - r[1]->x[c]) / gamma;
                if (!(fabs(g - stepped) <= 1e-9)) fail_msg("%s: a step along %g, the gradient is %g", dither_loss_name(loss), stepped, g);
                norm2 += g * g;
            }
            assert_true(fabs(r[0]->last.grad_norm - sqrt(norm2)) <= 1e-8);
            assert_int_equal(r[0]->convex, lam == 0 && losses[loss].strong >= 0);
            dither_result_free(r[0]), dither_result_free(r[1]);
            dither_data_free(data);
        }
}

/* ---- not convex ---- */

/* L of the terms adds up. */
static void test_smoothness(void **state)
{
    dither_data *data = synthetic(ROWS, D, 0.8, 1, 7);
    dither_result *a = train(data, options_of("l2=0.01 iterations=0 reference=none"), NULL, NULL);
    dither_result *b = train(data, options_of("l2=0.01 nonconvex=0.25 iterations=0"), NULL, NULL);
    (void)state;
    assert_true(fabs(b->L_max - a->L_max - 0.5) < 1e-14 && fabs(b->L - a->L - 0.5) < 1e-14);
    assert_true(a->mu == 0.01 && b->mu == 0);
    dither_result_free(a), dither_result_free(b);
    dither_data_free(data);
}

/* Stationary points, to far below where quantization or sampling without a memory would leave the gradient; with the
 * curvature that a convex problem does not have on the way. */
static void test_stationary(void **state)
{
    static const char *const problems[] = {"loss=logistic l2=0 nonconvex=0.1", "loss=sigmoid l2=0.001", "loss=sigmoid l2=0 nonconvex=0.01"};
    static const char *const methods[] = {"method=gd", "method=vr-diana", "method=vr-diana estimator=saga levels=3"};
    (void)state;
    for (size_t p = 0; p < 3; p++)
        for (size_t m = 0; m < 3; m++) {
            dither_data *data = synthetic(60, 5, 0.8, 1, 21);
            dither_result *r = train(data, options_of("%s %s workers=4 target-grad=1e-10 epochs=200000", problems[p], methods[m]),
                                     NULL, NULL);
            assert_string_equal(r->stop, "target-grad");
            assert_true(r->last.grad_norm <= 1e-10 && isnan(r->last.gap) && isnan(r->last.dist2) && isnan(r->fstar));
            assert_true(r->last.loss < objective(data, dither_loss_find(r->loss), 0, 0, (double[5]){0}));
            dither_result_free(r);
            dither_data_free(data);
        }
}

static void test_stops(void **state)
{
    dither_data *data = synthetic(60, 5, 0.8, 1, 21);
    dither_options *options = options_of("nonconvex=0.1");
    dither_optimum *optimum = NULL;
    dither_error error;
    (void)state;
    check_fails(data, options_of("nonconvex=0.1 target-gap=1e-3"), DITHER_USAGE, "--target-grad");
    check_fails(data, options_of("loss=sigmoid target-gap=1e-3 reference=none"), DITHER_USAGE, "not convex");
    assert_int_equal(dither_optimum_find(data, options, &optimum, &error), DITHER_USAGE);
    assert_non_null(strstr(error.message, "not convex"));
    dither_result *r = train(data, options, NULL, NULL); /* no stop given */
    assert_string_equal(r->stop, "target-grad");
    assert_true(r->last.grad_norm <= 1e-6);
    dither_result_free(r);
    r = train(data, options_of("l2=0.1 target-grad=1e-4"), NULL, NULL); /* on a convex problem */
    assert_string_equal(r->stop, "target-grad");
    assert_true(r->last.grad_norm <= 1e-4 && r->last.gap > 1e-12);
    dither_result_free(r);
    dither_data_free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_differences), cmocka_unit_test(test_bounds),     cmocka_unit_test(test_divergence),
        cmocka_unit_test(test_problem_gradient), cmocka_unit_test(test_smoothness), cmocka_unit_test(test_stationary),
        cmocka_unit_test(test_stops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
