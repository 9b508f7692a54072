#include "csv.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

dither_status cli_text_read(const char *path, char **out, size_t *out_n, dither_error *error)
{
    dither_status status = DITHER_OK;
    FILE *stream = fopen(path, "re");
    size_t room = 65536, used = 0;
    char *text = NULL;
    if (!stream) FAIL(DITHER_IO, "can't open '%s': %s", path, strerror(errno));
    for (;;) {
        char *larger = realloc(text, room + 1);
        if (!larger) FAIL(DITHER_INTERNAL, "out of memory: '%s' has more than %zu bytes", path, used);
        text = larger;
        used += fread(text + used, 1, room - used, stream);
        if (used < room) break;
        room *= 2;
    }
    if (ferror(stream)) FAIL(DITHER_IO, "can't read '%s': %s", path, strerror(errno));
    text[used] = '\0';
    *out = text;
    *out_n = used;
    text = NULL;
out:
    if (stream) fclose(stream);
    free(text);
    return status;
}

/* Cut one cell at `p` out of its line, quotes removed in place. Returns what follows it; *ends: the line does. */
static char *cut_cell(char *p, char **cell, int *ends)
{
    char *to = p;
    *cell = p;
    if (*p == '"') {
        *cell = to = ++p;
        while (*p && (*p != '"' || p[1] == '"')) {
            if (*p == '"') p++;
            *to++ = *p++;
        }
        if (*p == '"') p++;
        p += strcspn(p, ",\n");
    } else {
        p += strcspn(p, ",\n");
        to = p;
    }
    *ends = *p != ',';
    if (*p) p++;
    if (to > *cell && to[-1] == '\r') to--;
    *to = '\0';
    return p;
}

/* Every line of the text into cells; the header's decide how many a line has. */
static dither_status cut_lines(cli_csv *csv, int64_t most, dither_error *error)
{
    dither_status status = DITHER_OK;
    int64_t used = 0, line = 0;
    for (char *p = csv->text; *p; line++) {
        int64_t cells = 0;
        for (int ends = 0; !ends; cells++) {
            if (used == most) FAIL(DITHER_BAD_DATA, "%s:%" PRId64 ": an unfinished quote", csv->path, line + 1);
            p = cut_cell(p, &csv->cell[used++], &ends);
        }
        if (line == 0) csv->column_n = (int)cells;
        if (cells != csv->column_n)
            FAIL(DITHER_BAD_DATA, "%s:%" PRId64 ": %" PRId64 " cells; the header has %d", csv->path, line + 1, cells,
                 csv->column_n);
    }
    csv->row_n = line > 0 ? line - 1 : 0;
out:
    return status;
}

dither_status cli_csv_read(const char *path, cli_csv *out, dither_error *error)
{
    dither_status status = DITHER_OK;
    size_t text_n = 0;
    int64_t most = 1;
    *out = (cli_csv){.path = strdup(path)};
    if (!out->path) FAIL(DITHER_INTERNAL, "out of memory");
    TRY(cli_text_read(path, &out->text, &text_n, error));
    if (memchr(out->text, '\0', text_n)) FAIL(DITHER_BAD_DATA, "%s: not a text file", path);
    while (text_n && out->text[text_n - 1] != '\n') text_n--;
    out->text[text_n] = '\0';
    out->whole_bytes = (int64_t)text_n;
    for (size_t i = 0; i < text_n; i++) most += out->text[i] == ',' || out->text[i] == '\n';
    out->cell = calloc((size_t)most, sizeof *out->cell);
    if (!out->cell) FAIL(DITHER_INTERNAL, "out of memory: '%s' has %" PRId64 " cells", path, most);
    TRY(cut_lines(out, most, error));
out:
    return status;
}

void cli_csv_free(cli_csv *csv)
{
    free(csv->path);
    free(csv->text);
    free(csv->cell);
    *csv = (cli_csv){0};
}

int cli_csv_column(const cli_csv *csv, const char *name)
{
    for (int i = 0; i < csv->column_n; i++)
        if (strcmp(csv->cell[i], name) == 0) return i;
    return -1;
}

const char *cli_csv_text(const cli_csv *csv, int64_t row, int column)
{
    return csv->cell[(row + 1) * csv->column_n + column];
}

dither_status cli_csv_real(const cli_csv *csv, int64_t row, int column, double *out, dither_error *error)
{
    const char *text = cli_csv_text(csv, row, column);
    char *end;
    *out = *text ? strtod(text, &end) : NAN;
    if (!*text || (end != text && !*end)) return DITHER_OK;
    return cli_fail(error, DITHER_BAD_DATA, "%s:%" PRId64 ": %s: '%.80s' is not a number", csv->path, row + 2,
                    csv->cell[column], text);
}

void cli_csv_put(FILE *stream, int first, const char *text)
{
    if (!first) fputc(',', stream);
    if (!text[strcspn(text, ",\"\r\n")]) {
        fputs(text, stream);
        return;
    }
    fputc('"', stream);
    for (; *text; text++) {
        if (*text == '"') fputc('"', stream);
        fputc(*text == '\n' || *text == '\r' ? ' ' : *text, stream);
    }
    fputc('"', stream);
}
