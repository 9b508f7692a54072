/* Text, and numbers as text. */
#include "cli.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>

char *cli_text(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = length < 0 ? NULL : malloc((size_t)length + 1);
    va_start(args, format);
    if (text) vsnprintf(text, (size_t)length + 1, format, args);
    va_end(args);
    return text;
}

const char *cli_format_exact(double value, char out[CLI_NUMBER_BYTES])
{
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(out, CLI_NUMBER_BYTES, "%.*g", digits, value);
        if (strtod(out, NULL) == value) break;
    }
    return out;
}

const char *cli_format_quantity(double value, const char *unit, char out[CLI_NUMBER_BYTES])
{
    static const char *const prefixes[] = {"", "k", "M", "G", "T", "P", "E"};
    size_t prefix = 0;
    while (value >= 999.5 && prefix + 1 < sizeof prefixes / sizeof *prefixes) value /= 1000, prefix++;
    if (prefix == 0) snprintf(out, CLI_NUMBER_BYTES, "%.4g %s", value, unit);
    else snprintf(out, CLI_NUMBER_BYTES, "%.3g %s%s", value, prefixes[prefix], unit);
    return out;
}

const char *cli_format_duration(double seconds, char out[CLI_NUMBER_BYTES])
{
    if (!(seconds < 1e10)) {
        snprintf(out, CLI_NUMBER_BYTES, "%s", isnan(seconds) ? "?" : "very long");
    } else if (seconds < 99.5) {
        snprintf(out, CLI_NUMBER_BYTES, seconds < 0.1 ? "%.4f s" : seconds < 9.95 ? "%.2f s" : "%.1f s", seconds);
    } else {
        const long minutes = (long)(seconds / 60), rest = (long)seconds - 60 * minutes;
        if (minutes < 100) snprintf(out, CLI_NUMBER_BYTES, "%ld min %ld s", minutes, rest);
        else snprintf(out, CLI_NUMBER_BYTES, "%ld h %ld min", minutes / 60, minutes % 60);
    }
    return out;
}
