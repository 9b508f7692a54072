/* The generator against what others say it is: published words, Random123 and cuRAND, each where it is installed. And
 * the layout: no two of (iteration, worker, stream, index) ever ask for the same word. */
#include "theory.h"

#include "philox_fill.h"

#if defined(__has_include)
#if __has_include(<Random123/philox.h>)
#include <Random123/philox.h>
#define HAVE_RANDOM123 1
#endif
#endif
#ifdef DITHER_HAVE_CURAND
#include <curand.h>
#endif

static void check_words(const char *what, dk_words got, const uint32_t want[4])
{
    for (int j = 0; j < 4; j++)
        if (got.w[j] != want[j]) fail_msg("%s: word %d is %08x, not %08x", what, j, got.w[j], want[j]);
}

/* The kat_vectors file of Random123 1.14: counter, key, output. */
static void test_published(void **state)
{
    static const struct {
        uint32_t counter[4], key[2], out[4];
    } known[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const uint32_t *c = known[i].counter, *k = known[i].key;
        const uint64_t block = (uint64_t)c[1] << 32 | c[0], sub = (uint64_t)c[3] << 32 | c[2];
        check_words("known answer", dk_philox((uint64_t)k[1] << 32 | k[0], sub, block), known[i].out);
    }
}

/* Each bit of seed, subsequence and block on its own, and random ones. */
static void test_random123(void **state)
{
    (void)state;
#ifdef HAVE_RANDOM123
    uint64_t random = 1;
    for (int i = 0; i < 192 + 10000; i++) {
        uint64_t in[3] = {0, 0, 0};
        if (i < 192) in[i / 64] = (uint64_t)1 << i % 64;
        for (int j = 0; j < 3 && i >= 192; j++) in[j] = random_word(&random);
        const philox4x32_ctr_t counter = {{(uint32_t)in[0], (uint32_t)(in[0] >> 32), (uint32_t)in[1], (uint32_t)(in[1] >> 32)}};
        const philox4x32_key_t key = {{(uint32_t)in[2], (uint32_t)(in[2] >> 32)}};
        const philox4x32_ctr_t want = philox4x32_R(10, counter, key);
        check_words("Random123", dk_philox(in[2], in[1], in[0]), want.v);
    }
#else
    print_message("librandom123-dev is not installed\n");
    skip();
#endif
}

/* cuRAND's host generator deals blocks of four words to 65536 subsequences in turn. */
static void test_curand(void **state)
{
    (void)state;
#ifdef DITHER_HAVE_CURAND
    enum { SUBSEQUENCES = 65536, BLOCKS = SUBSEQUENCES * 2 + 1000 };
    const uint64_t seeds[] = {42, 0, 0x123456789ABCDEF0u};
    unsigned *words = calloc(4 * BLOCKS, sizeof *words);
    for (size_t i = 0; i < sizeof seeds / sizeof *seeds; i++) {
        curandGenerator_t g;
        assert_int_equal(curandCreateGeneratorHost(&g, CURAND_RNG_PSEUDO_PHILOX4_32_10), CURAND_STATUS_SUCCESS);
        assert_int_equal(curandSetPseudoRandomGeneratorSeed(g, seeds[i]), CURAND_STATUS_SUCCESS);
        assert_int_equal(curandGenerate(g, words, 4 * BLOCKS), CURAND_STATUS_SUCCESS);
        for (uint32_t q = 0; q < BLOCKS; q++)
            check_words("cuRAND", dk_philox(seeds[i], q % SUBSEQUENCES, q / SUBSEQUENCES), words + 4 * q);
        /* a block index that needs its upper word */
        const uint64_t block = 0x500000003u, sub = 777;
        assert_int_equal(curandSetGeneratorOffset(g, 4 * (block * SUBSEQUENCES + sub)), CURAND_STATUS_SUCCESS);
        assert_int_equal(curandGenerate(g, words, 4), CURAND_STATUS_SUCCESS);
        check_words("cuRAND, far", dk_philox(seeds[i], sub, block), words);
        if (seeds[i] == 42) {
            const uint32_t first[4] = {0x9ceaf053, 0x77f5493b, 0x12bf50ad, 0x5742b3d7};
            check_words("seed 42", dk_philox(42, 0, 0), first);
        }
        curandDestroyGenerator(g);
    }
    free(words);
#else
    print_message("built without cuRAND\n");
    skip();
#endif
}

/* subsequence = iteration << 24 | worker << 8 | stream, each in its own bits at its largest value. */
static void test_layout(void **state)
{
    static const int64_t iterations[] = {0, 1, 255, 256, 65535, 65536, (int64_t)1 << 32, ((int64_t)1 << 40) - 1};
    static const uint32_t workers[] = {0, 1, 255, 256, 65534, DK_WORKER_ALL};
    static const uint32_t streams[] = {DK_STREAM_UPLINK, DK_STREAM_SAMPLE, DK_STREAM_COIN, DK_STREAM_DOWNLINK,
                                       DK_STREAM_MASK, DK_STREAM_INIT, DK_STREAM_DELAY, 255};
    uint64_t seen[8 * 6 * 8];
    int n = 0;
    (void)state;
    for (int i = 0; i < 8; i++)
        for (int w = 0; w < 6; w++)
            for (int s = 0; s < 8; s++) {
                const uint64_t sub = dk_subsequence(iterations[i], workers[w], streams[s]);
                assert_true(sub >> 24 == (uint64_t)iterations[i]);
                assert_int_equal(sub >> 8 & 0xFFFF, workers[w]);
                assert_int_equal(sub & 0xFF, streams[s]);
                for (int j = 0; j < n; j++) assert_true(seen[j] != sub);
                seen[n++] = sub;
            }
    /* stream numbers are part of the reproducibility contract */
    assert_int_equal(DK_STREAM_UPLINK, 0);
    assert_int_equal(DK_STREAM_SAMPLE, 1);
    assert_int_equal(DK_STREAM_COIN, 2);
    assert_int_equal(DK_STREAM_DOWNLINK, 3);
    assert_int_equal(DK_STREAM_MASK, 4);
    assert_int_equal(DK_STREAM_INIT, 5);
    assert_int_equal(DK_STREAM_DELAY, 6);
}

static int ascending(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Blocks of neighbouring (iteration, worker, stream, index) differ: a counter's fields must not run into each other
 * inside dk_philox either. */
static void test_no_collision(void **state)
{
    enum { SIDE = 12, COUNT = SIDE * SIDE * 7 * SIDE };
    uint64_t *seen = calloc(COUNT, sizeof *seen);
    size_t n = 0;
    (void)state;
    for (int i = 0; i < SIDE; i++)
        for (uint32_t w = 0; w < SIDE; w++)
            for (uint32_t s = 0; s < 7; s++)
                for (uint64_t b = 0; b < SIDE; b++) {
                    const dk_words v = dk_philox(3, dk_subsequence(i * 257, w * 255, s), b << 31);
                    seen[n++] = (uint64_t)v.w[0] << 32 | v.w[1];
                }
    qsort(seen, n, sizeof *seen, ascending);
    for (size_t j = 1; j < n; j++) assert_true(seen[j] != seen[j - 1]); /* 12096 of 2^64: by chance, never */
    free(seen);
}

static void test_word(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 1000; i++) {
        const uint64_t index = i + ((uint64_t)1 << 34) - 500; /* across the block index's upper word */
        assert_int_equal(dk_word(9, 77, index), dk_philox(9, 77, index / 4).w[index % 4]);
    }
}

/* Many words at once are the same words, also where the block index carries into its upper half. */
static void test_fill(void **state)
{
    static const uint64_t firsts[] = {0, 3, 0xFFFFFFF0u, 0xFFFFFF77u, 0x1FFFFFFFFu, 0x123456789ABu};
    static uint32_t words[4 * 528];
    (void)state;
    for (size_t f = 0; f < sizeof firsts / sizeof *firsts; f++)
        for (int blocks = 1; blocks <= 528; blocks += 1 + blocks / 3) {
            dk_philox_fill(0xFEDCBA9876543210u, 0x0123456789ABCDEFu, firsts[f], blocks, words);
            for (int b = 0; b < blocks; b++)
                check_words("fill", dk_philox(0xFEDCBA9876543210u, 0x0123456789ABCDEFu, firsts[f] + (uint64_t)b), words + 4 * b);
        }
}

static void test_index(void **state)
{
    static const int64_t sizes[] = {1, 2, 3, 7, 10, 677, 2147483647};
    enum { DRAWS = 200000 };
    (void)state;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        const int64_t m = sizes[s], cells = m < 1000 ? m : 1000;
        double *count = calloc((size_t)cells, sizeof *count), sum = 0;
        assert_int_equal(dk_index(0, m), 0);
        assert_int_equal(dk_index(0xFFFFFFFFu, m), m - 1);
        for (int i = 0; i < DRAWS; i++) {
            const int64_t at = dk_index(dk_word(5, dk_subsequence(i, 1, DK_STREAM_SAMPLE), (uint64_t)s), m);
            if (at < 0 || at >= m) fail_msg("index %lld of %lld", (long long)at, (long long)m);
            count[m < 1000 ? at : at / (m / cells + 1)] += 1;
        }
        const double expected = (double)DRAWS / (double)cells;
        for (int64_t c = 0; c < cells; c++) sum += (count[c] - expected) * (count[c] - expected) / expected;
        if (cells > 1) check_z("uniform index", chi_square_z(sum, (double)cells - 1));
        free(count);
    }
}

/* The coin falls as often as its threshold says, and does not remember. */
static void test_coin(void **state)
{
    static const double chances[] = {1.0 / 677, 0.1, 0.5, 0.9};
    enum { THROWS = 400000 };
    (void)state;
    for (size_t c = 0; c < sizeof chances / sizeof *chances; c++) {
        const uint64_t threshold = (uint64_t)(chances[c] * 4294967296.0);
        const double p = chances[c];
        double fallen = 0, twice = 0;
        int before = 0;
        for (int64_t k = 0; k < THROWS; k++) {
            const int now = dk_coin(7, k, threshold);
            fallen += now, twice += now && before;
            before = now;
        }
        check_z("coin", (fallen - THROWS * p) / sqrt(THROWS * p * (1 - p)));
        check_z("coin twice", (twice - THROWS * p * p) / sqrt(THROWS * p * p * (1 + 2 * p - 3 * p * p)));
    }
    for (int64_t k = 0; k < 1000; k++) {
        assert_true(dk_coin(7, k, (uint64_t)1 << 32));
        assert_false(dk_coin(7, k, 0));
    }
}

/* Words as fractions: mean and variance of the uniform, each bit half the time. */
static void test_words_uniform(void **state)
{
    enum { WORDS = 1 << 20 };
    moments m = {0};
    double ones[32] = {0};
    (void)state;
    for (uint64_t i = 0; i < WORDS; i++) {
        const uint32_t w = dk_word(11, dk_subsequence(3, 2, DK_STREAM_UPLINK), i);
        moments_add(&m, (double)(w >> 8) * 0x1p-24);
        for (int b = 0; b < 32; b++) ones[b] += w >> b & 1;
    }
    check_mean("uniform", &m, 0.5 - 0x1p-25, 0);
    assert_true(fabs(moments_variance(&m) * 12 - 1) < 5 * sqrt(0.8 / WORDS)); /* kurtosis 1.8 */
    for (int b = 0; b < 32; b++) check_z("bit", (ones[b] - WORDS / 2) / sqrt(WORDS / 4.0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published), cmocka_unit_test(test_random123), cmocka_unit_test(test_curand),
        cmocka_unit_test(test_layout), cmocka_unit_test(test_no_collision), cmocka_unit_test(test_word),
        cmocka_unit_test(test_fill), cmocka_unit_test(test_index), cmocka_unit_test(test_coin), cmocka_unit_test(test_words_uniform),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
