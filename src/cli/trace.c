/* The trace: one line an evaluation, comma-separated; docs/trace.md says how to read it. */
#include "cli.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>

dither_status cli_trace_begin(cli_output *output, dither_error *error)
{
    errno = 0;
    if (fputs("iteration,epochs,uplink_bits,wire_bytes,seconds,loss,gap,dist2,grad_norm\n", output->stream) < 0)
        return cli_output_failed(output, error);
    return DITHER_OK;
}

dither_status cli_trace_add(cli_output *output, const dither_point *point, dither_error *error)
{
    const double fields[] = {point->epochs, point->uplink_bits, point->wire_bytes, point->seconds,
                             point->loss,   point->gap,         point->dist2,      point->grad_norm};
    errno = 0;
    fprintf(output->stream, "%" PRId64, point->iteration);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        char number[CLI_NUMBER_BYTES];
        fprintf(output->stream, ",%s", isnan(fields[i]) ? "" : cli_format_exact(fields[i], number));
    }
    fputc('\n', output->stream);
    return ferror(output->stream) ? cli_output_failed(output, error) : DITHER_OK;
}
