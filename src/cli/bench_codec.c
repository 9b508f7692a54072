/* dither bench codec: every codec and wire over sizes. */
#include "bench.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

typedef struct table {
    cli_bench_file file;
    int rows, wrong;
} table;

static void print_head(void)
{
    printf("#                                                      |       encode |       decode |  decode+step |    bits/ | "
           " ||Q(x)-x||^2 / ||x||^2\n"
           "#  size     count codec          wire         p     s  |   GB/s share |   GB/s share |   GB/s share |    coord | "
           "measured expected    omega  #wrong\n");
}

static void print_rate(double bytes, double seconds, double copy)
{
    if (isfinite(seconds)) printf(" | %6.2f %5.2f", 1e-9 * bytes / seconds, bytes / seconds / copy);
    else printf(" |      -     -");
}

static void print_row(const dither_codec_speed *r)
{
    char size[CLI_NUMBER_BYTES], block[40] = "";
    cli_bench_show_size(4 * r->d, size);
    if (r->block && r->block < r->d) snprintf(block, sizeof block, "  block %" PRId64, r->block);
    printf("%7s %9" PRId64 " %-14s %-12s %-3s %5" PRId64 " ", size, r->d, r->codec, r->wire, r->norm, r->levels);
    print_rate(r->encode_bytes, r->encode_seconds, r->copy_rate);
    print_rate(r->decode_bytes, r->decode_seconds, r->copy_rate);
    print_rate(r->step_bytes, r->step_seconds, r->copy_rate);
    printf(" | %8.4f | %8.3g %8.3g %8.3g %7d%s\n", r->bits, r->error, r->expected, r->omega, r->wrong, block);
}

static void write_row(cli_json *json, const dither_codec_speed *r)
{
    cli_json_open(json, NULL);
    cli_json_string(json, "codec", r->codec);
    cli_json_string(json, "wire", r->wire);
    cli_json_string(json, "norm", *r->norm ? r->norm : NULL);
    cli_json_integer(json, "count", r->d);
    cli_json_integer(json, "size_bytes", 4 * r->d);
    cli_json_integer(json, "levels", r->levels);
    cli_json_integer(json, "block", r->block);
    cli_json_integer(json, "keep", r->keep);
    cli_json_real(json, "copy_bytes_per_second", r->copy_rate);
    const struct {
        const char *seconds, *bytes, *share;
        double s, b;
    } passes[] = {{"encode_seconds", "encode_bytes", "encode_share", r->encode_seconds, r->encode_bytes},
                  {"decode_seconds", "decode_bytes", "decode_share", r->decode_seconds, r->decode_bytes},
                  {"step_seconds", "step_bytes", "step_share", r->step_seconds, r->step_bytes}};
    for (size_t i = 0; i < sizeof passes / sizeof *passes; i++) {
        cli_json_real(json, passes[i].seconds, passes[i].s);
        cli_json_real(json, passes[i].bytes, passes[i].b);
        cli_json_real(json, passes[i].share, passes[i].b / passes[i].s / r->copy_rate);
    }
    cli_json_real(json, "bits_per_coordinate", r->bits);
    cli_json_real(json, "bits_formula", r->bits_formula);
    cli_json_real(json, "relative_error", r->error);
    cli_json_real(json, "expected_error", r->expected);
    cli_json_real(json, "error_deviation", r->deviation);
    cli_json_real(json, "omega", r->omega);
    cli_json_integer(json, "wrong", r->wrong);
    cli_json_close(json);
}

static dither_status see(void *user, const dither_codec_speed *row)
{
    table *t = user;
    if (t->rows++ == 0) print_head();
    print_row(row);
    fflush(stdout);
    t->wrong += row->wrong;
    if (t->file.json.stream) write_row(&t->file.json, row);
    return DITHER_OK;
}

static dither_status run_codec(cli_arguments *arguments, dither_error *error)
{
    dither_status status = DITHER_OK;
    table t = {0};
    dither_bench bench;
    cli_interrupt_install();
    TRY(cli_bench_read(&cli_bench_codec, arguments, &bench, error));
    TRY(cli_bench_begin(&t.file, &cli_bench_codec, arguments, error));
    TRY(dither_bench_codec(&bench, see, &t, error));
    printf("# x: independent normal coordinates (synthetic). Share: of the bandwidth of copies made between the measurements.\n"
           "# Out of bounds: %d%s\n", t.wrong, bench.check ? t.wrong ? "" : " OK" : " (not checked)");
    TRY(cli_bench_end(&t.file, error));
    if (t.wrong) FAIL(DITHER_INTERNAL, "%d of %d rows have an error that theory rules out", t.wrong, t.rows);
out:
    cli_bench_close(&t.file);
    return status;
}

static const cli_flag flags[] = {
    CLI_BENCH_SIZES("4M", ""),
    CLI_BENCH_REPEATS("7", "1"),
    CLI_BENCH_CHECK,
    CLI_BENCH_OUTPUT,
    {0, "codec", "LIST", "all", "codecs, with commas between"},
    {0, "wire", "LIST", "all", "wires; those that can't carry a codec are left out"},
    {0, "levels", "LIST", "1,7,127", "levels s; kbit takes the next power of two"},
    {0, "norm", "LIST", "inf", "norms p that scale a block: 1, 2, inf"},
    {0, "block", "LIST", "0", "coordinates that share a norm, 0 for the whole vector"},
    {0, "precision", "NAME", "f32", "floating-point type of x, h and the gradients: f32, f64"},
    {0, "device", "NAME", "auto", "auto, cpu, cuda"},
    {0, "threads", "T", "1", "CPU threads, of the copies too"},
    {0},
};

const cli_command cli_bench_codec = {
    .name = "bench codec",
    .operands = "",
    .summary = "encode, decode and step of codecs and wires",
    .about = "Measures one worker's fused encode, the decode of a message, and the decode with the step, as GB/s of what "
             "has to move and as a share of this machine's copy bandwidth, for every codec, wire, norm, number of levels "
             "and block that go together; and compares size and error of a message with the formulas. Exit code 1 if "
             "an error is one that theory rules out.",
    .example = "-b 1K -e 256M -f 2 --codec dither --wire fixed,rans --levels 1,7",
    .run = run_codec,
    .flags = flags,
};
