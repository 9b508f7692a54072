/* A trained model: written to a text file, read back to the same bits, scored on data.
 *
 *     dither-model 1
 *     loss logistic
 *     labels -1 1           what -1 and +1 stand for; "rest 3": 3 is +1, all others -1; "none" for regression
 *     features 112
 *     normalize rows        in format 2 only: each row is divided by its Euclidean norm first
 *     weights 97            the number of lines that follow: the weights that are not 0, ascending index from 1
 *     1 0.17320508075688773
 *     ...
 *     checksum 0123456789abcdef
 *
 * With several classes, "labels classes 20" stands for the labels, and for each class in ascending order of its label
 * there follow a line "class 3", with that label, and its weights as above.
 *
 * The checksum is dither_hash64 chained over the lines before it, so a damaged or shortened file is found out. */
#include "data/data.h"
#include "hash.h"
#include "losses.h"
#include "options.h"
#include "problem.h"
#include "whole_file.h"

#include <errno.h>
#include <float.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct dither_model {
    int loss; /* DK_LOSS_... */
    int outputs;
    double *label_values; /* 2: of -1 (NaN: every other value) and +1; or one for each of several outputs; NULL for regression */
    int64_t features;
    int normalized; /* rows are divided by their norms */
    double *x; /* outputs x features */
};

/* ---- writing ---- */

typedef struct writer {
    dither_whole_file file;
    uint64_t hash;
} writer;

static dither_status cannot_write(const char *path, int reason, dither_error *error)
{
    return dither_fail(error, DITHER_IO, "can't write model '%s': %s", path, strerror(reason));
}

/* One line, its end included: the checksum is chained line by line. */
static void write_line(writer *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void write_line(writer *w, const char *format, ...)
{
    char line[128];
    va_list args;
    va_start(args, format);
    const int length = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    w->hash = dither_hash64(w->hash, line, (size_t)length);
    fwrite(line, 1, (size_t)length, w->file.stream);
}

static void write_labels(writer *w, const double *values)
{
    char negative[32] = "rest", positive[32];
    if (!values) {
        write_line(w, "labels none\n");
        return;
    }
    if (dk_finite(values[0])) dither_format_real(values[0], negative);
    dither_format_real(values[1], positive);
    write_line(w, "labels %s %s\n", negative, positive);
}

/* "weights N" and N lines. */
static void write_weights(writer *w, const double *x, int64_t features)
{
    int64_t weights = 0;
    for (int64_t c = 0; c < features; c++) weights += x[c] != 0;
    write_line(w, "weights %" PRId64 "\n", weights);
    for (int64_t c = 0; c < features; c++) {
        char number[32];
        if (x[c] == 0) continue;
        dither_format_real(x[c], number);
        write_line(w, "%" PRId64 " %s\n", c + 1, number);
    }
}

dither_status dither_model_save(const dither_result *result, const char *path, dither_error *error)
{
    dither_status status = DITHER_OK;
    writer w = {0};
    const int several = result->outputs > 1;
    int reason;
    for (int64_t c = 0; c < result->outputs * result->features; c++)
        if (!dk_finite(result->x[c]))
            FAIL(DITHER_DIVERGED, "weight %" PRId64 " is not finite: there is no model to save", c + 1);
    if ((reason = dither_whole_file_open(&w.file, path))) TRY(cannot_write(path, reason, error));
    write_line(&w, "dither-model %d\n", result->normalized ? 2 : 1);
    write_line(&w, "loss %s\n", result->loss);
    if (several) write_line(&w, "labels classes %" PRId64 "\n", result->outputs);
    else write_labels(&w, result->label_values);
    write_line(&w, "features %" PRId64 "\n", result->features);
    if (result->normalized) write_line(&w, "normalize rows\n");
    for (int64_t k = 0; k < result->outputs; k++) {
        char label[32];
        if (several) dither_format_real(result->label_values[k], label), write_line(&w, "class %s\n", label);
        write_weights(&w, result->x + k * result->features, result->features);
    }
    fprintf(w.file.stream, "checksum %016" PRIx64 "\n", w.hash);
    if ((reason = dither_whole_file_commit(&w.file))) TRY(cannot_write(path, reason, error));
out:
    dither_whole_file_close(&w.file);
    return status;
}

/* ---- reading ---- */

typedef struct reader {
    FILE *stream;
    const char *path;
    int64_t line;
    uint64_t hash, hash_before; /* after this line, and before it */
    char text[256];             /* the line, without its end */
    char what[512];             /* the place and the thing, for messages */
} reader;

/* DITHER_BAD_DATA with the place before the message. */
static dither_status bad_line(reader *r, const char *message, dither_error *error)
{
    return dither_fail(error, DITHER_BAD_DATA, "%.600s:%" PRId64 ": %s", r->path, r->line, message);
}

static dither_status next_line(reader *r, dither_error *error)
{
    r->line++;
    if (!fgets(r->text, sizeof r->text, r->stream)) {
        if (!ferror(r->stream)) return bad_line(r, "the model ends too early: the file has been cut short", error);
        return dither_fail(error, DITHER_IO, "can't read model '%s': %s", r->path, strerror(errno));
    }
    size_t length = strlen(r->text);
    if (length == 0 || r->text[length - 1] != '\n')
        return bad_line(r, r->line == 1 ? "not a dither model" : "the line doesn't end: the file has been cut short",
                        error);
    r->hash_before = r->hash;
    r->hash = dither_hash64(r->hash, r->text, length);
    r->text[length - 1] = '\0';
    return DITHER_OK;
}

/* A line "name value"; *value points into the reader's text. */
static dither_status next_field(reader *r, const char *name, char **value, dither_error *error)
{
    const dither_status status = next_line(r, error);
    if (status != DITHER_OK) return status;
    const size_t length = strlen(name);
    if (strncmp(r->text, name, length) != 0 || r->text[length] != ' ') {
        char message[64];
        snprintf(message, sizeof message, "'%s' and a value should stand here", name);
        return bad_line(r, message, error);
    }
    *value = r->text + length + 1;
    return DITHER_OK;
}

static const char *place(reader *r, const char *thing)
{
    snprintf(r->what, sizeof r->what, "%.400s:%" PRId64 ": %s", r->path, r->line, thing);
    return r->what;
}

/* What the option parser calls bad usage is bad data in a file. */
static dither_status as_data(dither_status status, dither_error *error)
{
    if (status != DITHER_USAGE) return status;
    if (error) error->status = DITHER_BAD_DATA;
    return DITHER_BAD_DATA;
}

static dither_status read_integer(reader *r, const char *thing, const char *text, int64_t min, int64_t max,
                                  int64_t *out, dither_error *error)
{
    return as_data(dither_parse_integer(place(r, thing), text, min, max, out, error), error);
}

static dither_status read_real(reader *r, const char *thing, const char *text, double *out, dither_error *error)
{
    return as_data(dither_parse_real(place(r, thing), text, -DBL_MAX, DBL_MAX, out, error), error);
}

/* "rest 3" or "-1 1" */
static dither_status read_two_labels(reader *r, char *text, dither_model *model, dither_error *error)
{
    dither_status status = DITHER_OK;
    char *space = strchr(text, ' ');
    TRY_ALLOC(model->label_values, 2);
    if (!space) FAIL(DITHER_BAD_DATA, "%.600s:%" PRId64 ": two labels should stand here", r->path, r->line);
    *space = '\0';
    model->label_values[0] = __builtin_nan("");
    if (strcmp(text, "rest") != 0) TRY(read_real(r, "label", text, &model->label_values[0], error));
    TRY(read_real(r, "label", space + 1, &model->label_values[1], error));
    if (model->label_values[0] == model->label_values[1])
        FAIL(DITHER_BAD_DATA, "%.600s:%" PRId64 ": the two labels are the same", r->path, r->line);
out:
    return status;
}

static dither_status read_labels(reader *r, dither_model *model, dither_error *error)
{
    dither_status status = DITHER_OK;
    char *value;
    int64_t count;
    TRY(next_field(r, "labels", &value, error));
    const int classes = dither_loss_classes(model->loss), several = classes == DITHER_CLASSES_ANY;
    model->outputs = 1;
    if ((strcmp(value, "none") == 0) != (classes == 0) || (strncmp(value, "classes ", 8) == 0) != several)
        FAIL(DITHER_BAD_DATA, "%.600s:%" PRId64 ": the loss takes %s", r->path, r->line,
             several ? "several classes: 'labels classes K'" : classes ? "two labels" : "no labels: 'labels none'");
    if (classes == 2) TRY(read_two_labels(r, value, model, error));
    if (!several) goto out;
    TRY(read_integer(r, "number of classes", value + 8, 2, DITHER_LABELS_MAX, &count, error));
    model->outputs = (int)count;
    TRY_ALLOC(model->label_values, count);
out:
    return status;
}

static dither_status read_header(reader *r, dither_model *model, dither_error *error)
{
    dither_status status = DITHER_OK;
    char *value;
    TRY(next_line(r, error));
    if (strncmp(r->text, "dither-model ", 13) != 0) FAIL(DITHER_BAD_DATA, "%s: not a dither model", r->path);
    model->normalized = strcmp(r->text, "dither-model 2") == 0;
    if (!model->normalized && strcmp(r->text, "dither-model 1") != 0)
        FAIL(DITHER_BAD_DATA, "%.600s:1: this is model format %.40s; this program reads formats 1 and 2", r->path,
             r->text + 13);
    TRY(next_field(r, "loss", &value, error));
    model->loss = dither_loss_find(value);
    if (model->loss < 0)
        FAIL(DITHER_BAD_DATA, "%.400s:%" PRId64 ": unknown loss '%.80s'; the losses are %s", r->path, r->line, value,
             DITHER_LOSS_CHOICES);
    TRY(read_labels(r, model, error));
    TRY(next_field(r, "features", &value, error));
    TRY(read_integer(r, "features", value, 1, INT32_MAX, &model->features, error));
    if (!model->normalized) goto out;
    TRY(next_field(r, "normalize", &value, error));
    if (strcmp(value, "rows") != 0)
        FAIL(DITHER_BAD_DATA, "%.600s:%" PRId64 ": 'normalize rows' should stand here", r->path, r->line);
out:
    return status;
}

typedef struct weight {
    int64_t index; /* from 1 */
    double value;
} weight;

/* The weights of all classes, as they are read. */
typedef struct weight_list {
    weight *at; /* index: with those of earlier classes before it, from 1 */
    int64_t count, room;
} weight_list;

/* A line "index value" of class k. The list grows as it is read: a damaged count allocates nothing. */
static dither_status read_weight(reader *r, const dither_model *model, int64_t k, int64_t *before, weight_list *list,
                                 dither_error *error)
{
    dither_status status = DITHER_OK;
    char *space = strchr(r->text, ' ');
    int64_t index;
    if (!space) FAIL(DITHER_BAD_DATA, "%.600s:%" PRId64 ": an index and a weight should stand here", r->path, r->line);
    *space = '\0';
    if (list->count == list->room) {
        list->room = list->room ? 2 * list->room : 1024;
        weight *larger = realloc(list->at, (size_t)list->room * sizeof *larger);
        if (!larger) FAIL(DITHER_INTERNAL, "out of memory: %" PRId64 " weights", list->room);
        list->at = larger;
    }
    TRY(read_integer(r, "feature index", r->text, *before + 1, model->features, &index, error));
    *before = index;
    list->at[list->count].index = k * model->features + index;
    TRY(read_real(r, "weight", space + 1, &list->at[list->count].value, error));
    list->count++;
out:
    return status;
}

/* "weights N" and N lines; with several classes "class LABEL" before. */
static dither_status read_class(reader *r, dither_model *model, int64_t k, weight_list *list, dither_error *error)
{
    dither_status status = DITHER_OK;
    char *value;
    int64_t weights, before = 0;
    if (model->outputs > 1) {
        TRY(next_field(r, "class", &value, error));
        TRY(read_real(r, "label", value, &model->label_values[k], error));
        if (k > 0 && !(model->label_values[k] > model->label_values[k - 1]))
            FAIL(DITHER_BAD_DATA, "%.600s:%" PRId64 ": the classes' labels must ascend", r->path, r->line);
    }
    TRY(next_field(r, "weights", &value, error));
    TRY(read_integer(r, "weights", value, 0, model->features, &weights, error));
    for (int64_t i = 0; i < weights; i++) {
        TRY(next_line(r, error));
        TRY(read_weight(r, model, k, &before, list, error));
    }
out:
    return status;
}

static dither_status read_checksum(reader *r, dither_error *error)
{
    dither_status status = DITHER_OK;
    char *value, right[32];
    TRY(next_field(r, "checksum", &value, error));
    snprintf(right, sizeof right, "%016" PRIx64, r->hash_before);
    if (strcmp(value, right) != 0)
        FAIL(DITHER_BAD_DATA, "%.600s:%" PRId64 ": the lines above have checksum %s, not %.40s: the file has been "
             "changed", r->path, r->line, right, value);
    if (fgetc(r->stream) != EOF)
        FAIL(DITHER_BAD_DATA, "%.600s:%" PRId64 ": nothing may follow the checksum", r->path, r->line + 1);
out:
    return status;
}

dither_status dither_model_load(const char *path, dither_model **out, dither_error *error)
{
    dither_status status = DITHER_OK;
    reader r = {.path = path};
    dither_model *model = NULL;
    weight_list list = {0};
    *out = NULL;
    r.stream = fopen(path, "re");
    if (!r.stream) FAIL(DITHER_IO, "can't open model '%s': %s", path, strerror(errno));
    TRY_ALLOC(model, 1);
    TRY(read_header(&r, model, error));
    for (int64_t k = 0; k < model->outputs; k++) TRY(read_class(&r, model, k, &list, error));
    TRY(read_checksum(&r, error));
    TRY_ALLOC(model->x, model->outputs * model->features);
    for (int64_t i = 0; i < list.count; i++) model->x[list.at[i].index - 1] = list.at[i].value;
    *out = model;
    model = NULL;
out:
    if (r.stream) fclose(r.stream);
    free(list.at);
    dither_model_free(model);
    return status;
}

int64_t dither_model_features(const dither_model *model) { return model->features; }

void dither_model_free(dither_model *model)
{
    if (!model) return;
    free(model->x);
    free(model->label_values);
    free(model);
}

/* ---- scoring ---- */

/* The number of the row's class among several. */
static dither_status number_of(const dither_model *model, double label, int64_t row, double *y, dither_error *error)
{
    int low = 0, high = model->outputs - 1;
    while (low < high) {
        const int middle = (low + high) / 2;
        if (model->label_values[middle] < label) low = middle + 1; else high = middle;
    }
    *y = low;
    if (model->label_values[low] == label) return DITHER_OK;
    char given[32], least[32], largest[32];
    dither_format_real(label, given);
    dither_format_real(model->label_values[0], least);
    dither_format_real(model->label_values[model->outputs - 1], largest);
    return dither_fail(error, DITHER_BAD_DATA, "row %" PRId64 " has label %s, which is none of the model's %d classes, from "
                       "%s to %s", row + 1, given, model->outputs, least, largest);
}

/* The row's label as the loss takes it. */
static dither_status class_of(const dither_model *model, double label, int64_t row, double *y, dither_error *error)
{
    const double *values = model->label_values;
    const int rest = values && !dk_finite(values[0]);
    if (model->outputs > 1) return number_of(model, label, row, y, error);
    if (dither_loss_classes(model->loss) == 0) {
        *y = label;
    } else if (label == values[1]) {
        *y = 1;
    } else if (rest || label == values[0]) {
        *y = -1;
    } else {
        char given[32], negative[32], positive[32];
        dither_format_real(label, given);
        dither_format_real(values[0], negative);
        dither_format_real(values[1], positive);
        return dither_fail(error, DITHER_BAD_DATA, "row %" PRId64 " has label %s; the model knows the labels %s and %s",
                           row + 1, given, negative, positive);
    }
    return DITHER_OK;
}

/* z[k] = a.x_k; `scratch` has room for the row's entries. */
static dither_status margins_of(const dither_model *model, const dither_data *data, int64_t row, double *scratch, double *z,
                                dither_error *error)
{
    const int64_t begin = data->row_start[row], entries = data->row_start[row + 1] - begin;
    const double *value = data->value + begin;
    if (model->normalized && !data->normalized && entries) {
        memcpy(scratch, value, (size_t)entries * sizeof *value);
        dither_row_normalize(scratch, entries);
        value = scratch;
    }
    memset(z, 0, (size_t)model->outputs * sizeof *z);
    for (int64_t e = 0; e < entries; e++) {
        const int64_t column = data->column[begin + e];
        if (column >= model->features)
            return dither_fail(error, DITHER_BAD_DATA, "row %" PRId64 " has feature %" PRId64 "; the model has %"
                               PRId64 " features", row + 1, column + 1, model->features);
        for (int k = 0; k < model->outputs; k++) z[k] += value[e] * model->x[k * model->features + column];
    }
    return DITHER_OK;
}

/* Is y's class the one that the margins speak for? Of equal ones that is the first. */
static int is_right(const dither_model *model, const double *z, double y)
{
    int top = 0;
    if (model->outputs == 1) return (z[0] > 0) == (y > 0);
    for (int k = 1; k < model->outputs; k++)
        if (z[k] > z[top]) top = k;
    return top == (int)y;
}

dither_status dither_model_score(const dither_model *model, const dither_data *data, dither_score *out,
                                 dither_error *error)
{
    dither_status status = DITHER_OK;
    const int several = model->outputs > 1;
    double loss = 0, *z = NULL, *scratch = NULL;
    int64_t right = 0, longest = 0;
    if (data->rows == 0) FAIL(DITHER_BAD_DATA, "there are no rows to score");
    for (int64_t row = 0; row < data->rows; row++) {
        const int64_t entries = data->row_start[row + 1] - data->row_start[row];
        longest = entries > longest ? entries : longest;
    }
    TRY_ALLOC(z, model->outputs);
    TRY_ALLOC(scratch, longest);
    for (int64_t row = 0; row < data->rows; row++) {
        double y = 0;
        TRY(class_of(model, data->label[row], row, &y, error));
        TRY(margins_of(model, data, row, scratch, z, error));
        loss += several ? dk_multi_value(model->loss, z, model->outputs, y) : dk_loss_value(model->loss, z[0], y);
        right += is_right(model, z, y);
    }
    out->rows = data->rows;
    out->accuracy = dither_loss_classes(model->loss) ? (double)right / (double)data->rows : __builtin_nan("");
    out->loss = loss / (double)data->rows;
out:
    free(z);
    free(scratch);
    return status;
}
