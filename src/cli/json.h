/* Writing one JSON object, a key a line. */
#ifndef DITHER_CLI_JSON_H
#define DITHER_CLI_JSON_H

#include <stdint.h>
#include <stdio.h>

typedef struct cli_json {
    FILE *stream;
    int depth; /* of open objects */
    int fresh; /* the innermost object has no key yet */
} cli_json;

/* key NULL: the outermost object */
void cli_json_open(cli_json *json, const char *key);
void cli_json_close(cli_json *json);
/* A list; its items are written with key NULL. */
void cli_json_open_list(cli_json *json, const char *key);
void cli_json_close_list(cli_json *json);
/* NULL gives null. Bytes that are not UTF-8 become U+FFFD. */
void cli_json_string(cli_json *json, const char *key, const char *value);
/* What is not finite gives null: JSON has no word for it. */
void cli_json_real(cli_json *json, const char *key, double value);
void cli_json_integer(cli_json *json, const char *key, int64_t value);
/* `text` is JSON already: a number, true, null */
void cli_json_literal(cli_json *json, const char *key, const char *text);

/* Bytes of the well-formed UTF-8 sequence at `p` (no overlong forms, no surrogates, at most U+10FFFF), or 0. */
int cli_utf8_length(const unsigned char *p);

#endif
