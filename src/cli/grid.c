/* The configurations of an ablation: every option that was given a list is an axis. */
#include "ablation.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { CONFIGS_MOST = 1000000 };

static void free_list(cli_list *list)
{
    for (int i = 0; i < list->n; i++) free(list->value[i]);
    free(list->value);
    *list = (cli_list){0};
}

static dither_status add_value(cli_list *list, const char *name, const char *value, dither_error *error)
{
    dither_status status = DITHER_OK;
    char **larger = realloc(list->value, ((size_t)list->n + 1) * sizeof *larger);
    if (!larger) FAIL(DITHER_INTERNAL, "out of memory");
    list->value = larger;
    for (int i = 0; i < list->n; i++)
        if (strcmp(list->value[i], value) == 0) FAIL(DITHER_USAGE, "--%s: %.80s stands twice in the list", name, value);
    if (!(list->value[list->n] = strdup(value))) FAIL(DITHER_INTERNAL, "out of memory");
    list->n++;
out:
    return status;
}

/* Cut `text` at commas into values, each the shortest that the option takes: "elastic:1,2,l1:3" is elastic:1,2 and
 * l1:3, since elastic:1 is no value. `scratch` is left with the first. */
static dither_status split(dither_options *scratch, const char *name, const char *text, cli_list *list,
                           dither_error *error)
{
    dither_status status = DITHER_OK;
    dither_error first;
    char *copy = strdup(text), *piece = copy;
    if (!copy) FAIL(DITHER_INTERNAL, "out of memory");
    while (piece) {
        char *end = piece + strcspn(piece, ",");
        if (end == piece) FAIL(DITHER_USAGE, "--%s: '%.80s' has an empty place", name, text);
        for (int tries = 0;; tries++) {
            const char kept = *end;
            *end = '\0';
            status = dither_options_set(scratch, name, piece, tries ? error : &first);
            *end = kept;
            if (status == DITHER_OK) break;
            if (!kept) {
                *error = first;
                goto out;
            }
            end += 1 + strcspn(end + 1, ",");
        }
        TRY(add_value(list, name, dither_options_get(scratch, name), error));
        piece = *end ? end + 1 : NULL;
    }
    TRY(dither_options_set(scratch, name, list->value[0], error));
out:
    free(copy);
    return status;
}

/* Options whose value is itself a list, or a path: one value, never an axis. */
static int is_one_value(const char *name)
{
    static const char *const names[] = {"local-schedule", "speeds", "idx-labels"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0) return 1;
    return 0;
}

static dither_status take_whole(dither_options *scratch, const char *name, const char *text, cli_list *list,
                                dither_error *error)
{
    const dither_status status = dither_options_set(scratch, name, text, error);
    return status == DITHER_OK ? add_value(list, name, dither_options_get(scratch, name), error) : status;
}

/* --seeds K counts from --seed; or --seed is a list. */
static dither_status make_seeds(const cli_arguments *arguments, cli_list *given, cli_grid *grid, dither_error *error)
{
    dither_status status = DITHER_OK;
    const char *count = dither_options_get(arguments->options, "seeds");
    const int64_t seeds = strtoll(count, NULL, 10);
    const int64_t first = given->n ? strtoll(given->value[0], NULL, 10) : 0;
    if (given->n > 1 && seeds > 1) FAIL(DITHER_USAGE, "give --seeds, or a list of --seed, not both");
    if (given->n > 1) {
        grid->seeds = *given;
        *given = (cli_list){0};
        return DITHER_OK;
    }
    for (int64_t i = 0; i < seeds; i++) {
        char text[CLI_NUMBER_BYTES];
        snprintf(text, sizeof text, "%" PRId64, first + i);
        TRY(add_value(&grid->seeds, "seed", text, error));
    }
out:
    free_list(given);
    return status;
}

dither_status cli_grid_make(const cli_arguments *arguments, cli_grid *out, dither_error *error)
{
    dither_status status = DITHER_OK;
    dither_options *scratch = NULL;
    cli_list seed = {0};
    *out = (cli_grid){.config_n = 1};
    out->list = calloc(dither_option_count(), sizeof *out->list);
    if (!out->list) FAIL(DITHER_INTERNAL, "out of memory");
    TRY(dither_options_create(&scratch, error));
    for (size_t i = 0; i < dither_option_count(); i++) {
        const char *name = dither_option_at(i)->name, *text = arguments->lists ? arguments->lists[i] : NULL;
        if (!text) continue;
        cli_list *list = strcmp(name, "seed") == 0 ? &seed : &out->list[i];
        if (is_one_value(name)) TRY(take_whole(scratch, name, text, list, error));
        else TRY(split(scratch, name, text, list, error));
        if (list == &seed) continue;
        out->config_n *= list->n;
        if (out->config_n > CONFIGS_MOST) FAIL(DITHER_USAGE, "more than %d configurations", CONFIGS_MOST);
    }
    TRY(make_seeds(arguments, &seed, out, error));
out:
    free_list(&seed);
    dither_options_free(scratch);
    return status;
}

void cli_grid_free(cli_grid *grid)
{
    for (size_t i = 0; grid->list && i < dither_option_count(); i++) free_list(&grid->list[i]);
    free(grid->list);
    free_list(&grid->seeds);
    *grid = (cli_grid){0};
}

dither_status cli_grid_options(const cli_grid *grid, const cli_arguments *arguments, int64_t config, int seed,
                               const char *gamma, dither_options **out, dither_error *error)
{
    dither_status status = DITHER_OK;
    dither_options *options = NULL;
    TRY(dither_options_create(&options, error));
    for (size_t i = dither_option_count(); i-- > 0;) { /* the last axis is the fastest */
        const dither_option_info *info = dither_option_at(i);
        const cli_list *list = &grid->list[i];
        const char *value = list->n ? list->value[config % list->n] : dither_options_get(arguments->options, info->name);
        if (list->n) config /= list->n;
        if (cli_takes_option(&cli_ablate, info)) TRY(dither_options_set(options, info->name, value, error));
    }
    if (!*dither_options_get(options, "threads")) TRY(dither_options_set(options, "threads", "1", error));
    TRY(dither_options_set(options, "seed", grid->seeds.value[seed], error));
    if (gamma) TRY(dither_options_set(options, "gamma", gamma, error));
    *out = options;
    options = NULL;
out:
    dither_options_free(options);
    return status;
}
