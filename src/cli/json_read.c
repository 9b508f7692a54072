#include "json_read.h"

#include "csv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH_MOST = 64 };

typedef struct reader {
    const char *path, *begin, *p;
} reader;

static dither_status bad(const reader *r, const char *what, dither_error *error)
{
    int line = 1;
    for (const char *p = r->begin; p < r->p; p++) line += *p == '\n';
    return cli_fail(error, DITHER_BAD_DATA, "%s:%d: not JSON: %s", r->path, line, what);
}

static void skip_space(reader *r) { r->p += strspn(r->p, " \t\r\n"); }

static char *put_utf8(char *to, unsigned long code)
{
    if (code < 0x80) {
        *to++ = (char)code;
    } else if (code < 0x800) {
        *to++ = (char)(0xC0 | code >> 6);
        *to++ = (char)(0x80 | (code & 63));
    } else {
        *to++ = (char)(0xE0 | code >> 12);
        *to++ = (char)(0x80 | (code >> 6 & 63));
        *to++ = (char)(0x80 | (code & 63));
    }
    return to;
}

/* After the opening quote. Escapes as cli_json_string writes them; \u of the first plane. */
static dither_status read_string(reader *r, char **out, dither_error *error)
{
    static const char names[] = "nrtbf", values[] = "\n\r\t\b\f";
    char *text = malloc(strlen(r->p) + 1), *to = text;
    if (!text) return cli_fail(error, DITHER_INTERNAL, "out of memory");
    while (*r->p && *r->p != '"') {
        if (*r->p != '\\') {
            *to++ = *r->p++;
            continue;
        }
        const char c = *++r->p;
        const char *name = c ? strchr(names, c) : NULL;
        char digits[5] = "", *end = digits;
        if (c == 'u') {
            snprintf(digits, sizeof digits, "%.4s", r->p + 1);
            to = put_utf8(to, strtoul(digits, &end, 16));
            r->p += end - digits;
        } else {
            *to++ = name ? values[name - names] : c;
        }
        if (*r->p) r->p++;
    }
    *to = '\0';
    *out = text;
    if (*r->p++ == '"') return DITHER_OK;
    r->p--;
    return bad(r, "a string without an end", error);
}

static dither_status read_value(reader *r, int depth, cli_value *v, dither_error *error);

/* After the opening bracket. */
static dither_status read_members(reader *r, int depth, cli_value *v, char close, dither_error *error)
{
    dither_status status = DITHER_OK;
    cli_value **last = &v->first;
    for (skip_space(r); *r->p != close; skip_space(r)) {
        cli_value *member = *last = calloc(1, sizeof *member);
        if (!member) FAIL(DITHER_INTERNAL, "out of memory");
        last = &member->next;
        if (close == '}') {
            if (*r->p++ != '"') TRY(bad(r, "a name should stand here", error));
            TRY(read_string(r, &member->key, error));
            skip_space(r);
            if (*r->p++ != ':') TRY(bad(r, "':' should stand here", error));
        }
        TRY(read_value(r, depth + 1, member, error));
        skip_space(r);
        if (*r->p == ',') r->p++;
        else if (*r->p != close) TRY(bad(r, "',' or the end should stand here", error));
    }
    r->p++;
out:
    return status;
}

static dither_status read_value(reader *r, int depth, cli_value *v, dither_error *error)
{
    char *end;
    if (depth > DEPTH_MOST) return bad(r, "too deep", error);
    skip_space(r);
    if (*r->p == '{' || *r->p == '[') {
        v->type = *r->p == '{' ? CLI_JSON_OBJECT : CLI_JSON_ARRAY;
        return read_members(r, depth, v, *r->p++ == '{' ? '}' : ']', error);
    }
    if (*r->p == '"') {
        v->type = CLI_JSON_STRING;
        r->p++;
        return read_string(r, &v->text, error);
    }
    static const char *const words[] = {"null", "false", "true"};
    for (int i = 0; i < 3; i++) {
        if (strncmp(r->p, words[i], strlen(words[i])) != 0) continue;
        v->type = i ? CLI_JSON_BOOL : CLI_JSON_NULL;
        v->number = i == 2;
        r->p += strlen(words[i]);
        return DITHER_OK;
    }
    v->type = CLI_JSON_NUMBER;
    v->number = strtod(r->p, &end);
    if (end == r->p) return bad(r, "a value should stand here", error);
    r->p = end;
    return DITHER_OK;
}

dither_status cli_json_read(const char *path, cli_value **out, dither_error *error)
{
    dither_status status = DITHER_OK;
    char *text = NULL;
    size_t bytes = 0;
    *out = calloc(1, sizeof **out);
    if (!*out) FAIL(DITHER_INTERNAL, "out of memory");
    TRY(cli_text_read(path, &text, &bytes, error));
    reader r = {path, text, text};
    TRY(read_value(&r, 0, *out, error));
    skip_space(&r);
    if (*r.p) TRY(bad(&r, "something follows", error));
out:
    free(text);
    if (status != DITHER_OK) {
        cli_value_free(*out);
        *out = NULL;
    }
    return status;
}

void cli_value_free(cli_value *value)
{
    while (value) {
        cli_value *next = value->next;
        cli_value_free(value->first);
        free(value->key);
        free(value->text);
        free(value);
        value = next;
    }
}

const cli_value *cli_value_at(const cli_value *object, const char *key)
{
    for (const cli_value *v = object ? object->first : NULL; v; v = v->next)
        if (v->key && strcmp(v->key, key) == 0) return v;
    return NULL;
}

const char *cli_value_text(const cli_value *object, const char *key)
{
    const cli_value *v = cli_value_at(object, key);
    return v && v->type == CLI_JSON_STRING ? v->text : "";
}

double cli_value_number(const cli_value *object, const char *key)
{
    const cli_value *v = cli_value_at(object, key);
    return v && v->type == CLI_JSON_NUMBER ? v->number : NAN;
}
