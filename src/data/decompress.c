#include "decompress.h"

#include <stdlib.h>
#include <string.h>
#ifdef DITHER_HAVE_ZLIB
#include <zlib.h>
#endif
#ifdef DITHER_HAVE_BZIP2
#include <bzlib.h>
#endif
#ifdef DITHER_HAVE_LZMA
#include <lzma.h>
#endif

#define CHUNK_MAX ((size_t)1 << 30) /* zlib and bzip2 count what is available in 32 bits */

typedef enum { STEP_MORE, STEP_END, STEP_DAMAGED, STEP_NO_MEMORY } step_result;

/* Where a decoder reads and writes next, and its own state. */
typedef struct decoder {
    const unsigned char *in;
    unsigned char *out;
    size_t in_bytes, out_bytes;
    union {
        char none;
#ifdef DITHER_HAVE_ZLIB
        z_stream zlib;
#endif
#ifdef DITHER_HAVE_BZIP2
        bz_stream bzip2;
#endif
#ifdef DITHER_HAVE_LZMA
        lzma_stream lzma;
#endif
    } as;
} decoder;

struct dither_packing {
    const char *name, *extension;
    const char *magic;
    size_t magic_bytes;
    size_t padding; /* zero bytes in multiples of this may follow a stream; 0: none */
    const char *package;
    /* one member or stream, from its start; NULL in a build without the library */
    step_result (*start)(decoder *d);
    step_result (*step)(decoder *d);
    void (*stop)(decoder *d);
};

#if defined(DITHER_HAVE_ZLIB) || defined(DITHER_HAVE_BZIP2) || defined(DITHER_HAVE_LZMA)
static size_t chunk(size_t bytes) { return bytes < CHUNK_MAX ? bytes : CHUNK_MAX; }

static void advance(decoder *d, size_t in_bytes, size_t out_bytes)
{
    d->in += in_bytes, d->in_bytes -= in_bytes;
    d->out += out_bytes, d->out_bytes -= out_bytes;
}
#endif

#ifdef DITHER_HAVE_ZLIB
static step_result gzip_start(decoder *d)
{
    memset(&d->as.zlib, 0, sizeof d->as.zlib);
    return inflateInit2(&d->as.zlib, 15 + 16) == Z_OK ? STEP_MORE : STEP_NO_MEMORY; /* 15: window, 16: gzip only */
}

static step_result gzip_step(decoder *d)
{
    z_stream *const z = &d->as.zlib;
    const size_t in = chunk(d->in_bytes), out = chunk(d->out_bytes);
    z->next_in = (Bytef *)(uintptr_t)d->in; /* read only, though zlib's type doesn't say so */
    z->next_out = d->out;
    z->avail_in = (uInt)in, z->avail_out = (uInt)out;
    const int result = inflate(z, Z_NO_FLUSH);
    advance(d, in - z->avail_in, out - z->avail_out);
    if (result == Z_STREAM_END) return STEP_END;
    if (result == Z_MEM_ERROR) return STEP_NO_MEMORY;
    return result == Z_OK || result == Z_BUF_ERROR ? STEP_MORE : STEP_DAMAGED;
}

static void gzip_stop(decoder *d) { inflateEnd(&d->as.zlib); }
#else
#define gzip_start NULL
#define gzip_step NULL
#define gzip_stop NULL
#endif

#ifdef DITHER_HAVE_BZIP2
static step_result bzip2_start(decoder *d)
{
    memset(&d->as.bzip2, 0, sizeof d->as.bzip2);
    return BZ2_bzDecompressInit(&d->as.bzip2, 0, 0) == BZ_OK ? STEP_MORE : STEP_NO_MEMORY;
}

static step_result bzip2_step(decoder *d)
{
    bz_stream *const z = &d->as.bzip2;
    const size_t in = chunk(d->in_bytes), out = chunk(d->out_bytes);
    z->next_in = (char *)(uintptr_t)d->in;
    z->next_out = (char *)d->out;
    z->avail_in = (unsigned)in, z->avail_out = (unsigned)out;
    const int result = BZ2_bzDecompress(z);
    advance(d, in - z->avail_in, out - z->avail_out);
    if (result == BZ_STREAM_END) return STEP_END;
    if (result == BZ_MEM_ERROR) return STEP_NO_MEMORY;
    return result == BZ_OK ? STEP_MORE : STEP_DAMAGED;
}

static void bzip2_stop(decoder *d) { BZ2_bzDecompressEnd(&d->as.bzip2); }
#else
#define bzip2_start NULL
#define bzip2_step NULL
#define bzip2_stop NULL
#endif

#ifdef DITHER_HAVE_LZMA
static step_result xz_start(decoder *d)
{
    d->as.lzma = (lzma_stream)LZMA_STREAM_INIT;
    return lzma_stream_decoder(&d->as.lzma, UINT64_MAX, 0) == LZMA_OK ? STEP_MORE : STEP_NO_MEMORY;
}

static step_result xz_step(decoder *d)
{
    lzma_stream *const z = &d->as.lzma;
    const size_t in = chunk(d->in_bytes), out = chunk(d->out_bytes);
    z->next_in = d->in, z->next_out = d->out;
    z->avail_in = in, z->avail_out = out;
    const lzma_ret result = lzma_code(z, LZMA_RUN);
    advance(d, in - z->avail_in, out - z->avail_out);
    if (result == LZMA_STREAM_END) return STEP_END;
    if (result == LZMA_MEM_ERROR) return STEP_NO_MEMORY;
    return result == LZMA_OK || result == LZMA_BUF_ERROR ? STEP_MORE : STEP_DAMAGED;
}

static void xz_stop(decoder *d) { lzma_end(&d->as.lzma); }
#else
#define xz_start NULL
#define xz_step NULL
#define xz_stop NULL
#endif

static const dither_packing packings[] = {
    {"gzip", ".gz", "\x1F\x8B", 2, 0, "zlib (Debian: zlib1g-dev)", gzip_start, gzip_step, gzip_stop},
    {"bzip2", ".bz2", "BZh", 3, 0, "bzip2 (Debian: libbz2-dev)", bzip2_start, bzip2_step, bzip2_stop},
    {"xz", ".xz", "\xFD" "7zXZ\0", 6, 4, "xz (Debian: liblzma-dev)", xz_start, xz_step, xz_stop},
};
#define PACKINGS (sizeof packings / sizeof packings[0])

dither_status dither_bytes_reserve(dither_bytes *buffer, size_t more, dither_error *error)
{
    dither_status status = DITHER_OK;
    if (more <= buffer->capacity - buffer->size) return DITHER_OK;
    if (more > SIZE_MAX - buffer->size) FAIL(DITHER_INTERNAL, "out of memory: %zu bytes more", more);
    size_t capacity = buffer->size + more;
    if (buffer->capacity <= SIZE_MAX / 2 && capacity < 2 * buffer->capacity) capacity = 2 * buffer->capacity;
    unsigned char *const bytes = realloc(buffer->bytes, capacity);
    if (!bytes) FAIL(DITHER_INTERNAL, "out of memory: %zu bytes for a file's text", capacity);
    buffer->bytes = bytes;
    buffer->capacity = capacity;
out:
    return status;
}

static int has_extension(const char *path, const char *extension)
{
    const size_t n = strlen(path), m = strlen(extension);
    return n > m && !strcmp(path + n - m, extension);
}

const dither_packing *dither_packing_of(const char *path, const dither_bytes *packed)
{
    for (size_t i = 0; i < PACKINGS; i++)
        if (packed->size >= packings[i].magic_bytes &&
            !memcmp(packed->bytes, packings[i].magic, packings[i].magic_bytes))
            return &packings[i];
    for (size_t i = 0; i < PACKINGS; i++)
        if (has_extension(path, packings[i].extension)) return &packings[i];
    return NULL;
}

/* Decode the one stream that starts at d->in. */
static dither_status unpack_stream(const dither_packing *packing, decoder *d, const char *path, size_t packed_bytes,
                                   dither_bytes *out, dither_error *error)
{
    dither_status status = DITHER_OK;
    int started = 0;
    step_result result = packing->start(d);
    started = result == STEP_MORE;
    while (result == STEP_MORE) {
        TRY(dither_bytes_reserve(out, (size_t)1 << 16, error));
        d->out = out->bytes + out->size;
        d->out_bytes = out->capacity - out->size;
        result = packing->step(d);
        out->size = out->capacity - d->out_bytes;
        /* with room left to write, a decoder stops for want of input only */
        if (result == STEP_MORE && d->in_bytes == 0 && d->out_bytes > 0)
            FAIL(DITHER_BAD_DATA, "%s: the %s data are cut short after %zu bytes; get the whole file", path,
                 packing->name, packed_bytes);
    }
    if (result == STEP_NO_MEMORY) FAIL(DITHER_INTERNAL, "%s: out of memory for decompression", path);
    if (result == STEP_DAMAGED)
        FAIL(DITHER_BAD_DATA, "%s: the %s data are damaged at or before byte %zu: they don't decode or their "
             "checksum is wrong; get a whole copy of the file", path, packing->name, packed_bytes - d->in_bytes);
out:
    if (started) packing->stop(d);
    return status;
}

/* Whether what is left of the input starts, or is cut short in, a stream's magic bytes. */
static int starts_stream(const dither_packing *packing, const decoder *d)
{
    const size_t n = d->in_bytes < packing->magic_bytes ? d->in_bytes : packing->magic_bytes;
    return n == 0 || !memcmp(d->in, packing->magic, n);
}

dither_status dither_unpack(const dither_packing *packing, const char *path, const dither_bytes *packed,
                            dither_bytes *out, dither_error *error)
{
    dither_status status = DITHER_OK;
    decoder d = {.in = packed->bytes, .in_bytes = packed->size};
    if (!packing->start)
        FAIL(DITHER_IO, "%s: this build can't read %s data; install %s and build again, or decompress the file first",
             path, packing->name, packing->package);
    if (!starts_stream(packing, &d))
        FAIL(DITHER_BAD_DATA, "%s: named %s but is no %s data; rename it, or compress it with %s", path,
             packing->extension, packing->name, packing->name);
    do {
        if (!starts_stream(packing, &d))
            FAIL(DITHER_BAD_DATA, "%s: other bytes follow the %s data from byte %zu on; cut them off", path,
                 packing->name, packed->size - d.in_bytes + 1);
        TRY(unpack_stream(packing, &d, path, packed->size, out, error));
        while (packing->padding && d.in_bytes >= packing->padding && !memcmp(d.in, "\0\0\0\0", packing->padding))
            d.in += packing->padding, d.in_bytes -= packing->padding;
    } while (d.in_bytes);
out:
    return status;
}
