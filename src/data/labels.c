#include <math.h>
#include "data.h"

#include "parse_number.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LISTED 24

/* The smallest distinct label values, ascending, and whether there are more. */
typedef struct label_list {
    double value[LISTED];
    int count, more;
} label_list;

static void list_add(label_list *list, double label)
{
    int at = list->count;
    while (at > 0 && list->value[at - 1] > label) at--;
    if (at > 0 && list->value[at - 1] == label) return;
    if (at == LISTED) {
        list->more = 1;
        return;
    }
    list->more |= list->count == LISTED;
    list->count += list->count < LISTED;
    memmove(list->value + at + 1, list->value + at, (size_t)(list->count - 1 - at) * sizeof *list->value);
    list->value[at] = label;
}

static label_list list_labels(const dither_data *data)
{
    label_list list = {.count = 0};
    for (int64_t r = 0; r < data->rows; r++) list_add(&list, data->label[r]);
    return list;
}

/* "-1, 1" */
static void list_print(const label_list *list, char *text, size_t size)
{
    size_t used = 0;
    for (int i = 0; i < list->count && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%.12g", i ? ", " : "", list->value[i]);
    if (list->more && used < size) snprintf(text + used, size - used, ", ...");
}

static dither_status choose_positive(const label_list *list, const char *positive, double *out, dither_error *error)
{
    dither_status status = DITHER_OK;
    char text[LISTED * 24];
    list_print(list, text, sizeof text);
    if (list->count == 1) FAIL(DITHER_BAD_DATA, "all labels are %s; there must be two values at least", text);
    if (!strcmp(positive, "auto")) {
        if (list->count > 2)
            FAIL(DITHER_BAD_DATA, "more than two label values: %s; say with --labels which one is +1, the others "
                 "are -1", text);
        *out = list->value[1];
        goto out;
    }
    const char *end = positive;
    if (dither_number_parse(&end, out) != DITHER_NUMBER_OK || *end)
        FAIL(DITHER_USAGE, "labels '%.80s': neither a number nor auto; the labels are %s", positive, text);
out:
    return status;
}

dither_status dither_labels_map(const dither_data *data, const char *positive, double *y, double values[2],
                                dither_error *error)
{
    dither_status status = DITHER_OK;
    char text[LISTED * 24];
    double plus = 0;
    int64_t found = 0;
    const label_list list = list_labels(data);
    TRY(choose_positive(&list, positive, &plus, error));
    for (int64_t r = 0; r < data->rows; r++) {
        y[r] = data->label[r] == plus ? 1 : -1;
        found += data->label[r] == plus;
    }
    if (!found) {
        list_print(&list, text, sizeof text);
        FAIL(DITHER_USAGE, "no label is %.80s; the labels are %s", positive, text);
    }
    values[0] = list.count > 2 ? NAN : list.value[list.value[0] == plus];
    values[1] = plus;
out:
    return status;
}

static int compare_values(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

dither_status dither_labels_number(const dither_data *data, const char *positive, double *y, double **values, int *count,
                                   dither_error *error)
{
    dither_status status = DITHER_OK;
    double *sorted = NULL;
    int64_t distinct = 0;
    *values = NULL, *count = 0;
    if (strcmp(positive, "auto") != 0)
        FAIL(DITHER_USAGE, "--labels %.80s chooses one label against all others; with a loss of several classes every "
             "label value is a class", positive);
    TRY_ALLOC(sorted, data->rows);
    memcpy(sorted, data->label, (size_t)data->rows * sizeof *sorted);
    qsort(sorted, (size_t)data->rows, sizeof *sorted, compare_values);
    for (int64_t r = 0; r < data->rows; r++)
        if (r == 0 || sorted[r] != sorted[r - 1]) sorted[distinct++] = sorted[r];
    if (distinct == 1) FAIL(DITHER_BAD_DATA, "all labels are %.12g; there must be two values at least", sorted[0]);
    if (distinct > DITHER_LABELS_MAX)
        FAIL(DITHER_BAD_DATA, "%lld label values: more than the %d classes that there may be; real numbers take --loss "
             "least-squares", (long long)distinct, DITHER_LABELS_MAX);
    for (int64_t r = 0; r < data->rows; r++) {
        const double *at = bsearch(&data->label[r], sorted, (size_t)distinct, sizeof *sorted, compare_values);
        y[r] = (double)(at - sorted);
    }
    *values = sorted, *count = (int)distinct, sorted = NULL;
out:
    free(sorted);
    return status;
}
