#include "gnuplot.h"

#include <errno.h>
#include <math.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { MARKS = 8 }; /* on a curve */

/* In single quotes nothing but the quote itself is special to gnuplot. */
static void put_quoted(FILE *script, const char *text)
{
    fputc('\'', script);
    for (; *text; text++) {
        if (*text == '\'') fputc('\'', script);
        fputc((unsigned char)*text < ' ' ? ' ' : *text, script);
    }
    fputc('\'', script);
}

static void write_data(FILE *script, const cli_figure *f)
{
    for (int i = 0; i < f->curve_n; i++) {
        const cli_curve *c = &f->curve[i];
        fprintf(script, "$c%d << EOD\n", i);
        for (int k = 0; k < c->n; k++)
            if (!f->log_x || c->x[k] > 0) fprintf(script, "%.9g %.9g %.9g %.9g\n", c->x[k], c->y[k], c->low[k], c->high[k]);
        fprintf(script, "EOD\n");
    }
}

static void write_axes(FILE *script, const cli_figure *f, const char *title)
{
    fprintf(script, "set xlabel '%s'\nset ylabel '%s' noenhanced\nset format x '%s'\n", f->x_title, f->y_title,
            strcmp(f->x_name, "bits") == 0 || strcmp(f->x_name, "iterations") == 0 ? "%.0s%c" : "%g");
    if (f->log_x) fprintf(script, "set logscale x\n");
    else fprintf(script, "set xrange [0:*]\n");
    if (f->log_y) fprintf(script, "set yrange [*:%g]\n", pow(10, ceil(log10(f->y_most))));
    else if (f->y_most > f->y_least) fprintf(script, "set yrange [*:%g]\n", f->y_most);
    if (f->log_y) fprintf(script, "set logscale y\nset format y '10^{%%T}'\n");
    fprintf(script, "set border 3 lc rgb '#606060'\nset tics nomirror textcolor rgb '#202020'\n"
                    "set grid ytics lt 1 lw 1 lc rgb '#DDDDDD'\n"
                    "set key outside bottom center horizontal noenhanced samplen 4 width 1\nset rmargin 4\n");
    if (!*title) return;
    fprintf(script, "set title ");
    put_quoted(script, title);
    fprintf(script, " noenhanced\n");
}

/* A colour, a dash and a marker each, so that any one of them tells the curves apart. */
static void write_plot(FILE *script, const cli_figure *f)
{
    static const int markers[] = {7, 5, 9, 11, 13, 6, 4, 8, 10, 12};
    const char *between = "plot ";
    for (int i = 0; i < f->curve_n; i++) {
        if (f->curve[i].runs == 1) continue;
        fprintf(script, "%s$c%d using 1:3:4 with filledcurves fc rgb '#D0%s' notitle", between, i,
                cli_colours[i % CLI_COLOURS] + 1);
        between = ", \\\n  ";
    }
    for (int i = 0; i < f->curve_n; i++) {
        const int n = f->curve[i].n;
        fprintf(script, "%s$c%d using 1:2 with linespoints lw 2.5 dt %d pt %d ps 0.9 pi %d lc rgb '%s' title ", between, i,
                i % 5 + 1, markers[i % 10], n / MARKS > 0 ? n / MARKS : 1, cli_colours[i % CLI_COLOURS]);
        put_quoted(script, f->curve[i].label);
        between = ", \\\n  ";
    }
    fputc('\n', script);
}

static void write_script(FILE *script, const cli_figure *f, const char *title, const char *svg, const char *png)
{
    const int height = 540 + 24 * ((f->curve_n + 1) / 2);
    write_data(script, f);
    write_axes(script, f, title);
    fprintf(script, "set terminal svg size 960,%d dynamic font 'DejaVu Sans,Verdana,Arial,sans-serif,17' background rgb "
                    "'white'\nset output ", height);
    put_quoted(script, svg);
    fputc('\n', script);
    write_plot(script, f);
    fprintf(script, "set terminal pngcairo size 960,%d font 'DejaVu Sans,14' background rgb 'white'\nset output ", height);
    put_quoted(script, png);
    fputc('\n', script);
    write_plot(script, f);
    fprintf(script, "unset output\n");
}

/* Runs gnuplot with both files as its input and complaints; 0, or the errno of why it can't be started. */
static int run_gnuplot(FILE *script, FILE *complaints, int *ended)
{
    char *const words[] = {"gnuplot", "-", NULL};
    posix_spawn_file_actions_t actions;
    pid_t pid;
    if (posix_spawn_file_actions_init(&actions) != 0) return ENOMEM;
    posix_spawn_file_actions_adddup2(&actions, fileno(script), STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, fileno(complaints), STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, fileno(complaints), STDERR_FILENO);
    const int reason = posix_spawnp(&pid, words[0], &actions, NULL, words, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (reason) return reason;
    while (waitpid(pid, ended, 0) < 0 && errno == EINTR) {}
    return 0;
}

/* What it said, but for the lines that only show where. */
static dither_status explain(FILE *complaints, int ended, dither_error *error)
{
    char line[256], said[256] = "";
    rewind(complaints);
    while (fgets(line, sizeof line, complaints)) {
        line[strcspn(line, "\n")] = '\0';
        if (line[strspn(line, " \t^")]) snprintf(said, sizeof said, "%s", line);
    }
    return cli_fail(error, DITHER_IO, "gnuplot failed (%d): %s", WIFEXITED(ended) ? WEXITSTATUS(ended) : WTERMSIG(ended), said);
}

static int is_empty(FILE *stream) { return fseek(stream, 0, SEEK_END) != 0 || ftell(stream) == 0; }

dither_status cli_gnuplot_draw(const cli_figure *figure, const char *title, const char *svg_path, const char *png_path,
                               int *missing, dither_error *error)
{
    dither_status status = DITHER_OK;
    cli_output svg = {0}, png = {0};
    int ended = 0;
    FILE *script = tmpfile(), *complaints = tmpfile();
    *missing = 0;
    if (!script || !complaints) FAIL(DITHER_IO, "can't make a temporary file: %s", strerror(errno));
    TRY(cli_output_open(&svg, svg_path, error));
    TRY(cli_output_open(&png, png_path, error));
    if (!svg.temporary || !png.temporary) FAIL(DITHER_USAGE, "pictures go to plain files, not to '%s'", svg_path);
    write_script(script, figure, title, svg.temporary, png.temporary);
    if (fflush(script) != 0 || lseek(fileno(script), 0, SEEK_SET) != 0) FAIL(DITHER_IO, "can't write a temporary file");
    const int reason = run_gnuplot(script, complaints, &ended);
    *missing = reason == ENOENT || (WIFEXITED(ended) && WEXITSTATUS(ended) == 127);
    if (*missing) FAIL(DITHER_IO, "there is no gnuplot");
    if (reason) FAIL(DITHER_IO, "can't start gnuplot: %s", strerror(reason));
    if (ended != 0 || is_empty(svg.stream) || is_empty(png.stream)) TRY(explain(complaints, ended, error));
    TRY(cli_output_commit(&svg, error));
    TRY(cli_output_commit(&png, error));
out:
    cli_output_close(&svg);
    cli_output_close(&png);
    if (script) fclose(script);
    if (complaints) fclose(complaints);
    return status;
}
