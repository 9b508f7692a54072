/* Reading JSON: what this program writes itself. */
#ifndef DITHER_CLI_JSON_READ_H
#define DITHER_CLI_JSON_READ_H

#include "cli.h"

typedef struct cli_value {
    enum { CLI_JSON_NULL, CLI_JSON_BOOL, CLI_JSON_NUMBER, CLI_JSON_STRING, CLI_JSON_ARRAY, CLI_JSON_OBJECT } type;
    char *key;      /* in an object, or NULL */
    char *text;     /* of a string; owned, as all is */
    double number;  /* of a number; 1 or 0 of a bool */
    struct cli_value *first, *next; /* the first value inside, the next beside */
} cli_value;

/* DITHER_BAD_DATA with the line when the file is no JSON. */
dither_status cli_json_read(const char *path, cli_value **out, dither_error *error);
void cli_value_free(cli_value *value);

const cli_value *cli_value_at(const cli_value *object, const char *key); /* NULL when there is none */
const char *cli_value_text(const cli_value *object, const char *key);    /* "" when there is no such string */
double cli_value_number(const cli_value *object, const char *key);       /* NaN when there is no such number */

#endif
