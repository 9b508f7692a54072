#include "json.h"

#include "cli.h"

#include <inttypes.h>
#include <math.h>

int cli_utf8_length(const unsigned char *p)
{
    if (p[0] < 0x80) return 1;
    if (p[0] < 0xC2 || p[0] > 0xF4) return 0;
    const int length = p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : 4;
    for (int i = 1; i < length; i++)
        if ((p[i] & 0xC0) != 0x80) return 0; /* the terminating NUL too */
    if (length == 3 && ((p[0] == 0xE0 && p[1] < 0xA0) || (p[0] == 0xED && p[1] > 0x9F))) return 0;
    if (length == 4 && ((p[0] == 0xF0 && p[1] < 0x90) || (p[0] == 0xF4 && p[1] > 0x8F))) return 0;
    return length;
}

static void put_string(FILE *stream, const char *text)
{
    fputc('"', stream);
    for (const unsigned char *p = (const unsigned char *)text; *p;) {
        const int length = cli_utf8_length(p);
        if (length == 0) fputs("\\ufffd", stream);
        else if (*p == '"' || *p == '\\') fprintf(stream, "\\%c", *p);
        else if (*p == '\n') fputs("\\n", stream);
        else if (*p == '\t') fputs("\\t", stream);
        else if (*p < 0x20 || *p == 0x7f) fprintf(stream, "\\u%04x", *p);
        else fwrite(p, 1, (size_t)length, stream);
        p += length ? length : 1;
    }
    fputc('"', stream);
}

static void put_key(cli_json *json, const char *key)
{
    if (json->depth) fprintf(json->stream, "%s\n%*s", json->fresh ? "" : ",", 2 * json->depth, "");
    json->fresh = 0;
    if (!key) return;
    put_string(json->stream, key);
    fputs(": ", json->stream);
}

static void open_with(cli_json *json, const char *key, char bracket)
{
    put_key(json, key);
    fputc(bracket, json->stream);
    json->depth++;
    json->fresh = 1;
}

static void close_with(cli_json *json, char bracket)
{
    json->depth--;
    if (!json->fresh) fprintf(json->stream, "\n%*s", 2 * json->depth, "");
    fprintf(json->stream, "%c%s", bracket, json->depth ? "" : "\n");
    json->fresh = 0;
}

void cli_json_open(cli_json *json, const char *key) { open_with(json, key, '{'); }
void cli_json_close(cli_json *json) { close_with(json, '}'); }
void cli_json_open_list(cli_json *json, const char *key) { open_with(json, key, '['); }
void cli_json_close_list(cli_json *json) { close_with(json, ']'); }

void cli_json_string(cli_json *json, const char *key, const char *value)
{
    put_key(json, key);
    if (value) put_string(json->stream, value);
    else fputs("null", json->stream);
}

void cli_json_literal(cli_json *json, const char *key, const char *text)
{
    put_key(json, key);
    fputs(text, json->stream);
}

void cli_json_real(cli_json *json, const char *key, double value)
{
    char number[CLI_NUMBER_BYTES];
    cli_json_literal(json, key, isfinite(value) ? cli_format_exact(value, number) : "null");
}

void cli_json_integer(cli_json *json, const char *key, int64_t value)
{
    put_key(json, key);
    fprintf(json->stream, "%" PRId64, value);
}
