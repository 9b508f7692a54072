/* The asynchronous parameter server: the emulation is the algorithm with the delays that its event queue says, and what
 * its theorem promises holds (Stich, Mohtashami and Jaggi, 2021, arXiv:2103.02351); threads that race get as far. */
#include "theory.h"

#include "philox.h"

/* ---- the emulation, written down again ---- */

enum { D = 5, ROWS = 24, WORKERS = 4, STEPS = 120 };

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

static double duration_of(const char *rule, int worker, int job, double speed)
{
    const double u = (dk_word(0, dk_subsequence(job, (uint32_t)worker, DK_STREAM_DELAY), 0) + 0.5) / 4294967296.0;
    return (!strcmp(rule, "constant") ? 1 : !strcmp(rule, "uniform") ? 0.5 + u : -log(u)) / speed;
}

static void check_emulation(const char *duration, const char *speeds, const double *speed, int adaptive)
{
    const double gamma = 0.02, l2 = 0.1;
    dither_data *data = synthetic(ROWS, D, 1, 0, 11);
    double x[D] = {0}, seen[WORKERS][D] = {{0}}, done[WORKERS];
    int job[WORKERS] = {0}, version[WORKERS] = {0}, longest = 0;
    dither_result *r = train(data, options_of("method=async-sgd estimator=full loss=least-squares workers=%d gamma=%g l2=%g iterations=%d reference=none duration=%s speeds=%s delay-adaptive=%d",
                                              WORKERS, gamma, l2, STEPS, duration, speeds, adaptive), NULL, NULL);
    int64_t *delays = calloc(STEPS, sizeof *delays);
    for (int i = 0; i < WORKERS; i++) done[i] = duration_of(duration, i, 0, speed[i]);
    for (int t = 0; t < STEPS; t++) {
        int i = 0;
        for (int j = 1; j < WORKERS; j++)
            if (done[j] < done[i]) i = j;
        double g[D], step = gamma;
        const int delay = t - version[i];
        worker_gradient(data, i, l2, seen[i], g);
        if (adaptive && delay > 0 && step > 1 / (4 * r->L * delay)) step = 1 / (4 * r->L * delay);
        for (int c = 0; c < D; c++) x[c] -= step * g[c], seen[i][c] = x[c];
        delays[delay]++, longest = delay > longest ? delay : longest;
        version[i] = t + 1;
        done[i] += duration_of(duration, i, ++job[i], speed[i]);
    }
    for (int c = 0; c < D; c++)
        if (!(fabs(r->x[c] - x[c]) <= 1e-12 * (1 + fabs(x[c])))) fail_msg("%s %s: x[%d] = %.17g, not %.17g", duration, speeds, c, r->x[c], x[c]);
    assert_int_equal(r->delay_max, longest);
    for (int d = 0; d <= longest; d++) assert_int_equal(r->delays[d], delays[d]);
    assert_true(r->reproducible);
    free(delays);
    dither_result_free(r);
    dither_data_free(data);
}

static void test_emulation(void **state)
{
    static const double equal[] = {1, 1, 1, 1}, spread[] = {1, 2, 3, 4}, list[] = {5, 0.5, 5, 0.5};
    (void)state;
    check_emulation("constant", "equal", equal, 0);
    check_emulation("uniform", "equal", equal, 0);
    check_emulation("exponential", "equal", equal, 0);
    check_emulation("exponential", "spread:4", spread, 0);
    check_emulation("uniform", "5,0.5", list, 0);
    check_emulation("exponential", "5,0.5", list, 1);
}

/* Equal workers take turns: after the first round every gradient is late by n - 1. One worker is never late. */
static void test_turns(void **state)
{
    dither_data *data = synthetic(60, 6, 1, 1, 4);
    (void)state;
    dither_result *r = train(data, options_of("method=async-sgd workers=6 duration=constant iterations=100 reference=none"), NULL, NULL);
    assert_int_equal(r->delay_max, 5);
    for (int d = 0; d < 5; d++) assert_int_equal(r->delays[d], 1);
    assert_int_equal(r->delays[5], 95);
    dither_result_free(r);
    r = train(data, options_of("method=async-sgd workers=1 estimator=full gamma=0.1 iterations=50 reference=none"), NULL, NULL);
    dither_result *gd = train(data, options_of("method=gd workers=1 gamma=0.1 iterations=50 reference=none"), NULL, NULL);
    assert_int_equal(r->delay_max, 0);
    assert_memory_equal(r->x, gd->x, 6 * sizeof *r->x);
    dither_result_free(r), dither_result_free(gd);
    dither_data_free(data);
}

/* ---- the theorem, for workers with the same rows: with gamma = min(1/(10 L tau), sqrt(F0 / (L sigma^2 T))) the mean of
 *      ||grad f(x_t)||^2 is at most 5 (10 L tau F0 / T + 2 sqrt(L F0 sigma^2 / T)) ---- */

static void test_bound(void **state)
{
    enum { T = 400, SEEDS = 30 };
    static const double labels[] = {5, 3, 9, -1, 4};
    static const char *const more[] = {"workers=2 duration=constant", "workers=8 duration=exponential", "workers=8 speeds=spread:5"};
    const double star = 4, sigma2 = (1 + 1 + 25 + 25 + 0) / 5.0, L = 1, F0 = star * star / 2;
    (void)state;
    for (int i = 0; i < 3; i++) {
        dither_data *data = additive(i ? 8 : 2, 1, labels, 5);
        moments m = {0};
        double bound = INFINITY;
        for (int seed = 0; seed < SEEDS; seed++) {
            moments trace = {0};
            /* the delays do not depend on the step, so tau is known beforehand */
            dither_result *r = train(data, options_of("method=async-sgd loss=least-squares l2=0 gamma=0.001 iterations=%d reference=none seed=%d %s", T - 1, seed, more[i]), NULL, NULL);
            const double tau = (double)r->delay_max, gamma = fmin(1 / (10 * L * tau), sqrt(F0 / (L * sigma2 * T)));
            dither_result_free(r);
            bound = fmin(bound, 5 * (10 * L * tau * F0 / T + 2 * sqrt(L * F0 * sigma2 / T)));
            r = train(data, options_of("method=async-sgd loss=least-squares l2=0 gamma=%.17g iterations=%d trace-every=1 reference=none seed=%d %s", gamma, T - 1, seed, more[i]), collect_squared_gradient, &trace);
            assert_true(trace.n == T && r->delay_max == (int64_t)tau);
            moments_add(&m, trace.mean);
            dither_result_free(r);
        }
        if (!(m.mean + 5 * moments_error(&m) <= bound && m.mean > bound / 1000)) fail_msg("%s: %g, bound %g", more[i], m.mean, bound);
        dither_data_free(data);
    }
}

/* The step by theory is of the longest delay, which is found before the run; it converges, and 4/L does not. */
static void test_theory_step(void **state)
{
    dither_data *data = synthetic(60, 6, 1, 0, 4);
    dither_error error;
    (void)state;
    for (int workers = 3; workers <= 12; workers *= 2) {
        dither_result *r = train(data, options_of("method=async-sgd loss=least-squares estimator=full gamma=theory l2=0.1 workers=%d iterations=20000", workers), NULL, NULL);
        dither_result *gd = train(data, options_of("method=gd codec=dither gamma=theory loss=least-squares l2=0.1 workers=%d iterations=0 reference=none", workers), NULL, NULL);
        const double L_worker = 1 / (gd->gamma * (1 + 2 * gd->omega / workers));
        assert_true(fabs(r->gamma * 10 * L_worker * (double)r->delay_max - 1) < 1e-9);
        dither_result *begin = train(data, options_of("method=gd loss=least-squares l2=0.1 workers=%d iterations=0", workers), NULL, NULL);
        if (!(r->last.gap < 0.1 * begin->last.gap)) fail_msg("%d workers: gap %g after %g", workers, r->last.gap, begin->last.gap);
        const double far = 4 / r->L;
        dither_result_free(begin);
        dither_result_free(r), dither_result_free(gd);
        dither_options *o = options_of("method=async-sgd loss=least-squares estimator=full l2=0.1 workers=%d iterations=3000 gamma=%g", workers, far);
        assert_int_equal(dither_train(data, o, NULL, NULL, &r, &error), DITHER_DIVERGED);
        dither_result_free(r), dither_options_free(o);
    }
    dither_data_free(data);
}

/* ---- memories: the server steps along h + q_i, which is zero at the optimum whoever arrives; without them workers that
 *      differ leave noise, and fast ones count for more ---- */

static void test_memories(void **state)
{
    static const struct {
        const char *options;
        double least, most;
    } rows[] = {{"levels=7", 0, 1e-16}, {"levels=7 speeds=spread:8", 0, 1e-16}, {"levels=7 speeds=spread:8 alpha=0", 1e-5, 10},
                {"levels=7 estimator=saga speeds=spread:3", 0, 1e-14}, {"levels=7 estimator=lsvrg", 0, 1e-14},
                {"codec=randk keep=4 gamma=0.01", 0, 1e-14}};
    dither_data *data = synthetic(120, 8, 1, 1, 9);
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        dither_result *r = train(data, options_of("method=async-sgd codec=dither estimator=full workers=6 l2=0.2 iterations=40000 target-gap=1e-17 %s", rows[i].options), NULL, NULL);
        if (!(r->last.gap >= rows[i].least && r->last.gap <= rows[i].most)) fail_msg("%s: gap %g", rows[i].options, r->last.gap);
        dither_result_free(r);
    }
    dither_data_free(data);
}

/* ---- threads that race: other bits each time, the same distance ---- */

static void test_real(void **state)
{
    static const char *const rows[] = {"", "codec=dither levels=7 estimator=saga", "codec=randk keep=30 precision=f32", "codec=dither wire=rans workers=2"};
    dither_data *all = bundled("mushrooms", 112), *data = thin(all, 4);
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        dither_result *emulated = train(data, options_of("method=async-sgd workers=4 l2=0.02 epochs=20 %s", rows[i]), NULL, NULL);
        dither_result *real = train(data, options_of("method=async-sgd asynchrony=real workers=4 l2=0.02 epochs=20 %s", rows[i]), NULL, NULL);
        int64_t total = 0;
        for (int64_t d = 0; d < real->delay_counts; d++) total += real->delays[d];
        assert_int_equal(total, real->iterations);
        assert_false(real->reproducible);
        assert_true(real->delay_max <= (real->workers - 1) * 17); /* 2 S + 1 of each other worker */
        if (!(real->last.gap <= 5 * emulated->last.gap + 1e-3)) fail_msg("%s: gap %g, emulated %g", rows[i], real->last.gap, emulated->last.gap);
        dither_result_free(emulated), dither_result_free(real);
    }
    dither_data_free(all), dither_data_free(data);
}

static void test_refused(void **state)
{
    dither_data *data = synthetic(40, 3, 1, 1, 1);
    (void)state;
    check_fails(data, options_of("iterations=1 reference=none method=async-sgd aggregate=allreduce codec=dither"), DITHER_USAGE, "allgather");
    check_fails(data, options_of("iterations=1 reference=none method=async-sgd asynchrony=real average=uniform"), DITHER_USAGE, "--average");
    check_fails(data, options_of("iterations=1 reference=none method=gd speeds=1,2"), DITHER_USAGE, "--speeds is of --method async-sgd");
    static const char *const bad[] = {"fast", "1,", "0", "-1,2", "spread:", "spread:0", "nan"};
    dither_options *o = options_of(" ");
    dither_error error;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_int_equal(dither_options_set(o, "speeds", bad[i], &error), DITHER_USAGE);
    dither_options_free(o);
    dither_data_free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_emulation), cmocka_unit_test(test_turns), cmocka_unit_test(test_bound), cmocka_unit_test(test_theory_step),
        cmocka_unit_test(test_memories), cmocka_unit_test(test_real), cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
