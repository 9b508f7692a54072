/* Pictures through gnuplot. */
#ifndef DITHER_CLI_GNUPLOT_H
#define DITHER_CLI_GNUPLOT_H

#include "figure.h"

/* Draws the figure into the two files, both or none. DITHER_IO when there is no gnuplot (*missing is set) or it fails. */
dither_status cli_gnuplot_draw(const cli_figure *figure, const char *title, const char *svg_path, const char *png_path,
                               int *missing, dither_error *error);

#endif
