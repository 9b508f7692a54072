/* libFuzzer: any bytes as a tile, and as the model, of every wire of variable length. The first four bytes choose wire,
 * alphabet and length; what is decoded must be symbols of the alphabet, and survive being encoded again.
 * Build: cmake with clang, target fuzz_wires; run: fuzz_wires -max_len=600 CORPUS_FOLDER */
#include <stdlib.h>
#include <string.h>

#include "variable.h"

static dk_coder_local local;
static dk_symbol again[DK_TILE];

static void round_trip(int wire, const dk_coder *c, const dk_symbol *in, int n)
{
    const int64_t bound = dk_wire_words(wire, c->symbols, c->bits, n) * 4;
    uint8_t *bytes = malloc((size_t)bound);
    for (int i = 0; i < n; i++) again[i] = (dk_symbol)c->zero;
    dk_wire_write(wire, c, in, n, bytes, &local);
    if (local.result < 1 || local.result > bound) abort();
    dk_wire_read(wire, c, bytes, local.result, n, again, &local);
    if (!local.result || memcmp(in, again, (size_t)n * sizeof *in)) abort();
    free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int32_t alphabets[] = {3, 5, 15, 255, 512, 1023, 1024, 65535};
    if (size < 4) return 0;
    const int wire = data[0] % DK_WIRE_COUNT, n = 1 + (data[2] | data[3] << 8) % DK_TILE;
    dk_coder c = {.symbols = alphabets[data[1] % 8]};
    if (!dk_wire_is_variable(wire) || !dk_wire_fits(wire, c.symbols)) return 0;
    while (1 << c.bits < c.symbols) c.bits++;
    c.zero = dk_zero_symbol(c.symbols);
    data += 4, size -= 4;
    const size_t model = dk_wire_model_words(wire, c.symbols) > 0 ? size / 8 * 4 : 0;
    uint32_t *words = malloc(model + 4);
    dk_symbol *out = malloc((size_t)n * sizeof *out);
    uint8_t *bytes = malloc(size - model + 1);
    memcpy(words, data, model), memcpy(bytes, data + model, size - model);
    c.model = words, c.model_words = (int32_t)(model / 4);
    for (int i = 0; i < n; i++) out[i] = (dk_symbol)c.zero;
    dk_wire_read(wire, &c, bytes, (int32_t)(size - model), n, out, &local);
    for (int i = 0; i < n; i++)
        if (out[i] >= c.symbols) abort();
    if (local.result) round_trip(wire, &c, out, n);
    free(words), free(out), free(bytes);
    return 0;
}
