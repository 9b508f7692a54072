#include "figure.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

const char *const cli_colours[CLI_COLOURS] = {"#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9"};

enum { POINTS_MOST = 120, GRID = 80 }; /* of a curve of one run; of a curve over seeds */

typedef struct axis {
    const char *name, *column, *title;
} axis;

static const axis x_axes[] = {{"bits", "uplink_bits", "bits sent by each worker"},
                              {"epochs", "epochs", "epochs"},
                              {"iterations", "iteration", "iterations"},
                              {"seconds", "seconds", "seconds"}};
static const axis y_axes[] = {{"gap", "gap", "P(x) - P(x*)"},
                              {"dist2", "dist2", "||x - x*||^2"},
                              {"loss", "loss", "P(x)"},
                              {"grad_norm", "grad_norm", "||grad P(x)||"}};

static const axis *find_axis(const axis *axes, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(axes[i].name, name) == 0) return &axes[i];
    return NULL;
}

/* ---- one trace ---- */

typedef struct points {
    double *x, *y;
    int n;
} points;

static void free_points(points *p)
{
    free(p->x);
    free(p->y);
    *p = (points){0};
}

static dither_status need_column(const cli_csv *csv, const char *name, int *out, dither_error *error)
{
    *out = cli_csv_column(csv, name);
    if (*out >= 0) return DITHER_OK;
    return cli_fail(error, DITHER_BAD_DATA, "%s: there is no column '%s'; 'dither train --trace' writes one", csv->path, name);
}

/* A trace of a run that diverged: its loss ends far above where it began, or is no number. */
static int has_diverged(const cli_csv *csv)
{
    double first, last;
    dither_error ignored;
    const int at = cli_csv_column(csv, "loss");
    if (at < 0 || cli_csv_real(csv, 0, at, &first, &ignored) != DITHER_OK ||
        cli_csv_real(csv, csv->row_n - 1, at, &last, &ignored) != DITHER_OK)
        return 0;
    return !(last <= 1000 * fmax(first, 1));
}

/* The points that can be drawn: finite, and above 0 on a logarithmic axis. */
static dither_status read_points(const char *path, const axis *x, const axis *y, int log_y, points *out, int *diverged,
                                 dither_error *error)
{
    dither_status status = DITHER_OK;
    cli_csv csv = {0};
    int x_at, y_at;
    int64_t known = 0;
    *out = (points){0};
    TRY(cli_csv_read(path, &csv, error));
    TRY(need_column(&csv, x->column, &x_at, error));
    TRY(need_column(&csv, y->column, &y_at, error));
    if (csv.row_n == 0) FAIL(DITHER_BAD_DATA, "%s holds no point: only the header", path);
    out->x = calloc((size_t)csv.row_n, sizeof(double));
    out->y = calloc((size_t)csv.row_n, sizeof(double));
    if (!out->x || !out->y) FAIL(DITHER_INTERNAL, "out of memory");
    for (int64_t row = 0; row < csv.row_n; row++) {
        double px, py;
        TRY(cli_csv_real(&csv, row, x_at, &px, error));
        TRY(cli_csv_real(&csv, row, y_at, &py, error));
        known += !isnan(py);
        if (!isfinite(px) || !isfinite(py) || (log_y && py <= 0)) continue;
        out->x[out->n] = px;
        out->y[out->n++] = py;
    }
    *diverged = has_diverged(&csv);
    if (known == 0)
        FAIL(DITHER_BAD_DATA, "%s: '%s' is empty in every line, as with --reference none; --y loss and --y grad_norm are "
             "always there", path, y->column);
    if (out->n == 0) FAIL(DITHER_BAD_DATA, "%s: no '%s' above 0 to draw on a logarithmic axis; try --log none", path, y->column);
out:
    cli_csv_free(&csv);
    return status;
}

/* ---- curves ---- */

static dither_status add_curve(cli_figure *f, int n, const char *label, cli_curve **out, dither_error *error)
{
    dither_status status = DITHER_OK;
    cli_curve *larger = realloc(f->curve, ((size_t)f->curve_n + 1) * sizeof *larger);
    if (!larger) FAIL(DITHER_INTERNAL, "out of memory");
    f->curve = larger;
    cli_curve *c = *out = &f->curve[f->curve_n++];
    *c = (cli_curve){.label = strdup(label), .x = calloc((size_t)n, sizeof(double)), .y = calloc((size_t)n, sizeof(double)),
                     .low = calloc((size_t)n, sizeof(double)), .high = calloc((size_t)n, sizeof(double))};
    if (!c->label || !c->x || !c->y || !c->low || !c->high) FAIL(DITHER_INTERNAL, "out of memory");
out:
    return status;
}

static void put_point(cli_curve *c, double x, double y, double low, double high)
{
    c->x[c->n] = x, c->y[c->n] = y, c->low[c->n] = low, c->high[c->n] = high;
    c->n++;
}

/* One run: its points, thinned to the last one of each of POINTS_MOST equal parts of the axis. */
static dither_status add_run(cli_figure *f, const char *label, const points *p, dither_error *error)
{
    cli_curve *c;
    const dither_status status = add_curve(f, p->n, label, &c, error);
    const double width = p->x[p->n - 1] / POINTS_MOST;
    if (status != DITHER_OK) return status;
    c->runs = 1;
    for (int i = 0; i < p->n; i++) {
        const int is_last = i + 1 == p->n || width <= 0 || floor(p->x[i] / width) != floor(p->x[i + 1] / width);
        if (is_last || i == 0) put_point(c, p->x[i], p->y[i], p->y[i], p->y[i]);
    }
    return DITHER_OK;
}

/* A run's value at x, a straight line between its points; what has ended stays where it was. */
static double value_at(const points *p, double x, int log_y)
{
    int i = 0, j = p->n - 1;
    if (x <= p->x[0]) return p->y[0];
    if (x >= p->x[j]) return p->y[j];
    while (j - i > 1) {
        const int middle = (i + j) / 2;
        if (p->x[middle] <= x) i = middle;
        else j = middle;
    }
    const double share = (x - p->x[i]) / (p->x[j] - p->x[i]);
    return log_y ? p->y[i] * pow(p->y[j] / p->y[i], share) : p->y[i] + share * (p->y[j] - p->y[i]);
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *value, int n)
{
    qsort(value, (size_t)n, sizeof *value, compare);
    return 0.5 * (value[(n - 1) / 2] + value[n / 2]);
}

/* Several seeds: the median and the extremes on a common grid, up to where half of them have ended. */
static dither_status add_seeds(cli_figure *f, const char *label, const points *p, int n, dither_error *error)
{
    dither_status status = DITHER_OK;
    cli_curve *c;
    double *value = calloc((size_t)n, sizeof *value);
    if (!value) FAIL(DITHER_INTERNAL, "out of memory");
    TRY(add_curve(f, GRID + 1, label, &c, error));
    c->runs = n;
    for (int i = 0; i < n; i++) value[i] = p[i].x[p[i].n - 1];
    const double end = median(value, n);
    for (int g = 0; g <= GRID; g++) {
        const double x = end * g / GRID;
        for (int i = 0; i < n; i++) value[i] = value_at(&p[i], x, f->log_y);
        const double middle = median(value, n); /* sorts */
        put_point(c, x, middle, value[0], value[n - 1]);
    }
out:
    free(value);
    return status;
}

static dither_status add_points(cli_figure *f, const char *label, const points *p, int n, int diverged, dither_error *error)
{
    dither_status status = DITHER_OK;
    char *text = cli_text("%s%s", label, diverged ? " (diverged)" : "");
    if (!text) FAIL(DITHER_INTERNAL, "out of memory");
    if (n == 1) TRY(add_run(f, text, p, error));
    if (n > 1) TRY(add_seeds(f, text, p, n, error));
out:
    free(text);
    return status;
}

static dither_status add_trace(cli_figure *f, const char *path, const axis *x, const axis *y, dither_error *error)
{
    dither_status status = DITHER_OK;
    points p = {0};
    int diverged = 0;
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    const size_t length = strlen(name);
    char *label = strdup(name);
    if (!label) FAIL(DITHER_INTERNAL, "out of memory");
    if (length > 4 && strcmp(name + length - 4, ".csv") == 0) label[length - 4] = '\0';
    TRY(read_points(path, x, y, f->log_y, &p, &diverged, error));
    TRY(add_points(f, label, &p, 1, diverged, error));
out:
    free_points(&p);
    free(label);
    return status;
}

/* One configuration of an ablation. A run that was refused has no trace; one that diverged may have few points. */
static dither_status add_config(cli_figure *f, const char *folder, const cli_findings *found, int index, const axis *x,
                                const axis *y, dither_error *error)
{
    dither_status status = DITHER_OK;
    const cli_config *config = &found->config[index];
    const int status_at = cli_csv_column(&found->csv, "status");
    int n = 0, diverged = 0;
    points *p = calloc((size_t)config->row_n, sizeof *p);
    if (!p) FAIL(DITHER_INTERNAL, "out of memory");
    for (int i = 0; i < config->row_n; i++) {
        int this_one = 0;
        if (strcmp(cli_csv_text(&found->csv, config->row[i], status_at), "refused") == 0) continue;
        char *path = cli_text("%s/traces/%s.csv", folder, cli_csv_text(&found->csv, config->row[i], 0));
        if (!path) FAIL(DITHER_INTERNAL, "out of memory");
        status = read_points(path, x, y, f->log_y, &p[n++], &this_one, error);
        free(path);
        TRY(status);
        diverged |= this_one;
    }
    TRY(add_points(f, config->label, p, n, diverged, error));
out:
    for (int i = 0; p && i < n; i++) free_points(&p[i]);
    free(p);
    return status;
}

static dither_status add_folder(cli_figure *f, const char *folder, const axis *x, const axis *y, dither_error *error)
{
    dither_status status = DITHER_OK;
    cli_findings found = {0};
    TRY(cli_findings_read(folder, &found, error));
    for (int i = 0; i < found.config_n; i++) TRY(add_config(f, folder, &found, i, x, y, error));
out:
    cli_findings_free(&found);
    return status;
}

/* The curves' ends are far apart: on a linear axis most would be a streak at its left. */
static int spreads(const cli_figure *f)
{
    double least = INFINITY;
    for (int i = 0; i < f->curve_n; i++) least = fmin(least, f->curve[i].x[f->curve[i].n - 1]);
    return least > 0 && f->x_most > 30 * least;
}

static void find_heights(cli_figure *f)
{
    double begins = -INFINITY;
    f->y_least = INFINITY, f->y_most = -INFINITY;
    for (int i = 0; i < f->curve_n; i++) {
        const cli_curve *c = &f->curve[i];
        begins = fmax(begins, c->y[0]);
        for (int k = 0; k < c->n; k++) f->y_least = fmin(f->y_least, c->low[k]), f->y_most = fmax(f->y_most, c->high[k]);
    }
    f->y_most = fmin(f->y_most, begins > 0 ? 100 * begins : begins + 100);
    f->y_most = fmax(f->y_most, f->y_least);
}

static void find_left(cli_figure *f)
{
    f->x_least = f->x_most;
    for (int i = 0; i < f->curve_n; i++)
        for (int k = 0; k < f->curve[i].n; k++)
            if (!f->log_x || f->curve[i].x[k] > 0) f->x_least = fmin(f->x_least, f->curve[i].x[k]);
}

dither_status cli_figure_read(char *const *runs, int run_n, const char *x, const char *y, const char *scales,
                              cli_figure *out, dither_error *error)
{
    dither_status status = DITHER_OK;
    const axis *x_axis = find_axis(x_axes, sizeof x_axes / sizeof *x_axes, x);
    const axis *y_axis = find_axis(y_axes, sizeof y_axes / sizeof *y_axes, y);
    const int automatic = strcmp(scales, "auto") == 0;
    *out = (cli_figure){.x_name = x_axis->name, .y_name = y_axis->name, .x_title = x_axis->title, .y_title = y_axis->title};
    out->log_y = automatic ? strcmp(y, "loss") != 0 : strchr(scales, 'y') != NULL;
    for (int i = 0; i < run_n; i++) {
        struct stat facts;
        if (stat(runs[i], &facts) == 0 && S_ISDIR(facts.st_mode)) TRY(add_folder(out, runs[i], x_axis, y_axis, error));
        else TRY(add_trace(out, runs[i], x_axis, y_axis, error));
    }
    if (out->curve_n == 0) FAIL(DITHER_BAD_DATA, "%s: every run was refused: there is nothing to draw", runs[0]);
    for (int i = 0; i < out->curve_n; i++) out->x_most = fmax(out->x_most, out->curve[i].x[out->curve[i].n - 1]);
    find_heights(out);
    out->log_x = automatic ? spreads(out) : strchr(scales, 'x') != NULL;
    if (out->log_x && !(out->x_most > 0)) FAIL(DITHER_BAD_DATA, "no '%s' above 0 for a logarithmic axis; try --log y", x);
    find_left(out);
out:
    return status;
}

void cli_figure_free(cli_figure *figure)
{
    for (int i = 0; i < figure->curve_n; i++) {
        cli_curve *c = &figure->curve[i];
        free(c->label);
        free(c->x);
        free(c->y);
        free(c->low);
        free(c->high);
    }
    free(figure->curve);
    *figure = (cli_figure){0};
}

void cli_figure_write_csv(const cli_figure *figure, FILE *stream)
{
    fprintf(stream, "series,label,runs,%s,%s,low,high\n", figure->x_name, figure->y_name);
    for (int i = 0; i < figure->curve_n; i++) {
        const cli_curve *c = &figure->curve[i];
        for (int k = 0; k < c->n; k++) {
            fprintf(stream, "%d", i + 1);
            cli_csv_put(stream, 0, c->label);
            fprintf(stream, ",%d,%.9g,%.9g,%.9g,%.9g\n", c->runs, c->x[k], c->y[k], c->low[k], c->high[k]);
        }
    }
}
