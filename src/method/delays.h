/* Gradients that arrive late: by how many iterations, and how often that was. */
#ifndef DITHER_DELAYS_H
#define DITHER_DELAYS_H

#include "options.h"

/* The delay of worker i's gradient in iteration k: drawn from stream DK_STREAM_DELAY, so that it is the same on every
 * rank; never more than k, as there is nothing before x^0. */
int64_t dither_delay_draw(const dither_delay *delay, uint64_t seed, int64_t iteration, int worker);

/* How many gradients were late by d = 0, 1, 2, ...; the last of the counts is of all longer ones too. */
enum { DITHER_DELAYS = 1024 };
typedef struct dither_delays {
    int64_t count[DITHER_DELAYS], total, most;
    double sum;
} dither_delays;

void dither_delays_add(dither_delays *delays, int64_t delay);

#endif
