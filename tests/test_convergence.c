/* Whole runs through the public interface, against what the theorems promise: linear convergence to the optimum for
 * VR-DIANA with every estimator, loss and regulariser, at least at the predicted rate; plateaus for the methods that
 * must have them, as high as they may be and half as high with half the step; and the axes of a trace. */
#include "theory.h"

#include "comm/comm.h"
#include "philox.h"
#include "plan.h"

/* ---- the trace of a run ---- */

enum { POINTS = 40000 };

typedef struct trace {
    int count;
    dither_point at[POINTS];
} trace;

static int record(void *user, const dither_point *point)
{
    trace *t = user;
    if (t->count < POINTS) t->at[t->count++] = *point;
    return 0;
}

static trace *traced(const dither_data *data, dither_options *options, dither_result **result)
{
    trace *t = calloc(1, sizeof *t);
    *result = train(data, options, record, t);
    assert_true(t->count > 0 && t->count < POINTS);
    return t;
}

static dither_optimum *optimum_of(const dither_data *data, dither_options *options)
{
    dither_optimum *out;
    dither_error error;
    if (dither_optimum_find(data, options, &out, &error) != DITHER_OK) fail_msg("%s", error.message);
    dither_options_free(options);
    return out;
}

/* Mean of dist2 over the points whose iteration is in [from, to) */
static double mean_dist2(const trace *t, int64_t from, int64_t to)
{
    moments m = {0};
    for (int i = 0; i < t->count; i++)
        if (t->at[i].iteration >= from && t->at[i].iteration < to) moments_add(&m, t->at[i].dist2);
    assert_true(m.n > 100);
    return m.mean;
}

/* ---- what the theorems are stated in, from dense rows (logistic loss, equal shards) ---- */

typedef struct facts {
    int n, m, d;
    double omega, alpha, gamma, L, mu;
    double start;      /* ||x_0 - x*||^2, x_0 = 0 */
    double shift;      /* mean_i ||h*_i||^2 */
    double noise;      /* mean_i of the variance at x* of one row's gradient */
    double table;      /* sum_i (1/m) sum_j ||grad f_ij(0) - grad f_ij(x*)||^2 */
} facts;

/* Gradient of row j at x into g. */
static void row_gradient(const dither_data *data, int64_t j, double l2, const double *x, double *g)
{
    double z = 0;
    for (int64_t e = data->row_start[j]; e < data->row_start[j + 1]; e++) z += data->value[e] * x[data->column[e]];
    const double slope = -data->label[j] / (1 + exp(data->label[j] * z));
    for (int64_t c = 0; c < data->features; c++) g[c] = l2 * x[c];
    for (int64_t e = data->row_start[j]; e < data->row_start[j + 1]; e++) g[data->column[e]] += slope * data->value[e];
}

static facts facts_of(const dither_data *data, const dither_result *r, const dither_optimum *optimum, double l2)
{
    enum { D_MAX = 64 };
    const int n = (int)r->workers, m = (int)(data->rows / n), d = (int)data->features;
    const double zero[D_MAX] = {0};
    facts f = {.n = n, .m = m, .d = d, .omega = r->omega, .alpha = r->alpha, .gamma = r->gamma, .L = r->L_max, .mu = r->mu};
    assert_true(d <= D_MAX && (int64_t)n * m == data->rows);
    for (int c = 0; c < d; c++) f.start += optimum->x[c] * optimum->x[c];
    for (int i = 0; i < n; i++) {
        double mean[D_MAX] = {0}, second = 0;
        for (int j = 0; j < m; j++) {
            double g[D_MAX], g0[D_MAX];
            row_gradient(data, i * m + j, l2, optimum->x, g);
            row_gradient(data, i * m + j, l2, zero, g0);
            for (int c = 0; c < d; c++) {
                mean[c] += g[c] / m, second += g[c] * g[c] / m;
                f.table += (g0[c] - g[c]) * (g0[c] - g[c]) / m;
            }
        }
        double mean2 = 0;
        for (int c = 0; c < d; c++) mean2 += mean[c] * mean[c];
        f.shift += mean2 / n, f.noise += (second - mean2) / n;
    }
    return f;
}

/* ---- the optimum ---- */

/* tests/reference.csv: file,rows,features,l2,fstar,norm_xstar,L_max,L_global, by another program */
static void test_reference(void **state)
{
    FILE *file = fopen(DITHER_TESTS_DIR "/reference.csv", "r");
    char line[256], name[64];
    int checked = 0;
    (void)state;
    assert_non_null(file);
    while (fgets(line, sizeof line, file)) {
        double rows, features, l2, fstar, norm, L_max, L, mine = 0;
        if (sscanf(line, "%63[^,],%lf,%lf,%lf,%lf,%lf,%lf,%lf", name, &rows, &features, &l2, &fstar, &norm, &L_max, &L) != 8) continue;
        if (strcmp(name, "mushrooms") && strcmp(name, "a5a")) continue;
        dither_data *data = bundled(name, (int)features);
        assert_true(dither_data_rows(data) == (int64_t)rows && dither_data_features(data) == (int64_t)features);
        dither_optimum *o = optimum_of(data, options_of("l2=%.17g", l2));
        for (int64_t c = 0; c < o->features; c++) mine += o->x[c] * o->x[c];
        if (!(fabs(o->fstar - fstar) < 1e-14)) fail_msg("%s, l2 = %g: f* = %.17g, not %.17g", name, l2, o->fstar, fstar);
        assert_true(fabs(sqrt(mine) - norm) < 1e-9 * norm);
        assert_true(fabs(o->L_max - L_max) < 1e-9 * L_max && o->L >= L * (1 - 1e-9) && o->L <= 1.01 * L);
        assert_true(o->mu == l2 && o->certificate < 1e-15);
        dither_optimum_free(o);
        dither_data_free(data);
        checked++;
    }
    fclose(file);
    assert_true(checked >= 5);
}

/* ---- linear convergence on real data ---- */

static const char *const losses[] = {"logistic", "least-squares", "smooth-hinge"};
static const char *const estimators[] = {"lsvrg", "saga"};

/* Every coordinate that is zero at the optimum is exactly zero, and no other. */
static void check_support(const char *name, const dither_result *r, const dither_optimum *o)
{
    int zeros = 0;
    for (int64_t c = 0; c < r->features; c++) {
        zeros += r->x[c] == 0;
        if ((r->x[c] == 0) != (o->x[c] == 0)) fail_msg("%s: x[%lld] = %g, x* = %g", name, (long long)c, r->x[c], o->x[c]);
    }
    if (zeros < 10 || zeros > r->features - 5) fail_msg("%s: %d zeros in %lld coordinates", name, zeros, (long long)r->features);
}

/* To a gap of 1e-12 with nothing tuned: the practical step. */
static void check_linear(const dither_data *data, const char *name, const char *problem, const char *estimator, int sparse)
{
    char text[256];
    snprintf(text, sizeof text, "%s: %s, %s", name, problem, estimator);
    dither_result *r = train(data, options_of("%s estimator=%s workers=12 target-gap=1e-12 epochs=3000", problem, estimator), NULL, NULL);
    if (strcmp(r->stop, "target-gap")) fail_msg("%s: stopped by %s at gap %g", text, r->stop, r->last.gap);
    assert_true(r->last.gap <= 1e-12 && r->last.gap >= 0);
    if (!(fabs(r->f - r->fstar - r->last.gap) < 1e-14)) fail_msg("%s: P - P* = %g, gap %g", text, r->f - r->fstar, r->last.gap);
    dither_optimum *o = optimum_of(data, options_of("%s", problem));
    assert_true(o->fstar == r->fstar);
    if (!isnan(o->certificate)) assert_true(o->certificate < 1e-13);
    double dist2 = 0;
    for (int64_t c = 0; c < r->features; c++) dist2 += (r->x[c] - o->x[c]) * (r->x[c] - o->x[c]);
    assert_true(fabs(dist2 - r->last.dist2) <= 1e-9 * dist2);
    assert_true(r->mu / 2 * dist2 <= r->last.gap * (1 + 1e-9)); /* strong convexity */
    if (sparse) check_support(text, r, o);
    dither_optimum_free(o);
    dither_result_free(r);
}

static void test_linear(void **state)
{
    (void)state;
    for (int which = 0; which < 2; which++) {
        const char *const name = which ? "a5a" : "mushrooms";
        dither_data *all = bundled(name, 0), *data = thin(all, 8);
        for (int i = 0; i < 3 * 2 * 2; i++) {
            const int sparse = i % 2;
            char problem[128];
            snprintf(problem, sizeof problem, "loss=%s l2=%g prox=%s", losses[i / 4], which ? 0.02 : 0.01, sparse ? "l1:0.01" : "none");
            check_linear(data, name, problem, estimators[i / 2 % 2], sparse);
        }
        dither_data_free(data), dither_data_free(all);
    }
}

/* All rows of mushrooms, and every other regulariser on a part of them. */
static void test_linear_more(void **state)
{
    static const char *const regularisers[] = {"l2:0.01", "elastic:0.005,0.01", "box:-0.1,0.2", "ball:0.5"};
    dither_data *all = bundled("mushrooms", 0), *data = thin(all, 16);
    (void)state;
    check_linear(all, "mushrooms", "loss=logistic l2=0.01", "lsvrg", 0);
    check_linear(all, "mushrooms", "loss=logistic l2=0.01 batch=8", "saga", 0);
    for (int i = 0; i < 4 * 2; i++) {
        char problem[128];
        snprintf(problem, sizeof problem, "l2=0.02 prox=%s", regularisers[i / 2]);
        check_linear(data, "mushrooms", problem, estimators[i % 2], 0);
    }
    check_linear(data, "mushrooms", "l2=0.02 stepper=momentum", "lsvrg", 0);
    check_linear(data, "mushrooms", "l2=0.02 stepper=momentum momentum=0.5", "saga", 0);
    check_linear(data, "mushrooms", "l2=0.02 stepper=momentum method=diana", "full", 0);
    check_linear(data, "mushrooms", "l2=0.02 codec=randk-bernoulli keep=30", "lsvrg", 0);
    check_linear(data, "mushrooms", "l2=0.02 codec=randk-bernoulli keep=30", "saga", 0);
    check_linear(data, "mushrooms", "l2=0.02 codec=randk-bernoulli keep=20 method=diana", "full", 0);
    dither_data_free(data), dither_data_free(all);
}

/* ---- to machine precision: the gap's logarithm is a line ---- */

typedef struct line {
    double slope, r2;
    int points;
} line;

/* log(gap) against the iteration, for high >= gap >= low */
static line fit(const trace *t, double high, double low)
{
    moments x = {0}, y = {0};
    double xy = 0;
    for (int i = 0; i < t->count; i++)
        if (t->at[i].gap <= high && t->at[i].gap >= low) moments_add(&x, (double)t->at[i].iteration), moments_add(&y, log(t->at[i].gap));
    for (int i = 0; i < t->count; i++)
        if (t->at[i].gap <= high && t->at[i].gap >= low) xy += ((double)t->at[i].iteration - x.mean) * (log(t->at[i].gap) - y.mean);
    return (line){.slope = xy / x.m2, .r2 = xy * xy / (x.m2 * y.m2), .points = (int)x.n};
}

static void test_to_machine_precision(void **state)
{
    dither_data *data = synthetic(60, 10, 0.8, 1, 21), *real = synthetic(60, 10, 0.8, 0, 21);
    (void)state;
    for (int i = 0; i < 3 * 2 * 2; i++) {
        dither_result *r;
        const char *const loss = losses[i / 4];
        trace *t = traced(strcmp(loss, "least-squares") ? data : real,
                          options_of("loss=%s l2=0.1 workers=5 estimator=%s %s target-gap=1e-26 iterations=40000 trace-every=10", loss,
                                     estimators[i / 2 % 2], i % 2 ? "prox=l1:0.02" : "codec=natural"), &r);
        const line whole = fit(t, 1e-3, 1e-25), early = fit(t, 1e-3, 1e-14), late = fit(t, 1e-14, 1e-25);
        if (strcmp(r->stop, "target-gap")) fail_msg("%s %s: gap %g after %lld", loss, estimators[i / 2 % 2], r->last.gap, (long long)r->iterations);
        if (!(whole.r2 > 0.95 && whole.points > 30 && late.slope < 0.5 * early.slope && late.slope > 2 * early.slope))
            fail_msg("%s %s: not a line: R^2 %.3f, slopes %g then %g", loss, estimators[i / 2 % 2], whole.r2, early.slope, late.slope);
        dither_result_free(r);
        free(t);
    }
    dither_data_free(data), dither_data_free(real);
}

/* State in float32: linear until its precision is used up. */
static void test_single_precision(void **state)
{
    dither_data *data = synthetic(60, 10, 0.8, 1, 21);
    (void)state;
    for (int i = 0; i < 2; i++) {
        dither_result *r = train(data, options_of("l2=0.1 workers=5 estimator=%s precision=f32 target-gap=1e-10 iterations=20000", estimators[i]), NULL, NULL);
        if (strcmp(r->stop, "target-gap")) fail_msg("f32, %s: gap %g", estimators[i], r->last.gap);
        dither_result_free(r);
    }
    dither_data_free(data);
}

/* ---- predicted rates ---- */

enum { SEEDS = 20 };

/* Mean over seeds of ||x_k - x*||^2 at every traced k is below psi (1 - rate)^k. psi and rate from facts. */
static void check_rate(const char *name, const dither_data *data, const char *options, double l2, int64_t iterations,
                       void (*theorem)(const facts *, double *psi, double *rate))
{
    enum { STRIDES = 300 };
    static moments mean[STRIDES + 1];
    double psi = 0, rate = 0;
    int points = 0;
    assert_true(iterations % STRIDES == 0);
    memset(mean, 0, sizeof mean);
    for (int seed = 0; seed < SEEDS; seed++) {
        dither_result *r;
        trace *t = traced(data, options_of("%s l2=%g gamma=theory seed=%d iterations=%lld trace-every=%lld", options, l2, seed,
                                           (long long)iterations, (long long)iterations / STRIDES), &r);
        if (seed == 0) {
            dither_optimum *o = optimum_of(data, options_of("l2=%g", l2));
            const facts f = facts_of(data, r, o, l2);
            theorem(&f, &psi, &rate);
            dither_optimum_free(o);
        }
        for (points = 0; points < t->count; points++) moments_add(&mean[points], t->at[points].dist2);
        dither_result_free(r);
        free(t);
    }
    for (int i = 0; i < points; i++) {
        const double k = (double)i * (double)(iterations / STRIDES), bound = psi * pow(1 - rate, k);
        if (bound > 1e-26 && !(mean[i].mean <= bound)) fail_msg("%s: iteration %g has %g, bound %g", name, k, mean[i].mean, bound);
    }
    const double end = mean[points - 1].mean / mean[0].mean;
    if (!(end < 1e-10)) fail_msg("%s: only %g in all iterations", name, end);
}

/* Theorem 1: Psi_0 with h_i = 0 and w_ij = x_0 */
static void vr_diana_theorem(const facts *f, double *psi, double *rate)
{
    const double n = f->n, g2 = f->gamma * f->gamma;
    *rate = fmin(f->gamma * f->mu, fmin(f->alpha / 2, 1.0 / (2 * f->m)));
    *psi = f->start + 4 * (f->omega + 1) / (f->alpha * n * n) * g2 * n * f->shift + 24 * f->m * (f->omega + 1) / (n * n) * g2 * f->table;
    assert_true(fabs(f->gamma * f->L * (1 + 36 * (f->omega + 1) / n) - 1) < 1e-12);
    assert_true(fabs(f->alpha * (1 + f->omega) - 1) < 1e-12);
}

/* DIANA with full gradients: V = ||x - x*||^2 + (4 omega/(n alpha)) gamma^2 mean ||h_i - h*_i||^2 */
static void diana_theorem(const facts *f, double *psi, double *rate)
{
    *rate = fmin(f->gamma * f->mu, f->alpha / 2);
    *psi = f->start + 4 * f->omega / (f->n * f->alpha) * f->gamma * f->gamma * f->shift;
    assert_true(fabs(f->alpha * (1 + f->omega) - 1) < 1e-12);
}

static void test_predicted_rates(void **state)
{
    dither_data *data = synthetic(40, 8, 0.8, 1, 22);
    (void)state;
    check_rate("VR-DIANA, L-SVRG", data, "method=vr-diana estimator=lsvrg workers=8", 0.5, 6000, vr_diana_theorem);
    check_rate("VR-DIANA, SAGA", data, "method=vr-diana estimator=saga workers=8", 0.5, 6000, vr_diana_theorem);
    check_rate("VR-DIANA, rand-r", data, "method=vr-diana codec=randk keep=2 workers=4", 0.5, 12000, vr_diana_theorem);
    check_rate("VR-DIANA, Bernoulli rand-r", data, "method=vr-diana codec=randk-bernoulli keep=2 workers=4", 0.5, 12000, vr_diana_theorem);
    check_rate("DIANA, full", data, "method=diana estimator=full workers=8", 0.2, 2100, diana_theorem);
    check_rate("DIANA, full, l2 norm", data, "method=diana estimator=full workers=4 norm=2 levels=2", 0.2, 2100, diana_theorem);
    dither_data_free(data);
}

/* ||x+ - x*||^2 <= (1 - gamma mu) ||x - x*||^2 in every single step, with and without a prox. */
static void test_gradient_descent(void **state)
{
    static const char *const problems[] = {"loss=logistic l2=0.01", "loss=least-squares l2=0.01", "loss=smooth-hinge l2=0.05",
                                           "loss=logistic l2=0.01 prox=l1:0.01", "loss=logistic l2=0.02 prox=ball:0.4"};
    dither_data *data = synthetic(90, 12, 0.7, 1, 23);
    (void)state;
    for (size_t i = 0; i < sizeof problems / sizeof *problems; i++) {
        dither_result *r;
        trace *t = traced(data, options_of("method=gd gamma=theory workers=7 %s iterations=3000 trace-every=1", problems[i]), &r);
        assert_true(fabs(r->gamma * r->L - 1) < 1e-12 && r->mu >= 0.01);
        for (int k = 1; k < t->count && t->at[k - 1].dist2 > 1e-24; k++)
            if (!(t->at[k].dist2 <= (1 - r->gamma * r->mu) * t->at[k - 1].dist2 * (1 + 1e-9)))
                fail_msg("%s: step %d has ratio %.9f, bound %.9f", problems[i], k, t->at[k].dist2 / t->at[k - 1].dist2, 1 - r->gamma * r->mu);
        assert_true(r->last.dist2 < 1e-10 * t->at[0].dist2);
        dither_result_free(r);
        free(t);
    }
    dither_data_free(data);
}

/* ---- plateaus ---- */

/* E||x - x*||^2 at rest with steps gamma and gamma/2; the higher one in *floor_out */
static double plateau_ratio(const dither_data *data, const char *options, double gamma, int64_t iterations, double *floor_out)
{
    double plateau[2];
    for (int half = 0; half < 2; half++) {
        dither_result *r;
        trace *t = traced(data, options_of("%s gamma=%.17g iterations=%lld trace-every=50", options, gamma / (1 + half), (long long)iterations), &r);
        plateau[half] = mean_dist2(t, iterations / 8 * (1 + half), iterations);
        dither_result_free(r);
        free(t);
    }
    *floor_out = plateau[0];
    return plateau[0] / plateau[1];
}

/* QSGD: (gamma/mu) [(2 omega/n) mean ||h*_i||^2 + 2 (1 + omega) sigma*^2/n], with the noise at x*, which the bound
 * then takes twice; DIANA, gamma mu <= alpha/2: 2 gamma sigma*^2 (1 + 5 omega)/(n mu). */
static void test_plateaus(void **state)
{
    static const struct {
        const char *options;
        int memory, sampled;
    } cases[] = {{"method=qsgd estimator=sgd workers=8", 0, 1},
                 {"method=qsgd estimator=full workers=8", 0, 0},
                 {"method=qsgd estimator=full workers=4 norm=2 levels=2", 0, 0},
                 {"method=diana estimator=sgd workers=8", 1, 1},
                 {"method=sgd workers=8", 0, 1}};
    const double l2 = 0.5;
    dither_data *data = synthetic(80, 8, 0.8, 1, 24);
    dither_optimum *o = optimum_of(data, options_of("l2=%g", l2));
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dither_result *r = train(data, options_of("%s l2=%g gamma=theory iterations=0", cases[i].options, l2), NULL, NULL);
        const facts f = facts_of(data, r, o, l2);
        const double n = f.n, noise = cases[i].sampled ? 2 * f.noise : 0;
        const double bound = cases[i].memory ? f.gamma / f.mu * noise * (1 + 5 * f.omega) / n
                                             : f.gamma / f.mu * (2 * f.omega / n * f.shift + (1 + f.omega) * noise / n);
        double found;
        char options[160];
        snprintf(options, sizeof options, "%s l2=%g", cases[i].options, l2);
        if (cases[i].memory) assert_true(f.gamma * f.mu <= f.alpha / 2);
        const double ratio = plateau_ratio(data, options, f.gamma, 60000, &found);
        if (!(found <= bound && found >= bound / 100)) fail_msg("%s: plateau %g, bound %g", options, found, bound);
        if (!(ratio > 1.7 && ratio < 2.3)) fail_msg("%s: half the step divides the plateau by %.2f", options, ratio);
        dither_result_free(r);
    }
    dither_optimum_free(o);
    dither_data_free(data);
}

/* Where there is nothing to learn - the same rows at every worker, full gradients - QSGD has no floor. */
static void test_no_plateau_when_homogeneous(void **state)
{
    enum { N = 6, M = 10, D = 8 };
    dither_data *one = synthetic(M, D, 1, 1, 25), *data;
    int64_t start[N * M + 1] = {0};
    int32_t column[N * M * D];
    double value[N * M * D], label[N * M];
    (void)state;
    for (int r = 0; r < N * M; r++) {
        for (int c = 0; c < D; c++) column[r * D + c] = c, value[r * D + c] = one->value[r % M * D + c];
        label[r] = one->label[r % M], start[r + 1] = (r + 1) * D;
    }
    assert_int_equal(dither_data_from_csr(N * M, D, start, column, value, label, &data, NULL), DITHER_OK);
    dither_result *r = train(data, options_of("method=qsgd estimator=full workers=%d l2=0.1 gamma=theory target-gap=1e-24 iterations=20000", N), NULL, NULL);
    if (strcmp(r->stop, "target-gap")) fail_msg("homogeneous QSGD stays at %g", r->last.gap);
    dither_result_free(r);
    dither_data_free(one), dither_data_free(data);
}

/* With gamma_k = 2/(mu k + theta) DIANA's floor melts like 1/k. */
static void test_decreasing_steps(void **state)
{
    dither_data *data = synthetic(80, 8, 0.8, 1, 24);
    double early = 0, late = 0;
    (void)state;
    for (int seed = 0; seed < SEEDS; seed++) {
        dither_result *r;
        trace *t = traced(data, options_of("method=diana gamma-schedule=diana l2=0.5 workers=8 iterations=32000 trace-every=10 seed=%d", seed), &r);
        early += mean_dist2(t, 2000, 4000), late += mean_dist2(t, 24000, 32000);
        dither_result_free(r);
        free(t);
    }
    if (!(early / late > 6 && early / late < 16)) fail_msg("9.6 times the iterations divide the error by %.1f", early / late);
    dither_data_free(data);
}

/* alpha > 2/(1 + omega): the memories' recursion explodes in the worst case, far below it is only slow. */
static void test_memory_rate(void **state)
{
    dither_data *data = synthetic(60, 40, 1, 1, 26);
    (void)state;
    for (int i = 0; i < 2; i++) {
        dither_result *r = NULL;
        dither_options *options = options_of("method=vr-diana codec=randk keep=2 workers=6 l2=0.1 gamma=x0.05 iterations=20000 alpha=%g", i ? 0.16 : 0.05);
        const dither_status status = dither_train(data, options, NULL, NULL, &r, NULL);
        dither_options_free(options);
        if (i == 0) assert_true(status == DITHER_OK && r->last.gap < 1e-3 && fabs(r->omega - 19) < 1e-12);
        if (i == 1 && status == DITHER_OK && r->last.gap < 1) fail_msg("alpha = 3.2/(1 + omega) does no harm: gap %g", r->last.gap);
        dither_result_free(r);
    }
    dither_data_free(data);
}

/* ---- the axes of a trace, from independent formulas ---- */

static double coins_fallen(uint64_t seed, int64_t iterations, double chance)
{
    double fallen = 0;
    for (int64_t k = 0; k < iterations; k++)
        fallen += dk_word(seed, (uint64_t)k << 24 | 0xFFFFu << 8 | 2, 0) < (uint64_t)(chance * 4294967296.0);
    return fallen;
}

typedef struct account {
    const char *options;
    double bits, bytes; /* a message's */
    double first, each; /* epochs: of the initial pass, and of an iteration */
    int batch;          /* > 0: L-SVRG's coin has chance batch / ceil(N / n) */
} account;

static void test_accounts(void **state)
{
    enum { N = 103, D = 37, K = 500 }; /* 10 workers; ceil(103/10) = 11 */
    static const account accounts[] = {
        {"method=vr-diana estimator=lsvrg", 32 + 8 * 8, 4 + 8, 1, 10.0 / N, 1},           /* base 3: ceil(37/5) = 8 bytes */
        {"method=vr-diana estimator=lsvrg batch=3", 32 + 8 * 8, 4 + 8, 1, 30.0 / N, 3},
        {"method=vr-diana estimator=saga batch=2 wire=fixed", 32 + 2 * 37, 4 + 12, 1, 20.0 / N, 0},
        {"method=diana estimator=sgd levels=7 block=10", 4 * 32 + 37 * 4, 16 + 20, 0, 10.0 / N, 0}, /* 4 blocks in one tile */
        {"method=diana estimator=full wire=float", 32 + 37 * 32, 4 + 37 * 4, 0, 1, 0},
        {"method=qsgd codec=natural", 37 * 9, 44, 0, 10.0 / N, 0},                         /* 333 bits in 11 words */
        {"method=qsgd codec=randk keep=5", 5 * 32, 5 * 4, 0, 10.0 / N, 0},
        {"method=gd", 37 * 64, 37 * 8, 0, 1, 0},
        {"method=gd precision=f32", 37 * 32, 37 * 4, 0, 1, 0},
        {"method=sgd batch=4", 37 * 64, 37 * 8, 0, 40.0 / N, 0},
        {"method=vr-diana codec=identity estimator=saga", 37 * 64, 37 * 8, 1, 10.0 / N, 0},
    };
    dither_data *data = synthetic(N, D, 0.5, 1, 27);
    (void)state;
    for (size_t i = 0; i < sizeof accounts / sizeof *accounts; i++) {
        const account *a = &accounts[i];
        dither_result *r;
        trace *t = traced(data, options_of("%s workers=10 seed=5 gamma=x0.2 iterations=%d trace-every=7", a->options, K), &r);
        for (int j = 0; j < t->count; j++) {
            const dither_point *p = &t->at[j];
            const double k = (double)p->iteration, coins = a->batch ? coins_fallen(5, p->iteration, a->batch / 11.0) : 0;
            const double epochs = k > 0 ? a->first + k * a->each + coins : 0;
            assert_true(p->iteration == (j < t->count - 1 ? 7 * j : K));
            if (!(fabs(p->epochs - epochs) < 1e-9 * (1 + epochs))) fail_msg("%s: %g epochs at %g, expected %g", a->options, p->epochs, k, epochs);
            if (p->uplink_bits != k * a->bits || p->wire_bytes != k * a->bytes)
                fail_msg("%s: %g bits, %g bytes at %g", a->options, p->uplink_bits, p->wire_bytes, k);
            assert_true(p->seconds >= (j ? t->at[j - 1].seconds : 0));
        }
        if (a->batch == 1) assert_true(coins_fallen(5, K, 1 / 11.0) > 20);
        dither_result_free(r);
        free(t);
    }
    dither_data_free(data);
}

/* Bernoulli rand-r: what a worker has sent are the values that its masks have kept so far, and nothing else. */
static void test_bernoulli_account(void **state)
{
    enum { D = 37, N = 10, K = 200 };
    dither_data *data = synthetic(103, D, 0.5, 1, 27);
    dither_result *r;
    (void)state;
    trace *t = traced(data, options_of("method=vr-diana codec=randk-bernoulli keep=5 workers=10 seed=5 gamma=x0.2 iterations=%d trace-every=7", K), &r);
    for (int j = 0; j < t->count; j++) {
        double kept = 0;
        for (int64_t k = 0; k < t->at[j].iteration; k++)
            for (uint64_t i = 0; i < N; i++)
                for (uint64_t c = 0; c < D; c++) kept += dk_word(5, (uint64_t)k << 24 | i << 8 | 4, c) < ((uint64_t)5 << 32) / D;
        if (t->at[j].uplink_bits != 32 * kept / N || t->at[j].wire_bytes != 4 * kept / N)
            fail_msg("%g bits, %g bytes, where %g values were kept", t->at[j].uplink_bits, t->at[j].wire_bytes, kept);
    }
    assert_true(fabs(r->last.uplink_bits / 32 - 5.0 * K) < 5 * sqrt(5.0 * K / N));
    dither_result_free(r);
    free(t);
    dither_data_free(data);
}

/* The first limit that is reached ends the run. */
static void test_limits(void **state)
{
    dither_data *data = synthetic(100, 10, 0.8, 1, 28);
    (void)state;
    dither_result *r = train(data, options_of("method=sgd workers=10 iterations=1000 epochs=3.05 reference=none"), NULL, NULL);
    assert_string_equal(r->stop, "epochs");
    assert_int_equal(r->iterations, 31); /* 10 gradients of 100 rows an iteration */
    dither_result_free(r);
    r = train(data, options_of("method=sgd workers=10 iterations=30 epochs=3.05 reference=none"), NULL, NULL);
    assert_string_equal(r->stop, "iterations");
    assert_int_equal(r->iterations, 30);
    assert_true(isnan(r->last.gap) && isnan(r->fstar));
    dither_result_free(r);
    r = train(data, options_of("workers=10 iterations=30000 target-gap=1e-6 l2=0.1 trace-every=1"), NULL, NULL);
    assert_string_equal(r->stop, "target-gap");
    assert_true(r->last.gap <= 1e-6 && r->last.gap > 1e-8 && r->iterations < 30000);
    dither_result_free(r);
    dither_data_free(data);
}

/* A step that is far too large: told, with the iteration, a step to try, and the state it ended in. */
static void test_divergence(void **state)
{
    static const char *const cases[] = {"method=vr-diana", "method=qsgd precision=f32", "method=gd", "method=diana codec=natural", "method=vr-diana codec=randk estimator=saga precision=f32"};
    dither_data *data = synthetic(100, 10, 0.8, 0, 29);
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int far = 0; far < 2; far++) {
            dither_result *r = NULL;
            dither_error error = {DITHER_OK, ""};
            dither_options *options = options_of("loss=least-squares %s gamma=x50 iterations=3000 trace-every=%d", cases[i], far ? 3000 : 1);
            const dither_status status = dither_train(data, options, NULL, NULL, &r, &error);
            if (status != DITHER_DIVERGED || error.status != DITHER_DIVERGED) fail_msg("%s: status %d, %s", cases[i], status, error.message);
            if (!strstr(error.message, "iteration") || !strstr(error.message, "--gamma")) fail_msg("%s: %s", cases[i], error.message);
            assert_non_null(r);
            if (!far) assert_string_equal(r->stop, "diverged");
            dither_result_free(r);
            dither_options_free(options);
        }
    dither_data_free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference), cmocka_unit_test(test_linear), cmocka_unit_test(test_linear_more),
        cmocka_unit_test(test_to_machine_precision), cmocka_unit_test(test_single_precision),
        cmocka_unit_test(test_predicted_rates), cmocka_unit_test(test_gradient_descent), cmocka_unit_test(test_plateaus),
        cmocka_unit_test(test_no_plateau_when_homogeneous), cmocka_unit_test(test_decreasing_steps),
        cmocka_unit_test(test_memory_rate), cmocka_unit_test(test_accounts), cmocka_unit_test(test_bernoulli_account), cmocka_unit_test(test_limits),
        cmocka_unit_test(test_divergence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
