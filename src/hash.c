#include "hash.h"

#include <string.h>

/* The loop is bound by the latency of this chain, so it's no longer than it must be: without the second
 * multiplication, a change of the top bit would move so little that a change of the next word could undo it. */
static inline uint64_t mix(uint64_t h)
{
    h *= 0x9E3779B97F4A7C15u;
    h ^= h >> 32;
    return h * 0xD6E8FEB86659FD93u;
}

uint64_t dither_hash64(uint64_t h, const void *bytes, size_t n)
{
    const unsigned char *at = bytes;
    for (size_t left = n; left;) {
        uint64_t word = 0;
        const size_t take = left < sizeof word ? left : sizeof word;
        memcpy(&word, at, take);
        h = mix(h ^ word);
        at += take, left -= take;
    }
    h = mix(mix(h ^ n));
    return h ^ h >> 32;
}

void dither_hasher_add(dither_hasher *s, const void *bytes, size_t n)
{
    const unsigned char *at = bytes;
    while (n) {
        const size_t have = s->bytes % 8, room = 8 - have, take = n < room ? n : room;
        uint64_t piece = 0;
        memcpy(&piece, at, take);
        s->word |= piece << 8 * have;
        s->bytes += take, at += take, n -= take;
        if (s->bytes % 8 == 0) s->h = mix(s->h ^ s->word), s->word = 0;
    }
}

uint64_t dither_hasher_end(dither_hasher *s)
{
    if (s->bytes % 8) s->h = mix(s->h ^ s->word);
    const uint64_t h = mix(mix(s->h ^ s->bytes)), hash = h ^ h >> 32;
    *s = (dither_hasher){.h = hash};
    return hash;
}
