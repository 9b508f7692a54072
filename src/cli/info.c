/* dither info: what this build can do, from the library's registries. */
#include "cli.h"

#include <string.h>

enum { SUMMARY_COLUMN = 20 };

/* "loss" -> "Losses:" */
static void print_heading(const char *kind)
{
    const size_t length = strlen(kind);
    const int hisses = length && (kind[length - 1] == 's' || kind[length - 1] == 'x');
    printf("\n%c%s%s:\n", kind[0] - 'a' + 'A', kind + 1, hisses ? "es" : "s");
}

static void print_entry(const dither_entry *entry)
{
    char text[512];
    const char *source = entry->source ? entry->source : "";
    snprintf(text, sizeof text, "%s%s%s%s%s", entry->available ? "" : "absent: ", entry->summary, *source ? " (" : "",
             source, *source ? ")" : "");
    int column = printf("  %s", entry->name);
    if (column + 2 > SUMMARY_COLUMN) {
        printf("\n");
        column = 0;
    }
    cli_print_wrapped(stdout, text, column, SUMMARY_COLUMN);
}

/* The kind of entry `index` has not appeared before it. */
static int is_first_of_kind(size_t index, const char *kind)
{
    dither_entry before;
    for (size_t i = 0; i < index; i++)
        if (dither_entry_at(i, &before) == DITHER_OK && strcmp(before.kind, kind) == 0) return 0;
    return 1;
}

static dither_status run_info(cli_arguments *arguments, dither_error *error)
{
    dither_status status = DITHER_OK;
    dither_entry entry, other;
    (void)arguments;
    printf("dither %s, built with %s %s\n", dither_version(),
#ifdef __clang__
           "clang",
#else
           "gcc",
#endif
           __VERSION__);
    for (size_t i = 0; i < dither_entry_count(); i++) {
        TRY(dither_entry_at(i, &entry));
        if (!is_first_of_kind(i, entry.kind)) continue;
        print_heading(entry.kind);
        for (size_t j = i; j < dither_entry_count(); j++) {
            TRY(dither_entry_at(j, &other));
            if (strcmp(entry.kind, other.kind) == 0) print_entry(&other);
        }
    }
out:
    if (status != DITHER_OK) cli_fail(error, status, "the registry has a hole");
    return status;
}

const cli_command cli_info = {
    .name = "info",
    .operands = "",
    .summary = "build, devices, codecs, methods, losses",
    .about = "Prints how the program was built, which features and devices it found, and every method, estimator, "
             "codec, wire, loss and prox it knows.",
    .example = "",
    .run = run_info,
};
