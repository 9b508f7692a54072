/* What the parts of `dither bench` share: their options, and the table and the JSON file that they write. */
#ifndef DITHER_CLI_BENCH_H
#define DITHER_CLI_BENCH_H

#include "cli.h"
#include "json.h"

extern const cli_command cli_bench_codec, cli_bench_collective, cli_bench_iteration, cli_bench_verdict;

/* Rows of cli_command.flags that several parts have. */
#define CLI_BENCH_SIZES(begin, end) \
    {'b', "begin", "SIZE", begin, "first size: bytes of the uncompressed vector in float32; K, M and G are 2^10, 2^20, 2^30"}, \
    {'e', "end", "SIZE", end, "last size"}, \
    {'f', "factor", "F", "2", "from one size to the next"}
#define CLI_BENCH_REPEATS(repeats, warmup) \
    {'n', "repeats", "N", repeats, "measurements of each row, 1 to 1000; their median counts"}, \
    {'w', "warmup", "N", warmup, "measurements before them that don't count, 0 to 1000"}
#define CLI_BENCH_CHECK {'c', "check", "0|1", "1", "compare results with what they must be"}
#define CLI_BENCH_OUTPUT \
    {'J', "json", "FILE", "", "write the rows as JSON (docs/bench.md)"}, \
    {0, "force", NULL, "", "write FILE even if it exists"}

#define CLI_BENCH_NETWORK \
    {0, "network", "NETWORK", "", "predict seconds on BANDWIDTH,LATENCY[,TOPOLOGY], such as 100Mbit,1ms,ring (or tree, " \
     "alltoall, server); on a named link (docs/bench.md); or on all of those"}, \
    {0, "to-target", "K", "", "iterations that a measured run took, to predict the time to its target"}

/* The values of those rows that the command has, into `out`. */
dither_status cli_bench_read(const cli_command *command, const cli_arguments *arguments, dither_bench *out,
                             dither_error *error);
/* "64K" -> 65536 */
dither_status cli_bench_size(const char *what, const char *text, int64_t *out, dither_error *error);
dither_status cli_bench_integer(const char *what, const char *text, int64_t min, int64_t max, int64_t *out,
                                dither_error *error);
dither_status cli_bench_real(const char *what, const char *text, double min, double max, double *out,
                             dither_error *error);
/* What --network asks for. */
typedef struct cli_networks {
    dither_network list[16];
    int count;
} cli_networks;
dither_status cli_bench_networks(const char *text, cli_networks *out, dither_error *error);
/* "12.3 ms", "2 min 5 s" */
const char *cli_bench_show_seconds(double seconds, char out[CLI_NUMBER_BYTES]);
/* The network's line above a prediction: name, bandwidth, latency, topology. */
void cli_bench_print_network(const dither_network *network);
void cli_bench_write_network(cli_json *json, const dither_network *network);
/* "64 K", for a table */
const char *cli_bench_show_size(int64_t bytes, char out[CLI_NUMBER_BYTES]);

/* The JSON file, if one was asked for: opened before the work, whole or absent after it. */
typedef struct cli_bench_file {
    cli_output output;
    cli_json json; /* json.stream NULL: none was asked for */
} cli_bench_file;

/* Writes what all have in common and opens the list "rows". */
dither_status cli_bench_begin(cli_bench_file *file, const cli_command *command, const cli_arguments *arguments,
                              dither_error *error);
dither_status cli_bench_end(cli_bench_file *file, dither_error *error);
void cli_bench_close(cli_bench_file *file);

#endif
