/* SGD with delayed gradients: the recursion itself, the exact edge of its stability on a quadratic, and the bound of its
 * theorem (Stich and Karimireddy, 2020, arXiv:1909.05350; the explicit constants are those of the proof). */
#include "theory.h"

#include "philox.h"

/* ---- the recursion, written down again ---- */

enum { D = 5, ROWS = 24, WORKERS = 3, STEPS = 50 };

/* out = grad f_i(x) for least squares, f_i over the worker's ROWS / WORKERS rows */
static void worker_gradient(const dither_data *data, int i, double l2, const double *x, double *out)
{
    const int m = ROWS / WORKERS;
    for (int c = 0; c < D; c++) out[c] = l2 * x[c];
    for (int r = i * m; r < (i + 1) * m; r++) {
        double z = -data->label[r];
        for (int64_t e = data->row_start[r]; e < data->row_start[r + 1]; e++) z += data->value[e] * x[data->column[e]];
        for (int64_t e = data->row_start[r]; e < data->row_start[r + 1]; e++) out[data->column[e]] += z * data->value[e] / m;
    }
}

/* The delay of worker i in iteration k, as docs/asynchrony.md says. */
static int delay_of(int rule, int most, double share, int k, int i)
{
    const uint32_t word = dk_word(0, dk_subsequence(k, (uint32_t)i, DK_STREAM_DELAY), 0);
    const int delay = rule == 0 ? most : rule == 1 ? (int)((uint64_t)word * (uint64_t)(most + 1) >> 32) : word < share * 4294967296.0 ? most : 0;
    return delay < k ? delay : k;
}

static void check_recursion(const char *options, int rule, int most, double share, int adaptive)
{
    const double gamma = 0.02, l2 = 0.1;
    dither_data *data = synthetic(ROWS, D, 1, 0, 11);
    double x[STEPS + 1][D] = {{0}}, sum = 0;
    dither_result *r = train(data, options_of("method=delayed-sgd estimator=full loss=least-squares workers=%d gamma=%g l2=%g iterations=%d reference=none %s",
                                              WORKERS, gamma, l2, STEPS, options), NULL, NULL);
    int longest = 0;
    for (int k = 0; k < STEPS; k++) {
        double mean[D] = {0}, step = gamma;
        int round = 0;
        for (int i = 0; i < WORKERS; i++) {
            const int delay = delay_of(rule, most, share, k, i);
            double g[D];
            worker_gradient(data, i, l2, x[k - delay], g);
            for (int c = 0; c < D; c++) mean[c] += g[c] / WORKERS;
            round = delay > round ? delay : round, sum += delay;
        }
        longest = round > longest ? round : longest;
        if (adaptive && round > 0 && step > 1 / (4 * r->L * round)) step = 1 / (4 * r->L * round);
        for (int c = 0; c < D; c++) x[k + 1][c] = x[k][c] - step * mean[c];
    }
    for (int c = 0; c < D; c++)
        if (!(fabs(r->x[c] - x[STEPS][c]) <= 1e-12 * (1 + fabs(x[STEPS][c]))))
            fail_msg("%s: x[%d] = %.17g, not %.17g", options, c, r->x[c], x[STEPS][c]);
    int64_t total = 0;
    for (int64_t d = 0; d < r->delay_counts; d++) total += r->delays[d];
    assert_int_equal(total, STEPS * WORKERS);
    assert_int_equal(r->delay_max, longest);
    assert_true(fabs(r->delay_mean - sum / (STEPS * WORKERS)) < 1e-12);
    dither_result_free(r);
    dither_data_free(data);
}

static void test_recursion(void **state)
{
    (void)state;
    check_recursion("delay=fixed:0", 0, 0, 0, 0);
    check_recursion("delay=fixed:1", 0, 1, 0, 0);
    check_recursion("delay=fixed:7", 0, 7, 0, 0);
    check_recursion("delay=uniform:6", 1, 6, 0, 0);
    check_recursion("delay=straggler:20,0.25", 2, 20, 0.25, 0);
    check_recursion("delay=uniform:9 delay-adaptive=1", 1, 9, 0, 1);
    check_recursion("delay=straggler:20,0.25 delay-adaptive=1", 2, 20, 0.25, 1);
}

/* ---- the edge: x+ = x - gamma L x_{-tau} decays exactly for gamma L < 2 sin(pi / (2 (2 tau + 1))) ---- */

static void test_edge(void **state)
{
    static const int delays[] = {0, 1, 2, 4, 8};
    dither_data *data = synthetic(30, 4, 1, 0, 2);
    (void)state;
    dither_result *facts = train(data, options_of("method=gd loss=least-squares workers=3 l2=0.01 iterations=0 reference=none"), NULL, NULL);
    const double L = facts->L;
    dither_result_free(facts);
    for (int i = 0; i < 5; i++)
        for (int above = 0; above < 2; above++) {
            const double edge = 2 * sin(acos(-1) / (2 * (2 * delays[i] + 1))) / L;
            dither_options *o = options_of("method=delayed-sgd estimator=full loss=least-squares workers=3 l2=0.01 delay=fixed:%d gamma=%.17g iterations=8000 trace-every=8000",
                                           delays[i], edge * (above ? 1.01 : 0.99));
            dither_result *r = NULL;
            dither_error error;
            const dither_status status = dither_train(data, o, NULL, NULL, &r, &error);
            if (status != (above ? DITHER_DIVERGED : DITHER_OK) || (!above && !(r->last.dist2 < 1e-6)))
                fail_msg("tau = %d, gamma %s the edge: status %d, ||x - x*||^2 = %g", delays[i], above ? "above" : "below", status, r->last.dist2);
            dither_result_free(r);
            dither_options_free(o);
        }
    dither_data_free(data);
}

/* ---- the theorem: the mean of ||grad f(x_t)||^2 over t < T is at most 5 (10 L tau F0 / T + 2 sqrt(L F0 sigma^2 / T))
 *      with gamma = min(1/(10 L tau), sqrt(F0 / (L sigma^2 T))); here M = 0 ---- */

static void test_bound(void **state)
{
    enum { T = 200, P = 2 };
    static const double labels[] = {5, 3, 9, -1, 4};
    static const char *const rules[] = {"fixed", "uniform"};
    const double star = 4, variance = (1 + 1 + 25 + 25 + 0) / 5.0, L = 1, F0 = star * star / 2, sigma2 = variance / P;
    dither_data *data = additive(P, 1, labels, 5);
    (void)state;
    for (int tau = 1; tau <= 16; tau *= 4)
        for (int rule = 0; rule < 2; rule++) {
            const double most = 1 / (10 * L * tau), gamma = fmin(most, sqrt(F0 / (L * sigma2 * T)));
            const double bound = 5 * (10 * L * tau * F0 / T + 2 * sqrt(L * F0 * sigma2 / T));
            moments m = {0};
            for (int seed = 0; seed < 40; seed++) {
                moments trace = {0};
                dither_result *r = train(data, options_of("method=delayed-sgd loss=least-squares l2=0 workers=%d delay=%s:%d gamma=%.17g iterations=%d trace-every=1 reference=none seed=%d",
                                                          P, rules[rule], tau, gamma, T - 1, seed), collect_squared_gradient, &trace);
                assert_true(trace.n == T);
                moments_add(&m, trace.mean);
                dither_result_free(r);
            }
            /* what a step of gamma cannot beat: the decay of F0, and the noise */
            if (!(m.mean + 5 * moments_error(&m) <= bound && m.mean > bound / 1000)) fail_msg("tau %d, %s: %g, bound %g", tau, rules[rule], m.mean, bound);
        }
    dither_data_free(data);
}

/* --gamma theory is the theorem's step, and it and the default one converge on real data, compressed too. */
static void test_steps(void **state)
{
    static const char *const rows[] = {"gamma=theory delay=fixed:4", "delay=uniform:8", "delay=fixed:3 codec=dither", "delay=straggler:40,0.02 delay-adaptive=1",
                                       "delay=uniform:4 codec=dither estimator=saga", "delay=uniform:4 codec=natural precision=f32"};
    dither_data *all = bundled("mushrooms", 112), *data = thin(all, 4);
    (void)state;
    dither_result *r = train(data, options_of("method=delayed-sgd estimator=full gamma=theory delay=fixed:6 iterations=0 reference=none"), NULL, NULL);
    assert_true(fabs(r->gamma * 60 * r->L - 1) < 1e-12);
    dither_result_free(r);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        r = train(data, options_of("method=delayed-sgd l2=0.05 epochs=150 %s", rows[i]), NULL, NULL);
        if (!(r->last.gap < 1e-2)) fail_msg("%s: gap %g", rows[i], r->last.gap);
        dither_result_free(r);
    }
    /* without noise of samples, delays and quantization leave no plateau */
    r = train(data, options_of("method=delayed-sgd estimator=full codec=dither delay=uniform:5 workers=4 l2=0.5 iterations=4000"), NULL, NULL);
    if (!(r->last.gap < 1e-16)) fail_msg("full gradients: gap %g", r->last.gap);
    dither_result_free(r);
    dither_data_free(all), dither_data_free(data);
}

static void test_refused(void **state)
{
    static const char *const bad[] = {"fixed", "fixed:", "fixed:-1", "uniform:2,3", "straggler:3", "straggler:3,2", "straggler:3,", "late:3"};
    dither_options *o = options_of(" ");
    dither_error error;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(dither_options_set(o, "delay", bad[i], &error), DITHER_USAGE);
        assert_non_null(strstr(error.message, "fixed:T, uniform:T or straggler:T,P"));
    }
    dither_options_free(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recursion), cmocka_unit_test(test_edge), cmocka_unit_test(test_bound),
        cmocka_unit_test(test_steps), cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
