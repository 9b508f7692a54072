/* Fused encode, and decode with step, against memcpy in the same run, one thread.
 * Usage: bench_codec [d [block [levels [f32|f64]]]]     defaults 67108864 2048 7 f32 (synthetic data)
 * Rates count, per coordinate, what must move: encode reads g, h and writes h and the message, decode with step
 * reads the message, x, h and writes x, h. memcpy's bandwidth counts bytes read and bytes written. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "wire.h"

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v, int n) { return qsort(v, (size_t)n, sizeof *v, ascending), v[n / 2]; }

static double copy_rate(void *to, const void *from, size_t bytes)
{
    double t[7];
    for (int i = 0; i < 7; i++) {
        const double start = seconds();
        memcpy(to, from, bytes);
        t[i] = seconds() - start;
        __asm__ volatile("" : : "r"(to) : "memory");
    }
    return 2.0 * (double)bytes / median(t, 7);
}

static void fill(void *v, int64_t d, int single)
{
    for (int64_t i = 0; i < d; i++) {
        const double u = (double)((uint64_t)i * 0x9E3779B97F4A7C15u >> 40) * 0x1p-24 - 0.5;
        if (single) ((float *)v)[i] = (float)u; else ((double *)v)[i] = u;
    }
}

int main(int argc, char **argv)
{
    const int64_t d = argc > 1 ? atoll(argv[1]) : 1 << 26, block = argc > 2 ? atoll(argv[2]) : 2048;
    dk_rank k = {.workers = 1, .count = 1, .memory = 1, .d = d, .stride = d};
    k.single = !(argc > 4 && !strcmp(argv[4], "f64"));
    k.codec = (dk_codec){.kind = DK_CODEC_dither, .norm = 0, .levels = argc > 3 ? atoi(argv[3]) : 7, .wire = DK_WIRE_fixed};
    const size_t bytes = (size_t)d * (k.single ? 4 : 8);
    dk_layout_make(&k.layout, &k.codec, d, block, k.single ? 4 : 8);
    dk_device device;
    int64_t bad = 0, rows[2] = {0, 0};
    k.bad = &bad, k.worker_row = rows;
    if (dk_device_open_cpu(&device, 1)) return 1;
    if (device.alloc(device.context, bytes, &k.gradient) || device.alloc(device.context, bytes, &k.h) ||
        device.alloc(device.context, bytes, &k.x) || device.alloc(device.context, bytes, &k.h_mean) ||
        device.alloc(device.context, bytes, &k.mu) ||
        device.alloc(device.context, (size_t)k.layout.message_words * 4, (void **)&k.messages) ||
        device.alloc(device.context, (size_t)k.layout.tiles * 8, (void **)&k.block_stat))
        return fprintf(stderr, "out of memory\n"), 1;
    fill(k.mu, d, k.single), fill(k.h, d, k.single), fill(k.x, d, k.single);
    const double copy = copy_rate(k.gradient, k.mu, bytes);
    double encode[7], step[7];
    const dk_round round = {.gamma = 0.1, .alpha = 0.05};
    for (int i = 0; i < 7; i++) {
        memcpy(k.gradient, k.mu, bytes);
        double start = seconds();
        device.work(device.context, &k, &round, DK_ENCODE);
        encode[i] = seconds() - start;
        start = seconds();
        device.step(device.context, &k, &round);
        step[i] = seconds() - start;
    }
    const double wire = (double)k.layout.message_words * 4 / (double)d, real = k.single ? 4 : 8;
    const double e = median(encode, 7), s = median(step, 7);
    printf("d %lld, block %lld, s %d, %s: memcpy %.1f GB/s\n", (long long)d, (long long)k.layout.block, k.codec.levels, k.single ? "f32" : "f64", copy / 1e9);
    printf("encode       %.3f Gcoord/s  %5.1f GB/s  %.2f of memcpy\n", (double)d / e / 1e9, (3 * real + wire) * (double)d / e / 1e9, (3 * real + wire) * (double)d / e / copy);
    printf("decode+step  %.3f Gcoord/s  %5.1f GB/s  %.2f of memcpy\n", (double)d / s / 1e9, (4 * real + wire) * (double)d / s / 1e9, (4 * real + wire) * (double)d / s / copy);
    device.close(device.context);
    return 0;
}
