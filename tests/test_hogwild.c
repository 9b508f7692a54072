/* HogWild!: the emulation is the algorithm with the stale reads that it says, its edge of stability is that of a delayed
 * recursion, and threads that race get as far as one alone (Recht et al., 2011, arXiv:1106.5730). */
#include "theory.h"

#include "philox.h"

/* ---- the emulation, written down again ---- */

enum { D = 12, ROWS = 40, STEPS = 300 };

static int delay_of(const char *rule, int most, int t, int c)
{
    const uint32_t word = dk_word(0, dk_subsequence(t, 0, DK_STREAM_DELAY), (uint64_t)c);
    const int delay = *rule == 'f' ? most : *rule == 'u' ? (int)((uint64_t)word * (uint64_t)(most + 1) >> 32) : word < 0.2 * 4294967296.0 ? most : 0;
    return delay < t ? delay : t;
}

static void check_emulation(const char *delay, int most)
{
    const double gamma = 0.05, l2 = 0.01;
    dither_data *data = synthetic(ROWS, D, 0.4, 0, 8);
    static double x[STEPS + 1][D];
    double share[D] = {0};
    memset(x, 0, sizeof x);
    for (int64_t e = 0; e < data->nonzeros; e++) share[data->column[e]] += 1.0 / ROWS;
    for (int t = 0; t < STEPS; t++) {
        const int64_t r = (int64_t)((uint64_t)dk_word(0, dk_subsequence(t, 0, DK_STREAM_SAMPLE), 0) * ROWS >> 32);
        double z = -data->label[r], seen[D];
        memcpy(x[t + 1], x[t], sizeof *x);
        for (int c = 0; c < D; c++) seen[c] = x[t - delay_of(delay, most, t, c)][c];
        for (int64_t e = data->row_start[r]; e < data->row_start[r + 1]; e++) z += data->value[e] * seen[data->column[e]];
        for (int64_t e = data->row_start[r]; e < data->row_start[r + 1]; e++) {
            const int c = data->column[e];
            x[t + 1][c] -= gamma * (z * data->value[e] + l2 / share[c] * seen[c]);
        }
    }
    dither_result *r = train(data, options_of("method=hogwild asynchrony=emulated loss=least-squares delay=%s gamma=%g l2=%g iterations=%d reference=none trace-every=70",
                                              delay, gamma, l2, STEPS), NULL, NULL);
    assert_int_equal(r->iterations, STEPS);
    assert_true(r->reproducible);
    for (int c = 0; c < D; c++)
        if (!(fabs(r->x[c] - x[STEPS][c]) <= 1e-11 * (1 + fabs(x[STEPS][c])))) fail_msg("%s: x[%d] = %.17g, not %.17g", delay, c, r->x[c], x[STEPS][c]);
    dither_result_free(r);
    dither_data_free(data);
}

static void test_emulation(void **state)
{
    (void)state;
    check_emulation("fixed:0", 0);
    check_emulation("fixed:5", 5);
    check_emulation("uniform:7", 7);
    check_emulation("straggler:30,0.2", 30);
}

/* One thread is no race, and sees everything that was written. */
static void test_alone(void **state)
{
    static const char *const more[] = {"", "precision=f32", "plain-stores=1"};
    dither_data *data = synthetic(ROWS, D, 0.4, 1, 8);
    (void)state;
    dither_result *emulated = train(data, options_of("method=hogwild asynchrony=emulated delay=fixed:0 gamma=0.1 iterations=1000 reference=none"), NULL, NULL);
    for (int i = 0; i < 3; i++) {
        dither_result *alone = train(data, options_of("method=hogwild workers=1 gamma=0.1 iterations=1000 reference=none %s", more[i]), NULL, NULL);
        assert_true(alone->reproducible);
        for (int c = 0; c < D; c++) assert_true(fabs(alone->x[c] - emulated->x[c]) <= (i == 1 ? 1e-4 : 0));
        dither_result_free(alone);
    }
    dither_result_free(emulated);
    dither_data_free(data);
}

/* One row in one dimension: x+ = x - gamma L (x_{-tau} - x*), which decays for gamma L < 2 sin(pi / (2 (2 tau + 1))). */
static void test_edge(void **state)
{
    static const double label[] = {1};
    static const int delays[] = {0, 1, 2, 4, 8};
    dither_data *data = additive(1, 1, label, 1);
    const double L = 1 + 0.25;
    (void)state;
    for (int i = 0; i < 5; i++)
        for (int above = 0; above < 2; above++) {
            const double edge = 2 * sin(acos(-1) / (2 * (2 * delays[i] + 1))) / L;
            dither_options *o = options_of("method=hogwild asynchrony=emulated workers=1 loss=least-squares l2=0.25 delay=fixed:%d gamma=%.17g iterations=16000 trace-every=16000",
                                           delays[i], edge * (above ? 1.01 : 0.99));
            dither_result *r = NULL;
            dither_error error;
            const dither_status status = dither_train(data, o, NULL, NULL, &r, &error);
            if (status != (above ? DITHER_DIVERGED : DITHER_OK) || (!above && !(r->last.dist2 < 1e-6)))
                fail_msg("tau = %d, gamma %s the edge: status %d", delays[i], above ? "above" : "below", status);
            dither_result_free(r);
            dither_options_free(o);
        }
    dither_data_free(data);
}

/* ---- racing threads: the gap after as many passes is within a factor of 2 of a serial run's, in the mean of the last
 *      passes, since it hovers at the noise of the samples ---- */

static int collect(void *user, const dither_point *point)
{
    moments *m = user;
    if (point->epochs >= 20) moments_add(m, point->gap);
    return 0;
}

static double plateau(const dither_data *data, const char *options)
{
    moments m = {0};
    dither_result_free(train(data, options_of("l2=0.002 gamma=0.02 epochs=60 trace-every=%lld %s", (long long)data->rows, options), collect, &m));
    assert_true(m.n >= 30);
    return m.mean;
}

static void test_racing(void **state)
{
    static const char *const races[] = {"workers=2", "workers=4", "workers=8 precision=f32", "workers=4 plain-stores=1", "asynchrony=emulated delay=uniform:8"};
    dither_data *all = bundled("a5a", 123), *data = thin(all, 4);
    (void)state;
    const double serial = plateau(data, "method=sgd workers=1"), alone = plateau(data, "method=hogwild workers=1");
    assert_true(alone < 2 * serial && serial < 2 * alone);
    for (size_t i = 0; i < sizeof races / sizeof *races; i++) {
        char options[128];
        snprintf(options, sizeof options, "method=hogwild %s", races[i]);
        const double gap = plateau(data, options);
        if (!(gap < 2 * serial && serial < 2 * gap)) fail_msg("%s: gap %g, serial %g", races[i], gap, serial);
    }
    dither_result *r = train(data, options_of("method=hogwild workers=2 iterations=5000 reference=none"), NULL, NULL);
    assert_false(r->reproducible);
    assert_int_equal(r->iterations, 5000);
    assert_true(r->last.uplink_bits == 0);
    dither_result_free(r);
    dither_data_free(all), dither_data_free(data);
}

static void test_refused(void **state)
{
    dither_data *data = synthetic(40, 3, 1, 1, 1);
    (void)state;
    check_fails(data, options_of("method=hogwild iterations=1 reference=none codec=dither"), DITHER_USAGE, "--codec");
    check_fails(data, options_of("method=hogwild iterations=1 reference=none estimator=saga"), DITHER_USAGE, "--estimator");
    check_fails(data, options_of("method=hogwild iterations=1 reference=none batch=2"), DITHER_USAGE, "--batch");
    check_fails(data, options_of("method=hogwild iterations=1 reference=none prox=l1:1"), DITHER_USAGE, "--prox");
    check_fails(data, options_of("method=hogwild iterations=1 reference=none gamma-schedule=sqrt"), DITHER_USAGE, "--gamma-schedule");
    check_fails(data, options_of("method=hogwild iterations=1 reference=none average=uniform"), DITHER_USAGE, "--average");
    check_fails(data, options_of("method=hogwild iterations=1 reference=none stepper=adam"), DITHER_USAGE, "--stepper");
    check_fails(data, options_of("method=hogwild iterations=1 reference=none nonconvex=0.1"), DITHER_USAGE, "--nonconvex");
    check_fails(data, options_of("method=hogwild iterations=1 reference=none loss=softmax"), DITHER_USAGE, "--loss");
    check_fails(data, options_of("method=hogwild iterations=1 reference=none delay=uniform:3"), DITHER_USAGE, "--delay");
    check_fails(data, options_of("method=hogwild iterations=1 reference=none asynchrony=emulated plain-stores=1"), DITHER_USAGE, "--plain-stores");
    dither_data_free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_emulation), cmocka_unit_test(test_alone), cmocka_unit_test(test_edge), cmocka_unit_test(test_racing),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
