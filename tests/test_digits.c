/* Sums of symbols as digits of words: adding the words adds every digit, up to the largest sum, and the lanes chosen
 * are those of the fewest bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "digits.h"

enum { D = 331, WORKERS_MOST = 300 };

/* Add up n workers' packed symbols as a communicator does; every digit must be the sum. */
static void check_sums(int64_t levels, int workers, int largest)
{
    dk_digits l;
    static uint32_t symbols[D], sums[D], narrow[D];
    static uint64_t wide[D];
    assert_int_equal(dk_digits_make(&l, levels, workers, D), 0);
    memset(sums, 0, sizeof sums), memset(narrow, 0, sizeof narrow), memset(wide, 0, sizeof wide);
    for (int w = 0; w < workers; w++) {
        for (int i = 0; i < D; i++) {
            symbols[i] = largest ? (uint32_t)(2 * levels) : (uint32_t)((unsigned)rand() % (unsigned)(2 * levels + 1));
            sums[i] += symbols[i];
        }
        for (int64_t i = 0; i < l.words; i++) {
            const uint64_t word = dk_digits_pack(&l, symbols, D, i);
            narrow[i] += (uint32_t)word, wide[i] += word;
        }
    }
    for (int i = 0; i < D; i++)
        assert_int_equal(dk_digit(&l, l.word_bytes == 4 ? (void *)narrow : (void *)wide, i), sums[i]);
}

/* One below and one above a power of two: 2 s n + 1 is odd, so it is never the power itself. */
static void test_edges(void **state)
{
    (void)state;
    for (int bits = 2; bits <= 15; bits++)
        for (int more = -1; more <= 0; more++) {
            const int64_t product = ((int64_t)1 << (bits - 1)) + more; /* s n: 2 s n + 1 = 2^bits -+ 1 */
            check_sums(product, 1, 1);
            if (product <= WORKERS_MOST) check_sums(1, (int)product, 1);
            if (product % 2 == 0 && product / 2 <= WORKERS_MOST) check_sums(2, (int)(product / 2), 1);
        }
}

static void test_random(void **state)
{
    (void)state;
    for (int n = 1; n <= 64; n++)
        for (int s = 1; s <= 7; s += 2) check_sums(s, n, 0), check_sums(s, n, 1);
}

/* Bits a coordinate for s = 1, worked out by hand: u64 words of base 2 n + 1, or shifts where they are as good. */
static void test_sizes(void **state)
{
    (void)state;
    static const struct {
        int64_t levels, workers, words;
        int word_bytes, per_word, shifts;
    } rows[] = {{1, 2, 37038, 8, 27, 0},  /* 5^27 < 2^64 < 5^28; 27 > 21 shifts of 3 bits */
                {1, 8, 66667, 8, 15, 0},  /* 17^15 < 2^64 */
                {1, 64, 111112, 8, 9, 0}, /* 129^9 < 2^64, 8 shifts of 8 bits */
                {127, 1, 250000, 4, 4, 1},
                {32767, 65535, 1000000, 4, 1, 1}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        dk_digits l;
        assert_int_equal(dk_digits_make(&l, rows[i].levels, rows[i].workers, 1000000), 0);
        assert_int_equal(l.words, rows[i].words);
        assert_int_equal(l.word_bytes, rows[i].word_bytes);
        assert_int_equal(l.per_word, rows[i].per_word);
        assert_int_equal(l.shift != 0, rows[i].shifts);
    }
}

/* A sum that 32 bits can't hold is refused, not wrapped. */
static void test_refused(void **state)
{
    (void)state;
    dk_digits l;
    assert_int_equal(dk_digits_make(&l, 1, INT32_MAX, 10), 0);
    assert_int_not_equal(dk_digits_make(&l, 2, (INT64_C(1) << 30), 10), 0);
    assert_int_not_equal(dk_digits_make(&l, INT32_MAX, INT32_MAX, 10), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_edges), cmocka_unit_test(test_random),
                                       cmocka_unit_test(test_sizes), cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
