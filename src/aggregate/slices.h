/* Slices: which rank decodes which coordinates of all messages and quantizes them again. A slice is a run of whole tiles
 * (kernels/kernels.h), and a block of several tiles is in one slice; so a slice of a message is a run of its words, and
 * what is computed of a slice does not depend on how many there are. */
#ifndef DITHER_SLICES_H
#define DITHER_SLICES_H

#include "plan.h"

/* Tiles [begin, end), and where they are: coordinates [lo, hi), and words of the messages to and from the owner. */
typedef struct dither_slice {
    int64_t begin, end, lo, hi;
    struct {
        int64_t scale, scale_end, word, word_end;
    } up, back;
} dither_slice;

typedef struct dither_layouts {
    dk_layout up, back;
    int up_raw, back_raw; /* words of a coordinate that is sent as it is; 0: there are tiles of symbols */
} dither_layouts;

/* Of the plan's messages, and of those back in `codec`. */
void dither_layouts_make(dither_layouts *out, const dither_plan *plan, const dk_codec *back);
/* Rank r's slice of R; with `star`, all is rank 0's. */
dither_slice dither_slice_of(const dither_layouts *layouts, int ranks, int rank, int star);

/* The codec of messages back, as the options say: identity, which is exact, or dithering. */
dk_codec dither_back_codec(const dither_plan *plan, int lossy);
/* Coordinates that share a scale on the way back: as on the way there, but a vector that is one block is many. */
int64_t dither_back_block(const dither_plan *plan);

/* Bytes of a slice of a worker's message, and of the message back. */
static inline int64_t dither_slice_up_bytes(const dither_slice *s)
{
    return 4 * (s->up.scale_end - s->up.scale + s->up.word_end - s->up.word);
}
static inline int64_t dither_slice_back_bytes(const dither_slice *s)
{
    return 4 * (s->back.scale_end - s->back.scale + s->back.word_end - s->back.word);
}

#endif
