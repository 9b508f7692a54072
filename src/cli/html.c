#include "html.h"

#include "json.h"

#include <math.h>
#include <string.h>

/* The drawing's own units; the page scales it. */
enum { WIDTH = 560, HEIGHT = 360, LEFT = 62, RIGHT = 16, TOP = 12, BOTTOM = 46, MARKS = 7, BAR = 24 };

static const char *const dashes[] = {"", "9 4", "2 4", "12 4 2 4", "5 3"};
enum { DASHES = sizeof dashes / sizeof *dashes };

void cli_html_text(FILE *page, const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p;) {
        const int length = cli_utf8_length(p);
        if (*p == '<') fputs("&lt;", page);
        else if (*p == '>') fputs("&gt;", page);
        else if (*p == '&') fputs("&amp;", page);
        else if (*p == '"') fputs("&quot;", page);
        else if (length == 0 || (*p < ' ' && *p != '\n')) fputs("&#xFFFD;", page);
        else fwrite(p, 1, (size_t)length, page);
        p += length ? length : 1;
    }
}

/* ---- coordinates ---- */

typedef struct scale {
    int is_log;
    double low, high; /* in the axis' own terms: decades when logarithmic */
    double from, to;  /* where they lie in the drawing */
} scale;

static double place(const scale *s, double value)
{
    const double at = s->is_log ? log10(value) : value;
    const double share = s->high > s->low ? (at - s->low) / (s->high - s->low) : 0.5;
    return s->from + (s->to - s->from) * fmin(fmax(share, 0), 1);
}

/* 1, 2 or 5 times a power of ten, so that there are at most about `most` steps. */
static double nice_step(double range, int most)
{
    const double raw = range / most, power = pow(10, floor(log10(raw)));
    const double head = raw / power;
    return (head <= 1 ? 1 : head <= 2 ? 2 : head <= 5 ? 5 : 10) * power;
}

static scale scale_of(int is_log, double least, double most, double from, double to)
{
    scale s = {.is_log = is_log, .low = least, .high = most, .from = from, .to = to};
    if (is_log) {
        s.low = floor(log10(least));
        s.high = ceil(log10(most));
        if (s.high == s.low) s.high++;
    } else if (!(most > least)) {
        s.low -= 0.5, s.high += 0.5;
    }
    return s;
}

static void write_tick(FILE *page, const scale *s, double value, int is_x)
{
    char label[CLI_NUMBER_BYTES];
    const double at = place(s, s->is_log ? pow(10, value) : value);
    if (s->is_log) snprintf(label, sizeof label, "1e%.0f", value);
    else if (is_x) cli_format_quantity(value, "", label);
    else snprintf(label, sizeof label, "%.3g", value);
    if (is_x)
        fprintf(page, "<path class=\"tick\" d=\"M%.1f %dv5\"/><text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", at,
                HEIGHT - BOTTOM, at, HEIGHT - BOTTOM + 18, label);
    else
        fprintf(page, "<path class=\"grid\" d=\"M%d %.1fH%d\"/><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n", LEFT, at,
                WIDTH - RIGHT, LEFT - 6, at + 4, label);
}

static void write_ticks(FILE *page, const scale *s, int is_x)
{
    const double step = s->is_log ? ceil((s->high - s->low) / 7) : nice_step(s->high - s->low, 6);
    for (double v = ceil(s->low / step - 1e-9) * step; v <= s->high + 1e-9 * step; v += step)
        write_tick(page, s, fabs(v) < 1e-9 * step ? 0 : v, is_x);
}

/* ---- curves ---- */

static int is_drawn(const cli_figure *f, const cli_curve *c, int k) { return !f->log_x || c->x[k] > 0; }

static void write_band(FILE *page, const cli_figure *f, const cli_curve *c, const scale *x, const scale *y, const char *colour)
{
    const char *letter = "M";
    fprintf(page, "<path class=\"band\" fill=\"%s\" d=\"", colour);
    for (int k = 0; k < c->n; k++)
        if (is_drawn(f, c, k)) fprintf(page, "%s%.1f %.1f", letter, place(x, c->x[k]), place(y, c->low[k])), letter = "L";
    for (int k = c->n - 1; k >= 0; k--)
        if (is_drawn(f, c, k)) fprintf(page, "L%.1f %.1f", place(x, c->x[k]), place(y, c->high[k]));
    fprintf(page, "Z\"/>\n");
}

/* A square, a diamond, a triangle or a circle */
static void write_marker(FILE *page, int shape, double x, double y, const char *colour)
{
    static const char *const paths[] = {"m-4-4h8v8h-8z", "m0-5l5 5l-5 5l-5-5z", "m0-5l5 9h-10z", "m0 5l5-9h-10z"};
    if (shape % 5 == 0) fprintf(page, "<circle class=\"mark\" cx=\"%.1f\" cy=\"%.1f\" r=\"4\" fill=\"%s\"/>\n", x, y, colour);
    else fprintf(page, "<path class=\"mark\" d=\"M%.1f %.1f%s\" fill=\"%s\"/>\n", x, y, paths[shape % 5 - 1], colour);
}

static void write_curve(FILE *page, const cli_figure *f, int index, const scale *x, const scale *y)
{
    const cli_curve *c = &f->curve[index];
    const char *colour = cli_colours[index % CLI_COLOURS], *letter = "M";
    const int step = c->n / MARKS > 0 ? c->n / MARKS : 1;
    if (c->runs > 1) write_band(page, f, c, x, y, colour);
    fprintf(page, "<path class=\"curve\" stroke=\"%s\" stroke-dasharray=\"%s\" d=\"", colour, dashes[index % DASHES]);
    for (int k = 0; k < c->n; k++)
        if (is_drawn(f, c, k)) fprintf(page, "%s%.1f %.1f", letter, place(x, c->x[k]), place(y, c->y[k])), letter = "L";
    fprintf(page, "\"/>\n");
    for (int k = c->n - 1; k >= 0; k -= step)
        if (is_drawn(f, c, k)) write_marker(page, index, place(x, c->x[k]), place(y, c->y[k]), colour);
}

static void write_legend(FILE *page, const cli_figure *f)
{
    fputs("<ul class=\"legend\">\n", page);
    for (int i = 0; i < f->curve_n; i++) {
        const char *colour = cli_colours[i % CLI_COLOURS];
        fprintf(page, "<li><svg class=\"key\" viewBox=\"0 0 40 12\" aria-hidden=\"true\"><path class=\"curve\" stroke=\"%s\" "
                      "stroke-dasharray=\"%s\" d=\"M1 6H39\"/>", colour, dashes[i % DASHES]);
        write_marker(page, i, 20, 6, colour);
        fputs("</svg>", page);
        cli_html_text(page, f->curve[i].label);
        fputs("</li>\n", page);
    }
    fputs("</ul>\n", page);
}

void cli_html_figure(FILE *page, const cli_figure *f, const char *caption)
{
    const scale x = scale_of(f->log_x, f->log_x ? f->x_least : 0, f->x_most, LEFT, WIDTH - RIGHT);
    const scale y = scale_of(f->log_y, f->y_least, f->y_most, HEIGHT - BOTTOM, TOP);
    fprintf(page, "<figure>\n<svg class=\"figure\" viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"", WIDTH, HEIGHT);
    cli_html_text(page, caption);
    fputs("\">\n", page);
    write_ticks(page, &y, 0);
    write_ticks(page, &x, 1);
    fprintf(page, "<path class=\"tick\" d=\"M%d %dV%dH%d\"/>\n", LEFT, TOP, HEIGHT - BOTTOM, WIDTH - RIGHT);
    fprintf(page, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, f->x_title);
    fprintf(page, "<text transform=\"translate(14 %d) rotate(-90)\" text-anchor=\"middle\">%s</text>\n", (TOP + HEIGHT - BOTTOM) / 2,
            f->y_title);
    for (int i = 0; i < f->curve_n; i++) write_curve(page, f, i, &x, &y);
    fputs("</svg>\n", page);
    write_legend(page, f);
    fputs("<figcaption>", page);
    cli_html_text(page, caption);
    fputs("</figcaption>\n</figure>\n", page);
}

void cli_html_bar(FILE *page, const cli_share *share, int n)
{
    double at = 0, whole = 0; /* a part that is nearly nothing may have been measured as less */
    for (int i = 0; i < n; i++) whole += fmax(share[i].share, 0);
    fprintf(page, "<svg class=\"figure\" viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"shares of an iteration's time\">\n", WIDTH, BAR);
    for (int i = 0; i < n; i++) {
        const double part = share[i].share / whole;
        if (!(part > 0)) continue;
        fprintf(page, "<rect class=\"mark\" x=\"%.1f\" y=\"0\" width=\"%.1f\" height=\"%d\" fill=\"%s\"><title>", at * WIDTH,
                part * WIDTH, BAR, cli_colours[i % CLI_COLOURS]);
        cli_html_text(page, share[i].name);
        fputs("</title></rect>\n", page);
        at += part;
    }
    fputs("</svg>\n<ul class=\"legend\">\n", page);
    for (int i = 0; i < n; i++) {
        fprintf(page, "<li><svg class=\"key\" viewBox=\"0 0 40 12\" aria-hidden=\"true\"><rect width=\"40\" height=\"12\" fill=\"%s\"/></svg>",
                cli_colours[i % CLI_COLOURS]);
        cli_html_text(page, share[i].name);
        fprintf(page, " %.1f %%</li>\n", 100 * share[i].share);
    }
    fputs("</ul>\n", page);
}
