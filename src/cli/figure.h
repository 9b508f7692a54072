/* The curves of a figure, from traces and from the folders of ablations. */
#ifndef DITHER_CLI_FIGURE_H
#define DITHER_CLI_FIGURE_H

#include "ablation.h"

/* One curve. Over several seeds `y` is the median, `low` and `high` the extremes. */
typedef struct cli_curve {
    char *label;
    int n; /* points */
    int runs; /* seeds */
    double *x, *y, *low, *high; /* n each */
} cli_curve;

typedef struct cli_figure {
    const char *x_name, *y_name; /* "bits", "gap": as in the options */
    const char *x_title, *y_title;
    int log_x, log_y;
    cli_curve *curve;
    int curve_n;
    double x_least, x_most; /* of all points; x_least above 0 when log_x */
    double y_least, y_most; /* of all points, but not far above where the curves begin: one diverges to 1e300 */
} cli_figure;

/* `scales`: "auto", "none", "x", "y" or "xy" say which axes are logarithmic. auto: y but for the loss, and x when the
 * curves' ends are far apart. DITHER_BAD_DATA for a trace without points, or without such a column. */
dither_status cli_figure_read(char *const *runs, int run_n, const char *x, const char *y, const char *scales,
                              cli_figure *out, dither_error *error);
void cli_figure_free(cli_figure *figure);

/* series,label,X,Y,low,high */
void cli_figure_write_csv(const cli_figure *figure, FILE *stream);

/* Colours that people who see few of them can tell apart (Okabe and Ito, 2008), without the yellow: "#0072B2". */
enum { CLI_COLOURS = 7 };
extern const char *const cli_colours[CLI_COLOURS];

#endif
