/* Comma-separated files with a header line: traces and the runs of an ablation. */
#ifndef DITHER_CLI_CSV_H
#define DITHER_CLI_CSV_H

#include "cli.h"

#include <stdint.h>

typedef struct cli_csv {
    char *path;          /* for messages */
    char *text;          /* the file; cells point into it */
    char **cell;         /* (row_n + 1) x column_n; the first row is the header */
    int64_t row_n;       /* lines below the header */
    int column_n;
    int64_t whole_bytes; /* of the file up to the end of its last line that ends: what follows was cut off */
} cli_csv;

/* A whole file, with a NUL after it; freed by the caller. */
dither_status cli_text_read(const char *path, char **out, size_t *out_bytes, dither_error *error);

/* DITHER_IO when it can't be read, DITHER_BAD_DATA with the line when a line has more or fewer cells than the header.
 * A last line without an end is left out. Free in every case. */
dither_status cli_csv_read(const char *path, cli_csv *out, dither_error *error);
void cli_csv_free(cli_csv *csv);

int cli_csv_column(const cli_csv *csv, const char *name); /* -1 if there is none */
const char *cli_csv_text(const cli_csv *csv, int64_t row, int column); /* row from 0 */
/* An empty cell is NaN, "inf" infinity; DITHER_BAD_DATA for what is no number. */
dither_status cli_csv_real(const cli_csv *csv, int64_t row, int column, double *out, dither_error *error);

/* A cell, in quotes where it has to be; `first` in its line or not. */
void cli_csv_put(FILE *stream, int first, const char *text);

#endif
