/* Reductions by the host, for communicators that have no library to do them. */
#ifndef DITHER_COMBINE_H
#define DITHER_COMBINE_H

#include "comm.h"

/* Bytes of an element of a reduction (DITHER_MAX_U32, ...). */
size_t dither_combine_bytes(int reduction);

/* to[e] := the reduction of to[e] and from[e]; sums of bfloat16 are rounded to nearest. */
void dither_combine(int reduction, void *to, const void *from, size_t count);

#endif
