#include "read_libsvm.h"

#include "parse_number.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define INDEX_DIGITS 10 /* of INT32_MAX */

typedef struct reader {
    const char *path;
    const char *at;   /* next byte to read; a line is never left behind half read */
    const char *end;  /* *end is a newline */
    const char *line; /* start of the present line */
    int64_t line_number;
    int64_t limit; /* largest index allowed */
    int64_t largest; /* index seen */
    struct dither_data *data; /* rows and nonzeros count what is filled so far */
    dither_error *error;
} reader;

static inline unsigned digit_of(char c) { return (unsigned)(unsigned char)c - '0'; }
static inline int is_blank(char c) { return c == ' ' || c == '\t'; }
static inline int at_line_end(const char *p) { return *p == '\n' || *p == '#' || (*p == '\r' && p[1] == '\n'); }

/* ---- what is wrong: the fast path only finds out that something is, and where the item begins ---- */

__attribute__((format(printf, 3, 4), cold)) static dither_status fault(const reader *r, const char *at,
                                                                       const char *format, ...)
{
    char what[400];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    return dither_fail(r->error, DITHER_BAD_DATA, "%s:%" PRId64 ":%" PRId64 ": %s", r->path, r->line_number,
                       (int64_t)(at - r->line) + 1, what);
}

/* The byte at `at` isn't what may stand there: `wanted`. */
static dither_status stray_fault(const reader *r, const char *at, const char *wanted)
{
    const unsigned char c = (unsigned char)*at;
    if (c == '\n' || at_line_end(at)) return fault(r, at, "the line ends; %s", wanted);
    if (c == '\r') return fault(r, at, "carriage return within a line; end lines in LF or CRLF");
    if (c == 0) return fault(r, at, "NUL byte: this isn't text; %s", wanted);
    if (c == ',' || c == ';') return fault(r, at, "'%c' as a separator; separate by blanks", c);
    if (c < 32 || c > 126) return fault(r, at, "byte 0x%02X; %s", c, wanted);
    return fault(r, at, "unexpected '%c'; %s", c, wanted);
}

/* `what` is "label" or "value", `kind` is not OK. */
static dither_status number_fault(const reader *r, const char *at, dither_number kind, const char *what)
{
    switch (kind) {
    case DITHER_NUMBER_NAN: return fault(r, at, "the %s is NaN; it must be a finite number", what);
    case DITHER_NUMBER_INFINITE: return fault(r, at, "the %s is infinite; it must be a finite number", what);
    case DITHER_NUMBER_OVERFLOW: return fault(r, at, "the %s is too large; a double ends at 1.8e308", what);
    case DITHER_NUMBER_HEX: return fault(r, at, "hexadecimal %s; write it in decimal", what);
    case DITHER_NUMBER_EXPONENT: return fault(r, at, "the %s has an exponent without digits; write it as in 1e5", what);
    default: return stray_fault(r, at, *what == 'l' ? "a row starts with its label, a number"
                                                    : "a number belongs here");
    }
}

static dither_status label_fault(const reader *r, const char *at)
{
    const char *p = at;
    double ignored;
    const dither_number kind = dither_number_parse(&p, &ignored);
    if (*at == ':' || (kind == DITHER_NUMBER_OK && *p == ':'))
        return fault(r, at, "the row has no label; write label index:value ...");
    if (kind != DITHER_NUMBER_OK) return number_fault(r, at, kind, "label");
    return stray_fault(r, p, "a blank must follow the label");
}

/* `digits` is where the index starts, `p` the first byte behind it. */
static dither_status index_fault(const reader *r, const char *digits, const char *p, int64_t previous)
{
    int64_t index = 0;
    for (const char *d = digits; d < p && index <= INT32_MAX; d++) index = 10 * index + digit_of(*d);
    const int shown = (int)(p - digits < 40 ? p - digits : 40);
    if (p - digits > INDEX_DIGITS && index <= INT32_MAX)
        return fault(r, digits, "index %.*s has more than %d digits; write it without leading zeros", shown, digits,
                     INDEX_DIGITS);
    if (index > INT32_MAX)
        return fault(r, digits, "index %.*s is too large; indices are at most %d", shown, digits, INT32_MAX);
    if (index == 0) return fault(r, digits, "index 0; indices start from 1");
    if (is_blank(*p)) {
        while (is_blank(*p)) p++;
        if (*p == ':') return fault(r, p, "blank before ':'; write index:value without blanks");
    }
    if (*p != ':' && (is_blank(*p) || at_line_end(p) || is_blank(p[-1])))
        return fault(r, digits, "no ':' after index %.*s; write index:value", shown, digits);
    if (*p != ':') return stray_fault(r, p, "an index has digits only, and ':' follows it");
    if (index == previous) return fault(r, digits, "index %" PRId64 " twice; write it once in a row", index);
    if (index < previous)
        return fault(r, digits, "index %" PRId64 " after %" PRId64 "; sort a row by ascending index", index, previous);
    return fault(r, digits, "index %" PRId64 " is larger than the number of features, %" PRId64
                 "; correct it or raise --features", index, r->limit);
}

/* The item at `at`, within a row behind an entry with index `previous`, is no index:value. */
static dither_status entry_fault(const reader *r, const char *at, int64_t previous)
{
    const char *p = at;
    if (!is_blank(at[-1])) return stray_fault(r, at, "a blank must follow the value");
    if (*p == ':') return fault(r, p, "no index before ':'; write index:value");
    if (*p == '-' && digit_of(p[1]) <= 9) return fault(r, p, "negative index; indices start from 1");
    if (!strncmp(p, "qid:", 4)) return fault(r, p, "qid: is not supported; take the query ids out");
    if (digit_of(*p) > 9) return stray_fault(r, p, "index:value belongs here");
    int64_t index = 0;
    for (; digit_of(*p) <= 9; p++)
        if (index <= INT32_MAX) index = 10 * index + digit_of(*p);
    if (*p != ':' || p - at > INDEX_DIGITS || index <= previous || index > r->limit)
        return index_fault(r, at, p, previous);
    const char *const colon = p++;
    double ignored;
    if (is_blank(*p)) {
        while (is_blank(*p)) p++;
        const char *next = p;
        if (dither_number_parse(&next, &ignored) == DITHER_NUMBER_OK && *next != ':')
            return fault(r, colon + 1, "blank after ':'; write index:value without blanks");
        p = colon + 1;
    }
    if (is_blank(*p) || at_line_end(p))
        return fault(r, p, "no value after index %" PRId64 "; write %" PRId64 ":VALUE", index, index);
    return number_fault(r, p, dither_number_parse(&p, &ignored), "value");
}

/* ---- the fast path ---- */

/* The entries of a row, from r->at, which is behind the label, up to the end of the line. */
static dither_status read_entries(reader *r)
{
    const char *p = r->at, *item;
    int32_t *const column = r->data->column;
    double *const value = r->data->value;
    const int64_t limit = r->limit;
    int64_t previous = 0, k = r->data->nonzeros;
    for (;;) {
        while (is_blank(*p)) p++;
        item = p;
        int64_t index = digit_of(*p);
        if (index > 9) break;
        for (unsigned digit; p++, (digit = digit_of(*p)) <= 9;) index = (int64_t)((uint64_t)index * 10 + digit);
        if (*p != ':' || p - item > INDEX_DIGITS || index <= previous || index > limit) goto odd;
        p++;
        double v = digit_of(*p);
        if (v <= 9 && is_blank(p[1])) /* most values are one digit */
            p++;
        else if (dither_number_parse(&p, &v) != DITHER_NUMBER_OK)
            goto odd;
        column[k] = (int32_t)(index - 1);
        value[k] = v;
        k += v != 0;
        previous = index;
    }
    /* directly behind a value stands a blank or the line's end: what else there is was no part of the number */
    if (!at_line_end(p)) goto odd;
    if (previous > r->largest) r->largest = previous;
    r->data->nonzeros = k;
    r->at = p;
    return DITHER_OK;
odd:
    return entry_fault(r, item, previous);
}

static dither_status read_row(reader *r)
{
    struct dither_data *const data = r->data;
    const char *const start = r->at;
    double label;
    if (dither_number_parse(&r->at, &label) != DITHER_NUMBER_OK || !(is_blank(*r->at) || at_line_end(r->at)))
        return label_fault(r, start);
    const dither_status status = read_entries(r);
    if (status != DITHER_OK) return status;
    data->label[data->rows] = label + 0.0; /* no -0 */
    data->rows++;
    data->row_start[data->rows] = data->nonzeros;
    return DITHER_OK;
}

static dither_status read_lines(reader *r)
{
    while (r->at < r->end) {
        r->line = r->at;
        r->line_number++;
        while (is_blank(*r->at)) r->at++;
        if (!at_line_end(r->at)) {
            const dither_status status = read_row(r);
            if (status != DITHER_OK) return status;
        }
        if (*r->at == '\r') r->at++;
        if (*r->at == '#') r->at = memchr(r->at, '\n', (size_t)(r->end - r->at) + 1);
        r->at++;
    }
    return DITHER_OK;
}

/* Bounds for what the text can hold: each entry has a colon, each row but the last a newline. */
static void count_bounds(const char *text, size_t size, size_t *lines, size_t *colons)
{
    *lines = 1, *colons = 0;
    for (size_t at = 0; at < size;) {
        const size_t stop = size - at < 255 ? size : at + 255; /* byte-wide counters can be added 16 and more at once */
        uint8_t newline = 0, colon = 0;
        for (; at < stop; at++) newline += text[at] == '\n', colon += text[at] == ':';
        *lines += newline, *colons += colon;
    }
}

static dither_status parse(const char *text, size_t size, reader *r, struct dither_data *data, dither_error *error)
{
    dither_status status = DITHER_OK;
    size_t lines, colons;
    count_bounds(text, size, &lines, &colons);
    TRY_ALLOC(data->row_start, lines + 1);
    TRY_ALLOC(data->label, lines);
    TRY_ALLOC(data->column, colons);
    TRY_ALLOC(data->value, colons);
    if (r->line_number == 0 && size >= 3 && !memcmp(text, "\xEF\xBB\xBF", 3)) r->at += 3;
    TRY(read_lines(r));
out:
    return status;
}

dither_status dither_libsvm_parse(const char *path, const char *text, size_t size, int64_t features,
                                  struct dither_data *data, dither_error *error)
{
    dither_status status = DITHER_OK;
    reader r = {.path = path, .at = text, .end = text + size, .line = text, .limit = features ? features : INT32_MAX,
                .data = data, .error = error};
    TRY(parse(text, size, &r, data, error));
    r.line_number += r.line_number == 0;
    if (data->rows == 0) {
        r.line = r.at;
        TRY(fault(&r, r.at, size ? "no row up to here; a row is label index:value ..."
                                 : "the file is empty; a row is label index:value ..."));
    }
    if (!features && !r.largest)
        TRY(fault(&r, r.line, "no row has a feature; say how many there are with --features"));
    data->features = features ? features : r.largest;
out:
    return status;
}

dither_status dither_libsvm_parse_part(const char *path, const char *text, size_t size, int64_t features, int64_t lines,
                                       struct dither_data *data, dither_error *error)
{
    reader r = {.path = path, .at = text, .end = text + size, .line = text, .limit = features ? features : INT32_MAX,
                .line_number = lines, .data = data, .error = error};
    const dither_status status = parse(text, size, &r, data, error);
    data->features = r.largest;
    return status;
}
