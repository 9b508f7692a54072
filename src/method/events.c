#include "events.h"

#include <math.h>
#include <stdlib.h>
#include "exact_math.h"
#include "philox.h"

/* -log(u) by the program's own log1p, as libm's differ: u = f 2^-e with f in [1, 2) */
static double exponential(double u)
{
    int e;
    const double f = 2 * frexp(u, &e); /* exact */
    return -(double)(e - 1) * 0.693147180559945309 - dk_log1p(f - 1);
}

static double duration(const dither_events *q, int worker)
{
    const uint32_t word = dk_word(q->seed, dk_subsequence(q->job[worker], (uint32_t)worker, DK_STREAM_DELAY), 0);
    const double u = ((double)word + 0.5) / 4294967296.0;
    const dither_speeds *s = &q->speeds;
    const double along = q->workers > 1 ? (double)worker / (q->workers - 1) : 0;
    const double speed = s->count ? s->list[worker % s->count] : 1 + (s->spread - 1) * along;
    if (q->duration == DITHER_DURATION_CONSTANT) return 1 / speed;
    return (q->duration == DITHER_DURATION_UNIFORM ? 0.5 + u : exponential(u)) / speed;
}

static int before(dither_event a, dither_event b) { return a.time < b.time || (a.time == b.time && a.worker < b.worker); }

/* Place `event` at `at` or below. */
static void sink(dither_events *q, int at, dither_event event)
{
    for (int child; (child = 2 * at + 1) < q->workers; at = child) {
        if (child + 1 < q->workers && before(q->heap[child + 1], q->heap[child])) child++;
        if (!before(q->heap[child], event)) break;
        q->heap[at] = q->heap[child];
    }
    q->heap[at] = event;
}

dither_status dither_events_open(dither_events *out, const dither_options *o, int workers, dither_error *error)
{
    dither_status status = DITHER_OK;
    *out = (dither_events){.workers = workers, .seed = (uint64_t)o->seed,
                           .duration = dither_choice_index("exponential|uniform|constant", o->duration)};
    TRY(dither_parse_speeds(o->speeds, &out->speeds, error));
    TRY_ALLOC(out->heap, workers);
    TRY_ALLOC(out->job, workers);
    TRY_ALLOC(out->version, workers);
    for (int i = 0; i < workers; i++) out->heap[i] = (dither_event){.time = duration(out, i), .worker = i};
    for (int i = workers / 2; i-- > 0;) sink(out, i, out->heap[i]);
out:
    if (status != DITHER_OK) dither_events_close(out);
    return status;
}

int dither_events_next(const dither_events *q) { return q->heap[0].worker; }

int64_t dither_events_apply(dither_events *q)
{
    dither_event event = q->heap[0];
    const int64_t delay = q->applied++ - q->version[event.worker];
    q->job[event.worker]++;
    q->version[event.worker] = q->applied;
    event.time += duration(q, event.worker);
    sink(q, 0, event);
    return delay;
}

void dither_events_close(dither_events *q)
{
    free(q->heap), free(q->job), free(q->version);
    *q = (dither_events){0};
}
