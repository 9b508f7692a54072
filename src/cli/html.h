/* Pieces of an HTML page that needs nothing beside itself. */
#ifndef DITHER_CLI_HTML_H
#define DITHER_CLI_HTML_H

#include "figure.h"

/* Text with what HTML reserves escaped; bytes that are not UTF-8 become U+FFFD. */
void cli_html_text(FILE *page, const char *text);

/* <figure> with an inline <svg> and a legend in HTML, so that it wraps on a narrow screen. */
void cli_html_figure(FILE *page, const cli_figure *figure, const char *caption);

/* One stacked bar, of parts that sum to 1. */
typedef struct cli_share {
    const char *name;
    double share;
} cli_share;
void cli_html_bar(FILE *page, const cli_share *share, int n);

#endif
