/* Where the time of an iteration goes: the functions of the device and the communicator, each followed by a mark. A run
 * is timed by giving it these tables for its own, so that whatever is made of the stages is timed, and a run that is
 * not timed knows nothing of it. */
#ifndef DITHER_TIMING_H
#define DITHER_TIMING_H

#include "method/stages.h"

enum dither_phase {
    DITHER_GRADIENT,    /* of the drawn rows, and local steps */
    DITHER_ENCODE,      /* g_i - h_i to messages, h_i; and what it takes to sum those as integers */
    DITHER_COMMUNICATE, /* all calls of the communicator, and copies between host and device */
    DITHER_STEP,        /* decoding all messages, h, x, averages */
    DITHER_REFRESH,     /* full gradients: of a snapshot, or of a method without drawn rows */
    DITHER_PHASES
};

enum { DITHER_TIMING_REFRESHES = 1024 };

typedef struct dither_timing {
    dither_comm comm; /* stands for the aggregate's own; first, so that a call of it leads here */
    dither_run *run;
    dk_device device;        /* the run's own */
    dither_comm *run_comm;
    int marks, phase[DK_MARKS];
    int failed;              /* code of a device's call that only measures */
    double seconds[DITHER_PHASES]; /* so far, without the cost of the marks themselves */
    int64_t refreshes;       /* calls so far, inside of begin and end or not; seconds of the latest: */
    double refresh[DITHER_TIMING_REFRESHES];
    double mark_cost;        /* seconds of one mark */
} dither_timing;

dither_status dither_timing_open(dither_timing *out, dither_run *run, dither_error *error);
/* From here on every call is followed by a mark, until the end; which adds up the phases. On the calling thread. */
void dither_timing_begin(dither_timing *timing);
dither_status dither_timing_end(dither_timing *timing, dither_error *error);
/* In between, only refreshes, which are rare, are timed. */
void dither_timing_watch(dither_timing *timing);
/* The run has its own tables again. */
void dither_timing_stop(dither_timing *timing);

#endif
