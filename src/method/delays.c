#include "delays.h"

#include "kernels.h"
#include "philox.h"

int64_t dither_delay_draw(const dither_delay *d, uint64_t seed, int64_t iteration, int worker)
{
    const uint32_t word = dk_word(seed, dk_subsequence(iteration, (uint32_t)worker, DK_STREAM_DELAY), 0);
    int64_t delay = d->most;
    if (d->rule == DK_DELAY_UNIFORM) delay = dk_index(word, d->most + 1);
    if (d->rule == DK_DELAY_STRAGGLER && !((double)word < d->share * 4294967296.0)) delay = 0;
    return delay < iteration ? delay : iteration;
}

void dither_delays_add(dither_delays *d, int64_t delay)
{
    d->count[delay < DITHER_DELAYS ? delay : DITHER_DELAYS - 1]++;
    d->total++;
    d->sum += (double)delay;
    if (delay > d->most) d->most = delay;
}
