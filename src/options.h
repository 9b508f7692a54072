/* The options as a struct, made from options.def. */
#ifndef DITHER_OPTIONS_H
#define DITHER_OPTIONS_H

#include "dither_registry.h"
#include "error.h"

struct dither_options {
#define INTEGER(group, commands, field, name, initial, min, max, metavar, help) int64_t field; int field##_set;
#define REAL(group, commands, field, name, initial, min, max, metavar, help) double field; int field##_set;
#define CHOICE(group, commands, field, name, initial, choices, help) char *field;
#define TEXT(group, commands, field, name, initial, metavar, help) char *field;
#define FLAG(group, commands, field, name, help) int field;
#include "options.def"
#undef INTEGER
#undef REAL
#undef CHOICE
#undef TEXT
#undef FLAG
    char *shown; /* what dither_options_get last returned */
};

/* Values with a syntax of their own. Each fails with DITHER_USAGE and says what would be right. */

/* "none", "l1:X", "l2:X", "elastic:X,Y", "box:A,B", "ball:R" -> DK_PROX_... and its two parameters. */
dither_status dither_parse_prox(const char *text, int *kind, double *a, double *b, dither_error *error);

/* A real number that takes the whole text (locale-free, finite). */
dither_status dither_parse_real(const char *what, const char *text, double min, double max, double *out,
                                dither_error *error);

#endif
