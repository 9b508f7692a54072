/* The options as a struct, made from options.def, and the values that have a syntax of their own. */
#ifndef DITHER_OPTIONS_H
#define DITHER_OPTIONS_H

#include "dither_registry.h"
#include "error.h"

/* DITHER_OPTION_INDEX_levels, ...: the row of options.def, and the index of dither_option_at */
enum dither_option_index {
#define INTEGER(group, commands, field, name, initial, min, max, metavar, help) DITHER_OPTION_INDEX_##field,
#define REAL(group, commands, field, name, initial, min, max, metavar, help) DITHER_OPTION_INDEX_##field,
#define CHOICE(group, commands, field, name, initial, choices, help) DITHER_OPTION_INDEX_##field,
#define TEXT(group, commands, field, name, initial, metavar, help) DITHER_OPTION_INDEX_##field,
#define FLAG(group, commands, field, name, help) DITHER_OPTION_INDEX_##field,
#include "options.def"
#undef INTEGER
#undef REAL
#undef CHOICE
#undef TEXT
#undef FLAG
    DITHER_OPTION_COUNT
};

struct dither_options {
#define INTEGER(group, commands, field, name, initial, min, max, metavar, help) int64_t field; int field##_set;
#define REAL(group, commands, field, name, initial, min, max, metavar, help) double field; int field##_set;
#define CHOICE(group, commands, field, name, initial, choices, help) const char *field;
#define TEXT(group, commands, field, name, initial, metavar, help) const char *field;
#define FLAG(group, commands, field, name, help) int field;
#include "options.def"
#undef INTEGER
#undef REAL
#undef CHOICE
#undef TEXT
#undef FLAG
    char *text[DITHER_OPTION_COUNT]; /* owned: each value as text; CHOICE and TEXT fields point here */
};

/* Each dither_parse_ takes the whole text or fails with DITHER_USAGE and says what would be right. `what` names the
 * thing in the message: "--levels", "model.txt:7: weight". */

/* A whole decimal number: an optional sign and digits. */
dither_status dither_parse_integer(const char *what, const char *text, int64_t min, int64_t max, int64_t *out,
                                   dither_error *error);

/* A finite real number in decimal notation; the locale plays no part. */
dither_status dither_parse_real(const char *what, const char *text, double min, double max, double *out,
                                dither_error *error);

/* "none", "l1:X", "l2:X", "elastic:X,Y", "box:A,B", "ball:R" -> DK_PROX_... and its two parameters. */
dither_status dither_parse_prox(const char *text, int *kind, double *a, double *b, dither_error *error);

/* A step size's text: "0.1", "theory", "practical", or "x0.5" for 0.5/L_max. *value is the number, 0 without one. */
typedef enum dither_gamma_rule {
    DITHER_GAMMA_NUMBER,
    DITHER_GAMMA_THEORY,
    DITHER_GAMMA_PRACTICAL,
    DITHER_GAMMA_OVER_L_MAX
} dither_gamma_rule;
dither_status dither_parse_gamma(const char *text, dither_gamma_rule *rule, double *value, dither_error *error);

/* "constant", "diana", "sqrt" or "power:A" -> DITHER_..._SCHEDULE and A, 0 without one. */
typedef enum dither_schedule {
    DITHER_CONSTANT_SCHEDULE,
    DITHER_DIANA_SCHEDULE,
    DITHER_SQRT_SCHEDULE,
    DITHER_STICH_SCHEDULE,
    DITHER_POWER_SCHEDULE
} dither_schedule;
dither_status dither_parse_schedule(const char *text, dither_schedule *schedule, double *power, dither_error *error);

/* "none", "uniform", "tail:F", "poly:A" or "auto" -> DITHER_AVERAGE_... and F or A. */
typedef enum dither_average {
    DITHER_AVERAGE_NONE,
    DITHER_AVERAGE_UNIFORM,
    DITHER_AVERAGE_TAIL,
    DITHER_AVERAGE_POLY,
    DITHER_AVERAGE_AUTO
} dither_average;
dither_status dither_parse_average(const char *text, dither_average *average, double *value, dither_error *error);

/* "theory" sets *theory, a number >= 0 clears it and sets *value. */
dither_status dither_parse_alpha(const char *text, int *theory, double *value, dither_error *error);

/* How many local steps the rounds of local SGD have: "constant", "linear", "double", "1,2,4". */
enum dither_local_rule { DITHER_LOCAL_CONSTANT, DITHER_LOCAL_LINEAR, DITHER_LOCAL_DOUBLE, DITHER_LOCAL_LIST };
enum { DITHER_LOCAL_LIST_MAX = 64 };
typedef struct dither_local_schedule {
    int rule, count;
    int64_t list[DITHER_LOCAL_LIST_MAX]; /* count, of DITHER_LOCAL_LIST */
} dither_local_schedule;
dither_status dither_parse_local_schedule(const char *text, dither_local_schedule *out, dither_error *error);

/* "fixed:T", "uniform:T", "straggler:T,P": how late gradients are, in iterations. */
typedef struct dither_delay {
    int rule;     /* DK_DELAY_... */
    int64_t most; /* T, from 0 */
    double share; /* P: of the gradients of straggler, which are late by T, the others by nothing */
} dither_delay;
dither_status dither_parse_delay(const char *text, dither_delay *out, dither_error *error);

/* "contiguous", "shuffled", "by-label" or "dirichlet:A" -> DITHER_SPLIT_... and A, 0 without one. */
enum dither_split_rule { DITHER_SPLIT_CONTIGUOUS, DITHER_SPLIT_SHUFFLED, DITHER_SPLIT_BY_LABEL, DITHER_SPLIT_DIRICHLET };
dither_status dither_parse_split(const char *text, int *rule, double *a, dither_error *error);

/* "equal", "spread:R" (from 1 to R, in even steps from the first worker to the last), or a list "4,1", which is taken
 * again from its start when there are more workers. */
enum { DITHER_SPEEDS_MAX = 64 };
typedef struct dither_speeds {
    int count; /* of the list; 0: spread */
    double spread, list[DITHER_SPEEDS_MAX];
} dither_speeds;
dither_status dither_parse_speeds(const char *text, dither_speeds *out, dither_error *error);

/* Does the option `normalize` ask for rows of norm 1? Not where it is unset. */
int dither_options_normalize(const dither_options *options);

/* Iterations between evaluations; 0 for "auto". */
dither_status dither_parse_trace_every(const char *text, int64_t *every, dither_error *error);

/* GPUs: "all" or "auto" (*count 0), a number N (those from 0 to N - 1), or a list as "0,2,3". */
enum { DITHER_GPUS_MAX = 64 };
dither_status dither_parse_gpus(const char *text, int listed[DITHER_GPUS_MAX], int *count, dither_error *error);

/* The place of `text` in "a|b|c", from 0, or -1. DITHER_LOSS_CHOICES has the order of enum dk_loss, and so on. */
int dither_choice_index(const char *choices, const char *text);

/* The fewest digits of 15 to 17 that read back as the same double; the locale plays no part. */
void dither_format_real(double value, char out[32]);

#endif
