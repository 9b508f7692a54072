/* Sums of symbols as digits of 32- or 64-bit words, so that adding words adds all their digits at once: with base >
 * 2 s n no sum of n symbols reaches the base, and nothing is carried into the next digit (docs/ranks.md). */
#ifndef DITHER_DIGITS_H
#define DITHER_DIGITS_H

#include "hd.h"
#include "kernels.h"

/* Word `index` of the packed form of sums[0..d-1]. */
HD uint64_t dk_digits_pack(const dk_digits *l, const uint32_t *sums, int64_t d, int64_t index)
{
    const int64_t first = index * l->per_word;
    const int length = (int)(d - first < l->per_word ? d - first : l->per_word);
    uint64_t word = 0;
    for (int j = length; j-- > 0;) word = (l->shift ? word << l->shift : word * l->base) + sums[first + j];
    return word;
}

/* Digit i of the packed words. */
HD uint32_t dk_digit(const dk_digits *l, const void *words, int64_t i)
{
    const int64_t at = i / l->per_word;
    uint64_t word = l->word_bytes == 4 ? ((const uint32_t *)words)[at] : ((const uint64_t *)words)[at];
    const int j = (int)(i % l->per_word);
    if (l->shift) return (uint32_t)(word >> (j * l->shift) & (((uint64_t)1 << l->shift) - 1));
    word /= l->power[j];
    return (uint32_t)(word % l->base);
}

#endif
