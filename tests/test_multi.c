/* Losses with a margin for each class: by themselves, through training, and against logistic regression. */
#include "theory.h"

#include <unistd.h>

#include "hash.h"
#include "losses.h"
#include "problem.h"
#include "solve/objective.h"

typedef long double real;

enum { K_MAX = 12 };

static void random_margins(double *z, int outputs, double spread, uint64_t *seed)
{
    for (int k = 0; k < outputs; k++) z[k] = spread * random_normal(seed);
}

/* ---- the losses of the registry ---- */

/* Slopes and Hessian by central differences of fourth order. */
static void test_differences(void **state)
{
    (void)state;
    for (int loss = DK_LOSS_ONE_COUNT; loss < DK_LOSS_COUNT; loss++) {
        uint64_t seed = 3;
        for (int i = 0; i < 300; i++) {
            const int outputs = 2 + i % (K_MAX - 1);
            const double y = (double)(random_word(&seed) % (uint64_t)outputs), h = 1e-3;
            double z[K_MAX], slope[K_MAX];
            random_margins(z, outputs, 3, &seed);
            memcpy(slope, z, sizeof z);
            dk_multi_slopes(loss, slope, outputs, y);
            for (int c = 0; c < outputs; c++) {
                double value[5], side[5][K_MAX], unit[K_MAX] = {0};
                for (int k = 0; k < 5; k++) {
                    memcpy(side[k], z, sizeof z);
                    side[k][c] += (k - 2) * h;
                    value[k] = dk_multi_value(loss, side[k], outputs, y);
                    dk_multi_slopes(loss, side[k], outputs, y);
                }
                const double s = (8 * (value[3] - value[1]) - (value[4] - value[0])) / (12 * h);
                if (!(fabs(s - slope[c]) < 1e-10)) fail_msg("%s: slope %g, not %g", dither_loss_name(loss), slope[c], s);
                unit[c] = 1;
                dk_multi_curvature(loss, slope, unit, outputs, y);
                for (int o = 0; o < outputs; o++) {
                    const double H = (8 * (side[3][o] - side[1][o]) - (side[4][o] - side[0][o])) / (12 * h);
                    if (!(fabs(H - unit[o]) < 1e-10)) fail_msg("%s: Hessian %g, not %g", dither_loss_name(loss), unit[o], H);
                }
            }
        }
    }
}

/* The largest eigenvalue of the Hessian is at most SMOOTHNESS, and two equal classes reach it. */
static void test_smoothness(void **state)
{
    uint64_t seed = 9;
    double most = 0;
    (void)state;
    for (int i = 0; i < 2000; i++) {
        const int outputs = 2 + i % (K_MAX - 1);
        double slope[K_MAX], v[K_MAX], w[K_MAX], norm = 0;
        random_margins(slope, outputs, i % 3 ? 2 : 0, &seed);
        random_margins(v, outputs, 1, &seed);
        dk_multi_slopes(DK_LOSS_softmax, slope, outputs, 0);
        for (int step = 0; step < 30; step++) { /* power iteration from below */
            memcpy(w, v, sizeof v);
            dk_multi_curvature(DK_LOSS_softmax, slope, w, outputs, 0);
            norm = 0;
            for (int k = 0; k < outputs; k++) norm += w[k] * w[k];
            norm = sqrt(norm);
            double before = 0;
            for (int k = 0; k < outputs; k++) before += v[k] * v[k];
            norm /= sqrt(before);
            for (int k = 0; k < outputs; k++) v[k] = w[k];
        }
        most = fmax(most, norm);
    }
    assert_true(most <= 0.5 + 1e-12 && most > 0.4999);
}

/* In long double: values exactly, slopes and divergences relative to their size however small they are. */
static void test_softmax_exact(void **state)
{
    uint64_t seed = 31;
    (void)state;
    for (int i = 0; i < 20000; i++) {
        const int outputs = 2 + i % (K_MAX - 1), y = (int)(random_word(&seed) % (uint64_t)outputs);
        double z[K_MAX], delta[K_MAX], slope[K_MAX];
        real sum = 0, mean = 0, divergence = 0, others = 0;
        random_margins(z, outputs, i % 4 == 0 ? 15 : 2, &seed);
        random_margins(delta, outputs, pow(10, -14 + 15 * random_uniform(&seed)), &seed);
        for (int k = 0; k < outputs; k++) sum += expl((real)z[k] - z[y]), others += k == y ? 0 : expl((real)z[k] - z[y]);
        const real value = log1pl(others);
        if (!(fabsl(dk_multi_value(DK_LOSS_softmax, z, outputs, y) - value) <= 2e-15L * (value + fabsl((real)z[0]))))
            fail_msg("value %.17g, not %.17Lg", dk_multi_value(DK_LOSS_softmax, z, outputs, y), value);
        memcpy(slope, z, sizeof z);
        dk_multi_slopes(DK_LOSS_softmax, slope, outputs, y);
        for (int k = 0; k < outputs; k++) {
            const real exact = k == y ? -others / sum : expl((real)z[k] - z[y]) / sum;
            if (!(fabsl(slope[k] - exact) <= 1e-14L * fabsl(exact))) fail_msg("slope %.17g, not %.17Lg", slope[k], exact);
            mean += expl((real)z[k] - z[y]) / sum * ((real)delta[k] - delta[0]);
        }
        for (int k = 0; k < outputs; k++) { /* sum of p (e^u - 1 - u) */
            const real u = ((real)delta[k] - delta[0]) - mean;
            real series = 0, term = u;
            for (int n = 2; n < 60; n++) series += term *= u / n;
            divergence += expl((real)z[k] - z[y]) / sum * (fabsl(u) < 3 ? series : expm1l(u) - u);
        }
        divergence = log1pl(divergence);
        const double found = dk_multi_bregman(DK_LOSS_softmax, z, delta, outputs, y);
        if (!(found >= 0 && fabsl(found - divergence) <= 1e-9L * divergence))
            fail_msg("divergence %.17g, not %.17Lg", found, divergence);
    }
    const double far[3] = {0, 0, 0}, step[3] = {2000, 0, -5}; /* where e^u is no number */
    assert_true(fabs(dk_multi_bregman(DK_LOSS_softmax, far, step, 3, 1) - (2000 - log(3) - (2000 - 5) / 3.0)) < 1e-9);
}

/* ---- data ---- */

/* Classes by the largest of `classes` hidden linear functions, with noise; label values are values[class]. */
static dither_data *several(int64_t rows, int64_t d, int classes, const double *values, uint64_t seed)
{
    int64_t *start = calloc((size_t)rows + 1, sizeof *start), used = 0;
    int32_t *column = calloc((size_t)(rows * d), sizeof *column);
    double *value = calloc((size_t)(rows * d), sizeof *value), *label = calloc((size_t)rows, sizeof *label);
    double *hidden = calloc((size_t)(classes * d), sizeof *hidden);
    dither_data *out = NULL;
    for (int64_t c = 0; c < classes * d; c++) hidden[c] = random_normal(&seed);
    for (int64_t r = 0; r < rows; r++) {
        double most = -INFINITY;
        for (int64_t c = 0; c < d; c++)
            if (random_uniform(&seed) < 0.7) column[used] = (int32_t)c, value[used++] = random_normal(&seed);
        start[r + 1] = used;
        for (int k = 0; k < classes; k++) {
            double z = random_normal(&seed);
            for (int64_t e = start[r]; e < used; e++) z += value[e] * hidden[k * d + column[e]];
            if (z > most) most = z, label[r] = values[k];
        }
    }
    assert_int_equal(dither_data_from_csr(rows, d, start, column, value, label, &out, NULL), DITHER_OK);
    free(start), free(column), free(value), free(label), free(hidden);
    return out;
}

static const double four[] = {7, -2, 3.5, 0};

/* P(x), written down apart from the library. Classes are numbered by ascending label. */
static double objective(const dither_data *data, const double *values, int classes, double l2, const double *x)
{
    double sum = 0, square = 0;
    for (int64_t r = 0; r < data->rows; r++) {
        double z[K_MAX] = {0}, own = 0, total = 0;
        for (int k = 0; k < classes; k++) {
            for (int64_t e = data->row_start[r]; e < data->row_start[r + 1]; e++)
                z[k] += data->value[e] * x[k * data->features + data->column[e]];
            if (values[k] == data->label[r]) own = z[k];
        }
        for (int k = 0; k < classes; k++) total += exp(z[k] - own);
        sum += log(total);
    }
    for (int64_t c = 0; c < classes * data->features; c++) square += x[c] * x[c];
    return sum / (double)data->rows + l2 / 2 * square;
}

/* Its gradient, by central differences of fourth order; changes nothing. */
static void differentiate(const dither_data *data, const double *sorted, int classes, double l2, double *x, double *out)
{
    const double h = 1e-3;
    for (int64_t c = 0; c < classes * data->features; c++) {
        const double at = x[c];
        double side[5];
        for (int k = 0; k < 5; k++) {
            x[c] = at + (k - 2) * h;
            side[k] = objective(data, sorted, classes, l2, x);
        }
        x[c] = at;
        out[c] = (8 * (side[3] - side[1]) - (side[4] - side[0])) / (12 * h);
    }
}

/* ---- training ---- */

/* gd steps along the gradient, class after class, and the trace has the loss and the gradient's norm. */
static void test_gradient(void **state)
{
    static const double sorted[] = {-2, 0, 3.5, 7};
    enum { D = 5, ALL = 4 * D };
    const double l2 = 0.03, gamma = 0.2;
    dither_data *data = several(90, D, 4, four, 3);
    dither_result *r[2];
    double g[ALL], norm2 = 0;
    (void)state;
    for (int k = 0; k < 2; k++)
        r[k] = train(data, options_of("method=gd loss=softmax l2=%g gamma=%g workers=7 iterations=%d reference=none", l2, gamma, 6 + k),
                     NULL, NULL);
    assert_true(r[0]->outputs == 4 && r[0]->features == D);
    assert_memory_equal(r[0]->label_values, sorted, sizeof sorted);
    assert_true(fabs(r[0]->last.loss - objective(data, sorted, 4, l2, r[0]->x)) < 1e-14);
    differentiate(data, sorted, 4, l2, r[0]->x, g);
    for (int c = 0; c < ALL; c++) {
        const double stepped = (r[0]->x[c] - r[1]->x[c]) / gamma;
        if (!(fabs(g[c] - stepped) < 1e-10)) fail_msg("coordinate %d: a step along %g, the gradient is %g", c, stepped, g[c]);
        norm2 += g[c] * g[c];
    }
    assert_true(fabs(r[0]->last.grad_norm - sqrt(norm2)) < 1e-9);
    dither_result_free(r[0]), dither_result_free(r[1]);
    dither_data_free(data);
}

/* Every estimator, in both precisions, with messages and without, reaches the same optimum: as near as its noise lets it. */
static void test_converges(void **state)
{
    static const struct {
        const char *options;
        double gap;
    } runs[] = {{"method=vr-diana", 1e-12}, {"method=vr-diana batch=3 levels=7", 1e-20}, {"method=vr-diana estimator=saga", 1e-12},
                {"method=vr-diana estimator=saga batch=5 codec=natural", 1e-12}, {"method=gd", 1e-12},
                {"method=diana estimator=full split=by-label", 1e-12}, {"method=vr-diana codec=identity batch=2 split=dirichlet:0.5", 1e-12},
                {"method=vr-diana estimator=saga batch=4 precision=f32", 1e-9}, {"method=vr-diana prox=l2:0.05", 1e-12},
                {"method=vr-diana prox=ball:0.5", 1e-12}, {"method=vr-diana prox=l1:0.005", 1e-12}};
    dither_data *data = several(84, 6, 4, four, 8);
    (void)state;
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        dither_result *r = train(data, options_of("loss=softmax l2=0.02 workers=6 target-gap=%g epochs=50000 %s", runs[i].gap, runs[i].options),
                                 NULL, NULL);
        if (strcmp(r->stop, "target-gap") != 0 || !(r->last.gap > 0 && r->last.dist2 < 100 * runs[i].gap))
            fail_msg("%s: gap %g, %s", runs[i].options, r->last.gap, r->stop);
        assert_true(r->certificate < 1e-25);
        dither_result_free(r);
    }
    dither_data_free(data);
}

/* Once its table is of different points, SAGA's estimate is still the gradient in expectation: over the seeds, the third
 * step is along it. Only mu_i that is the mean of the table makes it so. */
static void test_table(void **state)
{
    static const double sorted[] = {-2, 0, 3.5, 7};
    enum { D = 3, ALL = 4 * D, SEEDS = 1000 };
    const double l2 = 0.03, gamma = 0.5;
    dither_data *data = several(12, D, 4, four, 12);
    moments off[ALL] = {0};
    (void)state;
    for (int seed = 0; seed < SEEDS; seed++) {
        dither_result *r[2];
        double g[ALL];
        for (int k = 0; k < 2; k++)
            r[k] = train(data, options_of("loss=softmax estimator=saga codec=identity l2=%g gamma=%g batch=3 workers=2 seed=%d iterations=%d reference=none",
                                          l2, gamma, seed, 2 + k), NULL, NULL);
        differentiate(data, sorted, 4, l2, r[0]->x, g);
        for (int c = 0; c < ALL; c++) moments_add(&off[c], (r[0]->x[c] - r[1]->x[c]) / gamma - g[c]);
        dither_result_free(r[0]), dither_result_free(r[1]);
    }
    for (int c = 0; c < ALL; c++) {
        assert_true(moments_variance(&off[c]) > 1e-6);
        check_mean("the third step", &off[c], 0, 1e-10);
    }
    dither_data_free(data);
}

/* With two classes softmax's loss depends on x_1 - x_0 alone, and of all pairs with that difference x_1 = -x_0 has the
 * least norm: (l2/2)(||x_0||^2 + ||x_1||^2) = (l2/4)||x_1 - x_0||^2. So l2 = 2 l is logistic regression with l. */
static void test_two_classes(void **state)
{
    enum { D = 7 };
    dither_data *data = synthetic(90, D, 0.8, 1, 5);
    dither_options *softmax = options_of("loss=softmax l2=0.04"), *logistic = options_of("l2=0.02");
    dither_optimum *two, *one;
    (void)state;
    assert_int_equal(dither_optimum_find(data, softmax, &two, NULL), DITHER_OK);
    assert_int_equal(dither_optimum_find(data, logistic, &one, NULL), DITHER_OK);
    assert_true(fabs(two->fstar - one->fstar) < 1e-15);
    assert_true(two->outputs == 2 && one->outputs == 1 && two->certificate < 1e-28);
    for (int c = 0; c < D; c++) {
        assert_true(fabs(two->x[D + c] - two->x[c] - one->x[c]) < 1e-12);
        assert_true(fabs(two->x[D + c] + two->x[c]) < 1e-12);
    }
    /* and gradient descent goes the same way: dx_1 - dx_0 = -2 gamma (gradient of the loss) - gamma 2 l (x_1 - x_0) */
    dither_result *a = train(data, options_of("loss=softmax method=gd l2=0.04 gamma=0.1 iterations=20 reference=none workers=5"), NULL, NULL);
    dither_result *b = train(data, options_of("method=gd l2=0.02 gamma=0.2 iterations=20 reference=none workers=5"), NULL, NULL);
    for (int c = 0; c < D; c++) assert_true(fabs(a->x[D + c] - a->x[c] - b->x[c]) < 1e-14);
    assert_true(fabs(a->last.loss - b->last.loss) < 1e-15);
    dither_result_free(a), dither_result_free(b);
    dither_optimum_free(two), dither_optimum_free(one);
    dither_options_free(softmax), dither_options_free(logistic);
    dither_data_free(data);
}

/* ---- models ---- */

static void test_model(void **state)
{
    static const char path[] = "test_multi.model";
    dither_data *data = several(84, 6, 4, four, 8), *strange = several(10, 6, 4, (double[]){7, -2, 3.5, 1}, 8);
    dither_result *r = train(data, options_of("loss=softmax l2=0.001 iterations=2000 reference=none"), NULL, NULL);
    dither_model *model;
    dither_score score;
    dither_error error;
    int right = 0;
    (void)state;
    assert_int_equal(dither_model_save(r, path, &error), DITHER_OK);
    assert_int_equal(dither_model_load(path, &model, &error), DITHER_OK);
    assert_int_equal(dither_model_score(model, data, &score, &error), DITHER_OK);
    for (int64_t row = 0; row < data->rows; row++) {
        int top = 0;
        double z[4] = {0};
        for (int k = 0; k < 4; k++) {
            for (int64_t e = data->row_start[row]; e < data->row_start[row + 1]; e++)
                z[k] += data->value[e] * r->x[k * 6 + data->column[e]];
            if (z[k] > z[top]) top = k;
        }
        right += r->label_values[top] == data->label[row];
    }
    assert_true(score.accuracy == right / 84.0 && right > 50);
    assert_true(fabs(score.loss - objective(data, r->label_values, 4, 0, r->x)) < 1e-14);
    assert_int_equal(dither_model_score(model, strange, &score, &error), DITHER_BAD_DATA);
    assert_non_null(strstr(error.message, "none of the model's 4 classes"));
    dither_model_free(model);
    /* any byte less is found out */
    char text[8192];
    FILE *file = fopen(path, "rb");
    const size_t size = fread(text, 1, sizeof text, file);
    fclose(file);
    assert_true(size < sizeof text);
    for (size_t n = 0; n < size; n += 7) {
        file = fopen(path, "wb");
        fwrite(text, 1, n, file);
        fclose(file);
        assert_int_equal(dither_model_load(path, &model, &error), DITHER_BAD_DATA);
    }
    unlink(path);
    dither_result_free(r);
    dither_data_free(data), dither_data_free(strange);
}

/* ---- what is refused ---- */

static void test_refused(void **state)
{
    dither_data *numbers = synthetic(5000, 2, 1, 0, 4), *data = several(40, 3, 4, four, 8), *same = several(40, 3, 1, four, 8);
    (void)state;
    const struct {
        const dither_data *data;
        const char *options, *words;
        dither_status status;
    } cases[] = {{numbers, "loss=softmax", "4096", DITHER_BAD_DATA}, {data, "loss=softmax labels=7", "--labels", DITHER_USAGE},
                 {same, "loss=softmax", "all labels are 7", DITHER_BAD_DATA}, {data, "loss=logistic", "--labels", DITHER_BAD_DATA},
                 {data, "loss=softmax keep=13 codec=randk", "12 coordinates", DITHER_USAGE}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_fails(cases[i].data, options_of("%s iterations=1 reference=none", cases[i].options), cases[i].status, cases[i].words);
    dither_data_free(numbers), dither_data_free(data), dither_data_free(same);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_differences), cmocka_unit_test(test_smoothness), cmocka_unit_test(test_softmax_exact),
        cmocka_unit_test(test_gradient),    cmocka_unit_test(test_converges),  cmocka_unit_test(test_table),
        cmocka_unit_test(test_two_classes), cmocka_unit_test(test_model),      cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
