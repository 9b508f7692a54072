/* Error messages of the command. */
#include "cli.h"

#include <stdarg.h>

dither_status cli_fail(dither_error *error, dither_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    error->status = status;
    vsnprintf(error->message, sizeof error->message, format, args);
    va_end(args);
    return status;
}

void cli_print_error(const dither_error *error, const char *command)
{
    char line[sizeof error->message];
    snprintf(line, sizeof line, "%s", error->message);
    for (char *p = line; *p; p++) /* names from outside may hold line ends and terminal codes */
        if ((unsigned char)*p < ' ' || *p == 0x7f) *p = '?';
    if (command && error->status == DITHER_USAGE)
        fprintf(stderr, "dither: %s (see dither %s%s--help)\n", line, command, *command ? " " : "");
    else
        fprintf(stderr, "dither: %s\n", line);
}
