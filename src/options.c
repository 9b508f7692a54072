/* The option table, the values it holds, and the syntax of a value. */
#include "options.h"

#include "data/parse_number.h"
#include "kernels.h"
#include "prox.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- numbers ---- */

void dither_format_real(double value, char out[32])
{
    char text[32];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value) break;
    }
    /* whatever bytes this locale has for the point, it is the one thing that is no digit, letter or sign */
    char *to = out;
    for (const char *p = text; *p; p++) {
        const int plain = (*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'z') || *p == '+' || *p == '-';
        if (plain || to == out || to[-1] != '.') *to++ = plain ? *p : '.';
    }
    *to = '\0';
}

/* "a number from 0 to 10", "a number of at least 0", "a number greater than 0" */
static void describe_reals(double min, double max, char *out, size_t out_bytes)
{
    char low[32], high[32];
    dither_format_real(min, low);
    dither_format_real(max, high);
    const char *end = max >= 1e300 ? "" : " to ";
    if (max >= 1e300) high[0] = '\0';
    if (min <= -1e300) snprintf(out, out_bytes, "a finite number");
    else if (min > 0 && min <= 1e-300) snprintf(out, out_bytes, "a number greater than 0%s%s", end, high);
    else snprintf(out, out_bytes, "a number %s %s%s%s", *end ? "from" : "of at least", low, end, high);
}

dither_status dither_parse_real(const char *what, const char *text, double min, double max, double *out,
                                dither_error *error)
{
    char right[96];
    describe_reals(min, max, right, sizeof right);
    double value = 0;
    const char *end = text;
    const dither_number got = dither_number_parse(&end, &value);
    const int too_large = got == DITHER_NUMBER_OVERFLOW;
    if (!too_large && (got != DITHER_NUMBER_OK || *end))
        return dither_fail(error, DITHER_USAGE, "%s: '%.80s' is not a number; give %s", what, text, right);
    if (too_large || value < min || value > max)
        return dither_fail(error, DITHER_USAGE, "%s: %.80s is out of range; give %s", what, text, right);
    *out = value;
    return DITHER_OK;
}

dither_status dither_parse_integer(const char *what, const char *text, int64_t min, int64_t max, int64_t *out,
                                   dither_error *error)
{
    char right[96];
    if (max == INT64_MAX) snprintf(right, sizeof right, "a whole number of at least %" PRId64, min);
    else snprintf(right, sizeof right, "a whole number from %" PRId64 " to %" PRId64, min, max);
    const char *digits = text + (*text == '+' || *text == '-');
    if (!*digits || digits[strspn(digits, "0123456789")])
        return dither_fail(error, DITHER_USAGE, "%s: '%.80s' is not a whole number; give %s", what, text, right);
    errno = 0;
    const long long value = strtoll(text, NULL, 10);
    if (errno == ERANGE || value < min || value > max)
        return dither_fail(error, DITHER_USAGE, "%s: %.80s is out of range; give %s", what, text, right);
    *out = value;
    return DITHER_OK;
}

/* ---- values with a syntax of their own ---- */

int dither_choice_index(const char *choices, const char *text)
{
    const size_t length = strlen(text);
    const char *p = choices;
    for (int index = 0; length; index++) {
        const size_t this_length = strcspn(p, "|");
        if (this_length == length && memcmp(p, text, length) == 0) return index;
        if (!p[this_length]) break;
        p += this_length + 1;
    }
    return -1;
}

int dither_options_normalize(const dither_options *options)
{
    return options->normalize && strcmp(options->normalize, "rows") == 0;
}

/* "3" or "3,4" into 1 or 2 numbers of at least `min` */
static dither_status parse_numbers(const char *what, const char *text, int count, double min, double out[2],
                                   dither_error *error)
{
    const char *comma = strchr(text, ',');
    if ((comma ? 2 : 1) != count || strlen(text) > 160)
        return dither_fail(error, DITHER_USAGE, "%s takes %s, not '%.80s'", what,
                           count == 1 ? "one number" : "two numbers with a comma between", text);
    char first[161];
    snprintf(first, sizeof first, "%.*s", comma ? (int)(comma - text) : 160, text);
    dither_status status = dither_parse_real(what, first, min, 1e300, &out[0], error);
    if (status == DITHER_OK && comma) status = dither_parse_real(what, comma + 1, min, 1e300, &out[1], error);
    return status;
}

dither_status dither_parse_prox(const char *text, int *kind, double *a, double *b, dither_error *error)
{
    static const struct {
        const char *name, *what;
        int kind, count;
        double min;
    } rows[] = {
        {"l1:", "--prox l1:X", DK_PROX_L1, 1, 0},
        {"l2:", "--prox l2:X", DK_PROX_L2, 1, 0},
        {"elastic:", "--prox elastic:X,Y", DK_PROX_ELASTIC, 2, 0},
        {"box:", "--prox box:A,B", DK_PROX_BOX, 2, -1e300},
        {"ball:", "--prox ball:R", DK_PROX_BALL, 1, 4.9e-324},
    };
    double value[2] = {0, 0};
    size_t row = 0;
    const size_t row_n = sizeof rows / sizeof *rows;
    while (row < row_n && strncmp(text, rows[row].name, strlen(rows[row].name)) != 0) row++;
    if (row == row_n && strcmp(text, "none") != 0)
        return dither_fail(error, DITHER_USAGE,
                           "--prox: '%.80s' is not none, l1:X, l2:X, elastic:X,Y, box:A,B or ball:R", text);
    if (row < row_n) {
        const dither_status status = parse_numbers(rows[row].what, text + strlen(rows[row].name), rows[row].count,
                                                   rows[row].min, value, error);
        if (status != DITHER_OK) return status;
    }
    *kind = row < row_n ? rows[row].kind : DK_PROX_NONE;
    if (*kind == DK_PROX_BOX && value[0] > value[1])
        return dither_fail(error, DITHER_USAGE, "--prox box:A,B needs A <= B, not '%.80s'", text);
    *a = value[0];
    *b = value[1];
    return DITHER_OK;
}

dither_status dither_parse_gamma(const char *text, dither_gamma_rule *rule, double *value, dither_error *error)
{
    const int named = strcmp(text, "theory") == 0 ? DITHER_GAMMA_THEORY
                      : strcmp(text, "practical") == 0 ? DITHER_GAMMA_PRACTICAL : -1;
    const int scaled = text[0] == 'x';
    double number = 0;
    if (named < 0 && dither_parse_real("gamma", text + scaled, 4.9e-324, 1e300, &number, NULL) != DITHER_OK)
        return dither_fail(error, DITHER_USAGE,
                           "--gamma: '%.80s' is not a number greater than 0, theory, practical, or xC (C/L_max "
                           "with C greater than 0)", text);
    *rule = named >= 0 ? (dither_gamma_rule)named : scaled ? DITHER_GAMMA_OVER_L_MAX : DITHER_GAMMA_NUMBER;
    *value = number;
    return DITHER_OK;
}

dither_status dither_parse_alpha(const char *text, int *theory, double *value, dither_error *error)
{
    double number = 0;
    const int named = strcmp(text, "theory") == 0;
    if (!named && dither_parse_real("alpha", text, 0, 1e300, &number, NULL) != DITHER_OK)
        return dither_fail(error, DITHER_USAGE, "--alpha: '%.80s' is not a number of at least 0, or theory",
                           text);
    *theory = named;
    *value = number;
    return DITHER_OK;
}

/* A word of `words`, the last of which may be followed by ":" and a number from min to max. */
static int word_or_number(const char *text, const char *const *words, const int *numbered, int count, double min,
                          double max, double *value)
{
    for (int i = 0; i < count; i++) {
        const size_t length = strlen(words[i]);
        if (strncmp(text, words[i], length)) continue;
        if (!numbered[i] && !text[length]) return i;
        if (numbered[i] && text[length] == ':' &&
            dither_parse_real("value", text + length + 1, min, max, value, NULL) == DITHER_OK)
            return i;
    }
    return -1;
}

dither_status dither_parse_schedule(const char *text, dither_schedule *schedule, double *power, dither_error *error)
{
    static const char *const words[] = {"constant", "diana", "sqrt", "stich", "power"};
    static const int numbered[] = {0, 0, 0, 0, 1};
    *power = 0;
    const int found = word_or_number(text, words, numbered, 5, 0, 10, power);
    if (found < 0)
        return dither_fail(error, DITHER_USAGE,
                           "--gamma-schedule: '%.80s' is not constant, diana, sqrt, stich, or power:A with A from 0 to 10", text);
    *schedule = (dither_schedule)found;
    return DITHER_OK;
}

dither_status dither_parse_average(const char *text, dither_average *average, double *value, dither_error *error)
{
    static const char *const words[] = {"none", "uniform", "tail", "poly", "auto"};
    static const int numbered[] = {0, 0, 1, 1, 0};
    *value = 0;
    const int found = word_or_number(text, words, numbered, 5, 0, 1e15, value);
    const int tail = found == DITHER_AVERAGE_TAIL && (*value == 0 || (*value >= 1 && *value != (double)(int64_t)*value));
    if (found < 0 || tail)
        return dither_fail(error, DITHER_USAGE,
                           "--average: '%.80s' is not none, uniform, tail:F (F a fraction below 1 of the iterations, or "
                           "the iteration from which on), poly:A with A of at least 0, or auto", text);
    *average = (dither_average)found;
    return DITHER_OK;
}

dither_status dither_parse_split(const char *text, int *rule, double *a, dither_error *error)
{
    static const char *const words[] = {"contiguous", "shuffled", "by-label", "dirichlet"};
    static const int numbered[] = {0, 0, 0, 1};
    *a = 0;
    *rule = word_or_number(text, words, numbered, 4, 1e-6, 1e6, a);
    if (*rule >= 0) return DITHER_OK;
    return dither_fail(error, DITHER_USAGE,
                       "--split: '%.80s' is not contiguous, shuffled, by-label, or dirichlet:A with A from 1e-6 to 1e6", text);
}

dither_status dither_parse_trace_every(const char *text, int64_t *every, dither_error *error)
{
    int64_t number = 0;
    if (strcmp(text, "auto") != 0 && dither_parse_integer("K", text, 1, INT64_MAX, &number, NULL) != DITHER_OK)
        return dither_fail(error, DITHER_USAGE,
                           "--trace-every: '%.80s' is not a whole number of at least 1, or auto", text);
    *every = number;
    return DITHER_OK;
}

dither_status dither_parse_gpus(const char *text, int listed[DITHER_GPUS_MAX], int *count, dither_error *error)
{
    int64_t number = 0;
    *count = 0;
    if (!strcmp(text, "auto") || !strcmp(text, "all")) return DITHER_OK;
    if (dither_parse_integer("N", text, 1, DITHER_GPUS_MAX, &number, NULL) == DITHER_OK) {
        for (; *count < number; (*count)++) listed[*count] = *count;
        return DITHER_OK;
    }
    for (const char *at = text;; at++) {
        char digits[4] = "";
        const size_t n = strspn(at, "0123456789");
        if (n < 1 || n > 3 || *count == DITHER_GPUS_MAX || !strchr(",", at[n]) || (at == text && !at[n])) break;
        memcpy(digits, at, n);
        listed[(*count)++] = atoi(digits);
        at += n;
        if (!*at || !at[1]) return DITHER_OK; /* "3," is a list of one */
    }
    return dither_fail(error, DITHER_USAGE, "--gpus: '%.80s' is not all, a number of GPUs from 1 to %d, or a list as 0,2,3",
                       text, DITHER_GPUS_MAX);
}

dither_status dither_parse_local_schedule(const char *text, dither_local_schedule *out, dither_error *error)
{
    static const char right[] = "constant, linear, double, or at most 64 whole numbers of at least 1 with commas between";
    *out = (dither_local_schedule){.rule = dither_choice_index("constant|linear|double", text)};
    if (out->rule >= 0) return DITHER_OK;
    out->rule = DITHER_LOCAL_LIST;
    for (const char *at = text;; at++) {
        char number[24];
        const size_t length = strcspn(at, ",");
        if (out->count == DITHER_LOCAL_LIST_MAX || length >= sizeof number) break;
        memcpy(number, at, length);
        number[length] = '\0';
        if (dither_parse_integer("", number, 1, 1000000000, &out->list[out->count++], NULL) != DITHER_OK) break;
        at += length;
        if (!*at) return DITHER_OK;
    }
    return dither_fail(error, DITHER_USAGE, "--local-schedule: '%.80s' is not %s", text, right);
}

dither_status dither_parse_delay(const char *text, dither_delay *out, dither_error *error)
{
    static const char *const names[] = {"fixed:", "uniform:", "straggler:"};
    char number[24];
    *out = (dither_delay){.rule = 0};
    while (out->rule < 3 && strncmp(text, names[out->rule], strlen(names[out->rule]))) out->rule++;
    const char *at = out->rule < 3 ? text + strlen(names[out->rule]) : "";
    const size_t length = strcspn(at, ",");
    int good = length > 0 && length < sizeof number;
    if (good) {
        memcpy(number, at, length);
        number[length] = '\0';
        good = dither_parse_integer("", number, 0, 1000000, &out->most, NULL) == DITHER_OK;
    }
    if (out->rule == DK_DELAY_STRAGGLER)
        good = good && at[length] && dither_parse_real("", at + length + 1, 0, 1, &out->share, NULL) == DITHER_OK;
    else
        good = good && !at[length];
    if (good) return DITHER_OK;
    return dither_fail(error, DITHER_USAGE, "--delay: '%.80s' is not fixed:T, uniform:T or straggler:T,P with a whole number "
                       "T from 0 to 1000000 and P from 0 to 1", text);
}

dither_status dither_parse_speeds(const char *text, dither_speeds *out, dither_error *error)
{
    *out = (dither_speeds){.spread = 1};
    if (!strcmp(text, "equal")) return DITHER_OK;
    if (!strncmp(text, "spread:", 7) && dither_parse_real("", text + 7, 1e-6, 1e6, &out->spread, NULL) == DITHER_OK)
        return DITHER_OK;
    for (const char *at = text;; at++) {
        char number[32];
        const size_t length = strcspn(at, ",");
        if (out->count == DITHER_SPEEDS_MAX || length >= sizeof number) break;
        memcpy(number, at, length);
        number[length] = '\0';
        if (dither_parse_real("", number, 1e-6, 1e6, &out->list[out->count++], NULL) != DITHER_OK) break;
        at += length;
        if (!*at) return DITHER_OK;
    }
    return dither_fail(error, DITHER_USAGE, "--speeds: '%.80s' is not equal, spread:R, or at most %d numbers with commas between, "
                       "each from 1e-6 to 1e6", text, DITHER_SPEEDS_MAX);
}

/* ---- the table ---- */

typedef dither_status check_function(const char *text, dither_error *error);

static dither_status check_labels(const char *text, dither_error *error)
{
    double value;
    if (strcmp(text, "auto") == 0 || dither_parse_real("labels", text, -1e308, 1e308, &value, NULL) == DITHER_OK)
        return DITHER_OK;
    return dither_fail(error, DITHER_USAGE, "--labels: '%.80s' is not a finite number, or auto", text);
}

static dither_status check_prox(const char *text, dither_error *error)
{
    int kind;
    double a, b;
    return dither_parse_prox(text, &kind, &a, &b, error);
}

static dither_status check_gamma(const char *text, dither_error *error)
{
    dither_gamma_rule rule;
    double value;
    return dither_parse_gamma(text, &rule, &value, error);
}

static dither_status check_alpha(const char *text, dither_error *error)
{
    int theory;
    double value;
    return dither_parse_alpha(text, &theory, &value, error);
}

static dither_status check_gamma_schedule(const char *text, dither_error *error)
{
    dither_schedule schedule;
    double power;
    return dither_parse_schedule(text, &schedule, &power, error);
}

static dither_status check_average(const char *text, dither_error *error)
{
    dither_average average;
    double value;
    return dither_parse_average(text, &average, &value, error);
}

static dither_status check_split(const char *text, dither_error *error)
{
    int rule;
    double a;
    return dither_parse_split(text, &rule, &a, error);
}

static dither_status check_trace_every(const char *text, dither_error *error)
{
    int64_t every;
    return dither_parse_trace_every(text, &every, error);
}

static dither_status check_gpus(const char *text, dither_error *error)
{
    int listed[DITHER_GPUS_MAX], count;
    return dither_parse_gpus(text, listed, &count, error);
}

static dither_status check_speeds(const char *text, dither_error *error)
{
    dither_speeds speeds;
    return dither_parse_speeds(text, &speeds, error);
}

static dither_status check_delay(const char *text, dither_error *error)
{
    dither_delay delay;
    return dither_parse_delay(text, &delay, error);
}

static dither_status check_local_schedule(const char *text, dither_error *error)
{
    dither_local_schedule schedule;
    return dither_parse_local_schedule(text, &schedule, error);
}

/* tried when they are opened */
#define check_rendezvous NULL
#define check_trace NULL
#define check_idx_labels NULL
#define check_summary NULL
#define check_save NULL
#define check_out NULL
#define check_title NULL
/* parsed by the command that has it */
#define check_until NULL

typedef struct option_row {
    dither_option_info info;
    size_t value_at, set_at; /* offsets into struct dither_options */
    check_function *check;   /* of a TEXT, may be NULL */
} option_row;

#define AT(field) offsetof(struct dither_options, field)
#define INTEGER(group, commands, field, name, initial, min, max, metavar, help) \
    {{name, group, commands, DITHER_OPTION_INTEGER, metavar, NULL, initial, min, max, help}, \
     AT(field), AT(field##_set), NULL},
#define REAL(group, commands, field, name, initial, min, max, metavar, help) \
    {{name, group, commands, DITHER_OPTION_REAL, metavar, NULL, initial, min, max, help}, \
     AT(field), AT(field##_set), NULL},
#define CHOICE(group, commands, field, name, initial, choices, help) \
    {{name, group, commands, DITHER_OPTION_CHOICE, "NAME", choices, initial, 0, 0, help}, AT(field), 0, NULL},
#define TEXT(group, commands, field, name, initial, metavar, help) \
    {{name, group, commands, DITHER_OPTION_TEXT, metavar, NULL, initial, 0, 0, help}, AT(field), 0, check_##field},
#define FLAG(group, commands, field, name, help) \
    {{name, group, commands, DITHER_OPTION_FLAG, NULL, NULL, "0", 0, 0, help}, AT(field), 0, NULL},
static const option_row table[DITHER_OPTION_COUNT] = {
#include "options.def"
};

size_t dither_option_count(void) { return DITHER_OPTION_COUNT; }

const dither_option_info *dither_option_at(size_t index)
{
    return index < DITHER_OPTION_COUNT ? &table[index].info : NULL;
}

static int find_option(const char *name)
{
    for (int i = 0; i < DITHER_OPTION_COUNT; i++)
        if (strcmp(table[i].info.name, name) == 0) return i;
    return -1;
}

/* ---- an unknown name ---- */

/* Levenshtein distance of two short words; a large number when one is not short. */
static int edit_distance(const char *a, const char *b)
{
    enum { LONGEST = 40 };
    int row[LONGEST + 1];
    const size_t a_n = strlen(a), b_n = strlen(b);
    if (a_n > LONGEST || b_n > LONGEST) return LONGEST;
    for (size_t j = 0; j <= b_n; j++) row[j] = (int)j;
    for (size_t i = 1; i <= a_n; i++) {
        int diagonal = row[0];
        row[0] = (int)i;
        for (size_t j = 1; j <= b_n; j++) {
            const int replaced = diagonal + (a[i - 1] != b[j - 1]);
            const int removed = row[j] + 1, added = row[j - 1] + 1;
            diagonal = row[j];
            row[j] = replaced < removed ? replaced : removed;
            if (added < row[j]) row[j] = added;
        }
    }
    return row[b_n];
}

static int resembles(const char *known, const char *given)
{
    const size_t length = strlen(given);
    const int distance = edit_distance(known, given);
    return (distance <= (length < 6 ? 1 : 2) && distance < (int)strlen(known)) || /* something of it is left */
           (length >= 3 && (strstr(known, given) || strncmp(known, given, 4) == 0));
}

static dither_status fail_unknown(const char *name, dither_error *error)
{
    char list[1536] = "";
    size_t used = 0;
    int near = 0;
    for (int i = 0; i < DITHER_OPTION_COUNT; i++) near += resembles(table[i].info.name, name);
    for (int i = 0; i < DITHER_OPTION_COUNT; i++) {
        if (near && !resembles(table[i].info.name, name)) continue;
        used += (size_t)snprintf(list + used, sizeof list - used, "%s--%s", used ? ", " : "", table[i].info.name);
        if (used >= sizeof list) break;
    }
    return near ? dither_fail(error, DITHER_USAGE, "there is no option '%.80s'; did you mean %s?", name, list)
                : dither_fail(error, DITHER_USAGE, "there is no option '%.80s'; the options are: %s", name, list);
}

/* ---- the values ---- */

static dither_status set_number(struct dither_options *options, const option_row *row, const char *text,
                                char shown[32], dither_error *error)
{
    char what[64];
    snprintf(what, sizeof what, "--%s", row->info.name);
    char *base = (char *)options;
    dither_status status;
    if (row->info.type == DITHER_OPTION_INTEGER) {
        int64_t value = 0;
        status = dither_parse_integer(what, text, (int64_t)row->info.min, (int64_t)row->info.max, &value, error);
        if (status != DITHER_OK) return status;
        memcpy(base + row->value_at, &value, sizeof value);
        snprintf(shown, 32, "%" PRId64, value);
    } else {
        double value = 0;
        status = dither_parse_real(what, text, row->info.min, row->info.max, &value, error);
        if (status != DITHER_OK) return status;
        memcpy(base + row->value_at, &value, sizeof value);
        dither_format_real(value, shown);
    }
    return DITHER_OK;
}

static dither_status set_flag(struct dither_options *options, const option_row *row, const char *text,
                              dither_error *error)
{
    const int value = strcmp(text, "1") == 0;
    if (!value && strcmp(text, "0") != 0)
        return dither_fail(error, DITHER_USAGE, "--%s: '%.80s' is not 1 or 0", row->info.name, text);
    memcpy((char *)options + row->value_at, &value, sizeof value);
    return DITHER_OK;
}

/* "a|b|c" -> "a, b, c" */
static void list_choices(const char *choices, char *out, size_t out_bytes)
{
    size_t used = 0;
    for (const char *p = choices; *p && used + 3 < out_bytes; p++) {
        if (*p == '|') out[used++] = ',';
        out[used++] = *p == '|' ? ' ' : *p;
    }
    out[used] = '\0';
}

static dither_status check_text(const option_row *row, const char *text, dither_error *error)
{
    if (row->info.type == DITHER_OPTION_TEXT) return row->check ? row->check(text, error) : DITHER_OK;
    if (dither_choice_index(row->info.choices, text) >= 0) return DITHER_OK;
    char list[512];
    list_choices(row->info.choices, list, sizeof list);
    return dither_fail(error, DITHER_USAGE, "--%s: '%.80s' is not one of %s", row->info.name, text, list);
}

/* Keep `text` as the option's text; a CHOICE or TEXT field points at it. */
static dither_status keep_text(struct dither_options *options, int index, const char *text, dither_error *error)
{
    const option_row *row = &table[index];
    char *copy = strdup(text);
    if (!copy) return dither_fail(error, DITHER_INTERNAL, "out of memory");
    free(options->text[index]);
    options->text[index] = copy;
    char *base = (char *)options;
    if (row->info.type == DITHER_OPTION_CHOICE || row->info.type == DITHER_OPTION_TEXT)
        memcpy(base + row->value_at, &copy, sizeof copy);
    if (row->info.type == DITHER_OPTION_INTEGER || row->info.type == DITHER_OPTION_REAL) {
        const int is_set = *text != '\0';
        memcpy(base + row->set_at, &is_set, sizeof is_set);
    }
    return DITHER_OK;
}

dither_status dither_options_set(dither_options *options, const char *name, const char *text, dither_error *error)
{
    if (!options || !name || !text) return dither_fail(error, DITHER_USAGE, "an option needs a name and a value");
    const int index = find_option(name);
    if (index < 0) return fail_unknown(name, error);
    const option_row *row = &table[index];
    char shown[32];
    dither_status status = DITHER_OK;
    if (!*text && !*row->info.initial) return keep_text(options, index, text, error); /* back to unset */
    switch (row->info.type) {
    case DITHER_OPTION_FLAG: status = set_flag(options, row, text, error); break;
    case DITHER_OPTION_INTEGER:
    case DITHER_OPTION_REAL:
        status = set_number(options, row, text, shown, error);
        text = shown;
        break;
    case DITHER_OPTION_CHOICE:
    case DITHER_OPTION_TEXT: status = check_text(row, text, error); break;
    }
    return status == DITHER_OK ? keep_text(options, index, text, error) : status;
}

const char *dither_options_get(const dither_options *options, const char *name)
{
    const int index = options && name ? find_option(name) : -1;
    return index < 0 ? NULL : options->text[index];
}

dither_status dither_options_create(dither_options **out, dither_error *error)
{
    dither_status status = DITHER_OK;
    dither_options *options;
    *out = NULL;
    TRY_ALLOC(options, 1);
    for (int i = 0; i < DITHER_OPTION_COUNT; i++)
        TRY(dither_options_set(options, table[i].info.name, table[i].info.initial, error));
    *out = options;
    options = NULL;
out:
    dither_options_free(options);
    return status;
}

void dither_options_free(dither_options *options)
{
    if (!options) return;
    for (int i = 0; i < DITHER_OPTION_COUNT; i++) free(options->text[i]);
    free(options);
}
