/* --tune gamma: a search for the step size that reaches the target at the least cost.
 *
 *   1. the --gamma given (practical, unless told otherwise): gamma_0
 *   2. gamma_0 4^k for k = -3 ... 3; while the best is at an end, up to 4 more beyond it
 *   3. golden section in log gamma between the best's two neighbours, until the interval's ends are within 20 %
 *
 * A trial that reached the target is better than one that did not; of two that did, the cheaper is better; of two that
 * did not, the one that came closer; one that diverged or was refused is the worst. The search only compares, so a
 * method that never arrives is tuned for how far it gets. */
#include "ablation.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { GRID_SIDE = 3, EXTENSIONS = 4, TRIALS_MOST = 40 };
static const double GRID_FACTOR = 4, INTERVAL = 1.2;

typedef struct trial {
    double gamma;
    int asked, known;
    int rank;    /* 0 reached, 1 did not, 2 diverged */
    double cost; /* among those of a rank */
} trial;

struct cli_tune {
    char by[16];
    cli_target target;
    trial trials[TRIALS_MOST]; /* the start, the grid, then the golden section's */
    int n;
    int extensions;
    int golden; /* the third phase has begun */
    double low, high;     /* its interval */
    int left, right;      /* its two trials inside, left < right */
    int done;
};

dither_status cli_tune_create(const char *by, const cli_target *target, cli_tune **out, dither_error *error)
{
    cli_tune *tune = *out = calloc(1, sizeof *tune);
    if (!tune) return cli_fail(error, DITHER_INTERNAL, "out of memory");
    snprintf(tune->by, sizeof tune->by, "%s", by);
    tune->target = *target;
    tune->trials[tune->n++].gamma = NAN;
    return DITHER_OK;
}

void cli_tune_free(cli_tune *tune) { free(tune); }

/* Four digits of gamma: enough for a search, and short to type again. */
static int add_trial(cli_tune *tune, double gamma)
{
    char text[CLI_NUMBER_BYTES];
    snprintf(text, sizeof text, "%.4g", gamma);
    tune->trials[tune->n] = (trial){.gamma = strtod(text, NULL)};
    return tune->n++;
}

static int is_better(const trial *a, const trial *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->cost < b->cost;
}

static int best_of(const cli_tune *tune)
{
    int best = 0;
    for (int i = 1; i < tune->n; i++)
        if (tune->trials[i].known && is_better(&tune->trials[i], &tune->trials[best])) best = i;
    return best;
}

static void begin_grid(cli_tune *tune)
{
    const double start = tune->trials[0].gamma;
    for (int k = -GRID_SIDE; k <= GRID_SIDE; k++)
        if (k != 0) add_trial(tune, start * pow(GRID_FACTOR, k));
}

/* A trial beyond the grid's end if the best stands there: 1. */
static int extend_grid(cli_tune *tune, const trial *best)
{
    double least = best->gamma, most = best->gamma;
    for (int i = 0; i < tune->n; i++) {
        least = fmin(least, tune->trials[i].gamma);
        most = fmax(most, tune->trials[i].gamma);
    }
    if (tune->extensions == EXTENSIONS || best->rank == 2 || (best->gamma > least && best->gamma < most)) return 0;
    tune->extensions++;
    add_trial(tune, best->gamma == least ? least / GRID_FACTOR : most * GRID_FACTOR);
    return 1;
}

/* The point at `share` of the interval, in log gamma. */
static double between(const cli_tune *tune, double share)
{
    return tune->low * pow(tune->high / tune->low, share);
}

static const double GOLDEN = 0.6180339887498949;

static void begin_golden(cli_tune *tune, double centre)
{
    tune->golden = 1;
    tune->low = centre / GRID_FACTOR;
    tune->high = centre * GRID_FACTOR;
    tune->left = add_trial(tune, between(tune, 1 - GOLDEN));
    tune->right = add_trial(tune, between(tune, GOLDEN));
}

/* Keep the part of the interval with the better of the two inside; the other trial's new place is asked for. */
static void shrink(cli_tune *tune)
{
    if (is_better(&tune->trials[tune->left], &tune->trials[tune->right])) {
        tune->high = tune->trials[tune->right].gamma;
        tune->right = tune->left;
        if (tune->high / tune->low > INTERVAL) tune->left = add_trial(tune, between(tune, 1 - GOLDEN));
    } else {
        tune->low = tune->trials[tune->left].gamma;
        tune->left = tune->right;
        if (tune->high / tune->low > INTERVAL) tune->right = add_trial(tune, between(tune, GOLDEN));
    }
}

/* All that was asked for is known: what next? */
static void advance(cli_tune *tune)
{
    const trial *best = &tune->trials[best_of(tune)];
    if (tune->n == 1) {
        if (isfinite(best->gamma) && best->gamma > 0) begin_grid(tune);
        else tune->done = 1; /* refused: no other step would help */
    } else if (!tune->golden) {
        if (extend_grid(tune, best)) return;
        if (best->rank == 2) tune->done = 1; /* all diverged */
        else begin_golden(tune, best->gamma);
    } else if (tune->high / tune->low > INTERVAL && tune->n < TRIALS_MOST) {
        shrink(tune);
    } else {
        tune->done = 1;
    }
}

cli_tune_step cli_tune_next(cli_tune *tune, int *index, double *gamma)
{
    while (!tune->done) {
        int waits = 0;
        for (int i = 0; i < tune->n; i++) {
            waits |= !tune->trials[i].known;
            if (tune->trials[i].asked) continue;
            tune->trials[i].asked = 1;
            *index = i;
            *gamma = tune->trials[i].gamma;
            return CLI_TUNE_TRY;
        }
        if (waits) return CLI_TUNE_WAIT;
        advance(tune);
    }
    return CLI_TUNE_DONE;
}

void cli_tune_result(cli_tune *tune, int index, const cli_outcome *outcome)
{
    trial *t = &tune->trials[index];
    const dither_point *last = &outcome->last;
    t->known = 1;
    if (index == 0) t->gamma = outcome->gamma;
    if (strcmp(outcome->status, "reached") == 0) {
        t->cost = strcmp(tune->by, "bits") == 0 ? last->uplink_bits
                  : strcmp(tune->by, "seconds") == 0 ? last->seconds : (double)last->iteration;
    } else {
        t->rank = strcmp(outcome->status, "diverged") == 0 || strcmp(outcome->status, "refused") == 0 ? 2 : 1;
        t->cost = cli_target_metric(&tune->target, last);
        if (isnan(t->cost)) t->rank = 2, t->cost = INFINITY;
    }
}

double cli_tune_best(const cli_tune *tune, int *trials)
{
    *trials = tune->n;
    return tune->trials[best_of(tune)].gamma;
}
