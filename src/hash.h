/* A 64-bit hash of bytes: the key of a data set and the fingerprint of a training run's state. Not cryptographic.
 *
 * The bytes are taken as 64-bit little-endian words w, the last one filled up with zero bytes:
 *
 *     for each w: h = mix(h ^ w);   then h = mix(mix(h ^ n)), h ^= h >> 32;
 *     mix(h): h *= 0x9E3779B97F4A7C15, h ^= h >> 32, h *= 0xD6E8FEB86659FD93
 *
 * Every step is a bijection of h and of w. So two inputs of one length that differ in one word only, be it by a
 * single bit, never have the same hash. */
#ifndef DITHER_HASH_H
#define DITHER_HASH_H

#include <stddef.h>
#include <stdint.h>

/* Continue from `h` (0 to start) over bytes[0..n-1]. Calls chain; hashing a, then b isn't hashing ab, because each
 * call's length counts. The same value on every little-endian machine; `bytes` needs no alignment and may be NULL
 * when n is 0. */
uint64_t dither_hash64(uint64_t h, const void *bytes, size_t n);

/* The same of bytes that come in pieces: h is the value to continue from, the rest 0 to begin with. */
typedef struct dither_hasher {
    uint64_t h, bytes, word; /* word: the last bytes % 8 of them */
} dither_hasher;
void dither_hasher_add(dither_hasher *hasher, const void *bytes, size_t n);
/* The hash; the next bytes, if any, are hashed as a call of their own. */
uint64_t dither_hasher_end(dither_hasher *hasher);

#endif
