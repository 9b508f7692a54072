/* The data layer: numbers, LIBSVM text, compressed files, rows in memory, labels, shuffling, hashes. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <float.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef DITHER_HAVE_ZLIB
#include <zlib.h>
#endif
#ifdef DITHER_HAVE_BZIP2
#include <bzlib.h>
#endif
#ifdef DITHER_HAVE_LZMA
#include <lzma.h>
#endif

#include "data/data.h"
#include "data/parse_number.h"
#include "data/shuffle.h"
#include "hash.h"
#include "options.h"
#include "philox.h"

#ifndef DITHER_DATA_DIR
#define DITHER_DATA_DIR "data"
#endif

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* ---- tools ---- */

static char folder[256];

static int make_folder(void **state)
{
    (void)state;
    const char *const base = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/dither_test_data_XXXXXX", base && strlen(base) < 200 ? base : "/tmp");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

/* folder/name, in one of four buffers used in turn */
static const char *path_of(const char *name)
{
    static char paths[4][512];
    static int turn;
    char *const path = paths[turn = (turn + 1) % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static void write_bytes(const char *path, const void *bytes, size_t size)
{
    FILE *const file = fopen(path, "wb");
    assert_non_null(file);
    if (size) assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* Write the bytes to a file of this name, read it as data, remove it. features and shuffle below 0: not set. */
static dither_status read_as(const char *name, const void *bytes, size_t size, int64_t features, int64_t shuffle,
                             dither_data **data, dither_error *error)
{
    const char *const path = path_of(name);
    struct dither_options options;
    memset(&options, 0, sizeof options);
    options.features = features, options.features_set = features >= 0;
    options.shuffle = shuffle, options.shuffle_set = shuffle >= 0;
    write_bytes(path, bytes, size);
    memset(error, 0, sizeof *error);
    *data = (dither_data *)(uintptr_t)8; /* must be overwritten */
    const dither_status status = dither_data_read(path, &options, data, error);
    unlink(path);
    if (status == DITHER_OK) {
        assert_non_null(*data);
    } else {
        assert_null(*data);
        assert_int_equal(error->status, status);
    }
    return status;
}

static dither_data *must_read(const char *text, size_t size)
{
    dither_data *data;
    dither_error error;
    if (read_as("rows", text, size, -1, -1, &data, &error) != DITHER_OK) fail_msg("%s", error.message);
    return data;
}

static uint64_t bits_of(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static double double_of(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint64_t random_state;
static uint64_t random_bits(void) /* splitmix64 */
{
    uint64_t z = random_state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}
static int random_below(int n) { return (int)(random_bits() % (uint64_t)n); }
static double random_finite(void)
{
    double x;
    do x = double_of(random_bits());
    while (!(x >= -DBL_MAX && x <= DBL_MAX));
    return x;
}

/* ---- numbers ---- */

/* Against strtod, which glibc rounds correctly; the test runs in the C locale. */
static void check_number(const char *text)
{
    char *end;
    const double expected = strtod(text, &end);
    const char *cursor = text;
    double x = -7;
    const dither_number kind = dither_number_parse(&cursor, &x);
    if (expected > DBL_MAX || expected < -DBL_MAX) {
        if (kind != DITHER_NUMBER_OVERFLOW || cursor != text) fail_msg("%s: overflow not seen", text);
        return;
    }
    if (kind != DITHER_NUMBER_OK) fail_msg("%s: kind %d", text, (int)kind);
    if (bits_of(x) != bits_of(expected)) fail_msg("%s: %.17g, not %.17g", text, x, expected);
    if (cursor != end) fail_msg("%s: ended at %d, not %d", text, (int)(cursor - text), (int)(end - text));
}

/* sign, digits with a point somewhere or not, exponent or not */
static void random_decimal(char *text, int digits_max, int exponent_max)
{
    char *p = text;
    if (random_below(2)) *p++ = "+-"[random_below(2)];
    const int digits = 1 + random_below(digits_max), point = random_below(digits + 2), zeros = random_below(4) == 0;
    for (int i = 0; i < digits; i++) {
        if (i == point) *p++ = '.';
        *p++ = (char)('0' + (zeros && random_below(3) ? 0 : random_below(10)));
    }
    *p = 0;
    if (random_below(3)) snprintf(p, 16, "%c%s%d", "eE"[random_below(2)], random_below(3) ? "" : "+",
                                  random_below(exponent_max + 1));
    if (random_below(2) && (p = strchr(text, '+')) && p > text) *p = '-';
}

static void test_numbers_random(void **state)
{
    (void)state;
    static const char *const formats[] = {"%.17g", "%.16g", "%.6f", "%.15e", "%.19e", "%.25e", "%.60e", "%g", "%.3f"};
    char text[2048];
    random_state = 1;
    for (int i = 0; i < 60000; i++) {
        random_decimal(text, i % 8 == 0 ? 60 : 22, i % 4 == 0 ? 340 : 30);
        check_number(text);
    }
    for (int i = 0; i < 60000; i++) {
        double x = random_finite();
        if (i % 3 == 0) x = (double)(int64_t)random_bits() * 0x1p-62;         /* of ordinary size */
        if (i % 3 == 1) x = double_of(random_bits() >> (12 + random_below(50))); /* subnormal */
        if (i % 3 == 0 || x < 1e100) {
            snprintf(text, sizeof text, formats[i % (int)COUNT(formats)], x);
            check_number(text);
        }
    }
    for (int i = 0; i < 20000; i++) { /* integers around where doubles stop being exact, and beyond */
        snprintf(text, sizeof text, "%" PRIu64 "e%d", (random_bits() >> random_below(12)), random_below(61) - 30);
        check_number(text);
    }
    for (int i = 0; i < 100000; i++) { /* one in thousands is closer to halfway than 64 bits of a quotient show */
        snprintf(text, sizeof text, "%" PRIu64 "e-%d", random_bits() >> 1 | 1, 24 + random_below(4));
        check_number(text);
    }
}

/* The decimal expansions of midpoints between doubles, exact, and one unit in the last place on either side. */
static void test_numbers_halfway(void **state)
{
    (void)state;
#if LDBL_MANT_DIG > DBL_MANT_DIG
    char text[2048];
    random_state = 2;
    for (int i = 0; i < 20000; i++) {
        uint64_t bits = random_bits() >> 1;
        if (i % 4 == 1) bits >>= 12 + random_below(50);                                          /* subnormal */
        if (i % 4 >= 2) bits = (bits & 0xFFFFFFFFFFFFFu) | (uint64_t)(1023 - 70 + random_below(140)) << 52;
        const double low = double_of(bits), high = double_of(bits + 1);
        if (!(high <= DBL_MAX)) continue;
        const int n = snprintf(text, sizeof text, "%.*Le", 1100, ((long double)low + (long double)high) / 2);
        assert_in_range(n, 1000, sizeof text - 1);
        check_number(text);
        char *const e = strchr(text, 'e');
        e[-1] = '1'; /* the last digit was 0: up by 1 in the 1100th digit */
        check_number(text);
        e[-1] = '0';
        char *last = e - 1;
        while (*last == '0') last--;
        *last -= 1;
        check_number(text);
        *last += 1;
        if (last - text > 30) { /* a few digits only */
            memmove(text + 18 + i % 8, e, strlen(e) + 1);
            check_number(text);
        }
    }
#else
    skip();
#endif
}

/* 17 to 19 digits, the short way round such midpoints. */
static void test_numbers_halfway_short(void **state)
{
    (void)state;
    char text[64];
    random_state = 6;
    for (int i = 0; i < 20000; i++) {
        const uint64_t odd = (UINT64_C(1) << 53 | random_bits() >> 11) | 1;
        snprintf(text, sizeof text, "%" PRIu64 "%s", odd, i % 2 ? "" : ".0000");
        check_number(text);
        snprintf(text, sizeof text, "%" PRIu64 ".5", odd >> 1);
        check_number(text);
        snprintf(text, sizeof text, "%" PRIu64 "e-%d", odd, 1 + i % 27);
        check_number(text);
    }
}

static void test_numbers_known(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "0", "-0", "+0", "0.", ".0", "-.0", "00", "0e5", "0e99999999999999999999", "0e-99999999999999999999",
        "1", "+1", "-1", "007", "1.", ".5", "5.e1", "1e0", "1E+05", "1e-05", "1e22", "1e23", "1e-22", "1e-23",
        "9007199254740992", "9007199254740993", "9007199254740994", "9007199254740995", "9007199254740993e1",
        "9007199254740993.0000000000000000000000000000001", "9007199254740991e22", "9007199254740993e-22",
        "18446744073709551615", "18446744073709551616", "9999999999999999999", "10000000000000000000",
        "9999999999999999999e27", "9999999999999999999e-27", "1e27", "1e-27", "1e28", "1e-28", "7e27", "7e23",
        "2.2250738585072011e-308", "2.2250738585072012e-308", "2.2250738585072014e-308", "4.9406564584124654e-324",
        "2.4703282292062327e-324", "2.4703282292062328e-324", "2.47032822920623272088e-324", "1e-323", "1e-324",
        "1e-400", "-1e-400", "1.7976931348623157e308", "1.7976931348623158e308", "1.7976931348623159e308",
        "179769313486231580793e289", "1e308", "1e309", "-1e309", "1e999", "1e99999999999999999999",
        "-1e-99999999999999999999", "0.1", "0.2", "0.3", "123456789012345678901234567890",
        "6.02214076e23", "8.41e21", "9.5e-21", "5e-324", "3.141592653589793238462643383279502884197",
        "1.00000000000000011102230246251565404236316680908203125",
        "1.00000000000000011102230246251565404236316680908203124",
        "1.00000000000000011102230246251565404236316680908203126", "1 ", "1\t2", "1:", "1.5x", "1.5.5", "1-1", "1e5e5",
    };
    for (size_t i = 0; i < COUNT(texts); i++) check_number(texts[i]);
}

/* 0.000...1e+n, 1000...e-n, and a 1 so far out that nothing but its being there counts */
static void test_numbers_long(void **state)
{
    (void)state;
    enum { LONG = 30000 };
    char *const text = malloc(LONG + 64);
    assert_non_null(text);
    memset(text, '0', LONG);
    text[1] = '.';
    snprintf(text + LONG, 64, "123e%d", LONG);
    check_number(text);
    memset(text, '0', LONG);
    text[0] = '7';
    snprintf(text + LONG, 64, "e-%d", LONG);
    check_number(text);
    memset(text, '0', LONG);
    memcpy(text, "9007199254740993.", 17);
    strcpy(text + LONG, "1");
    check_number(text);
    text[LONG] = '0';
    check_number(text);
    free(text);
}

static void test_numbers_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        dither_number kind;
    } cases[] = {
        {"", DITHER_NUMBER_NONE}, {"-", DITHER_NUMBER_NONE}, {"+", DITHER_NUMBER_NONE}, {".", DITHER_NUMBER_NONE},
        {"-.", DITHER_NUMBER_NONE}, {".e5", DITHER_NUMBER_NONE}, {"e5", DITHER_NUMBER_NONE},
        {"+-1", DITHER_NUMBER_NONE},
        {" 1", DITHER_NUMBER_NONE}, {"x", DITHER_NUMBER_NONE}, {"nan", DITHER_NUMBER_NAN}, {"-NaN", DITHER_NUMBER_NAN},
        {"nan(7)", DITHER_NUMBER_NAN}, {"inf", DITHER_NUMBER_INFINITE}, {"-Infinity", DITHER_NUMBER_INFINITE},
        {"0x10", DITHER_NUMBER_HEX}, {"-0X1p3", DITHER_NUMBER_HEX}, {"1e", DITHER_NUMBER_EXPONENT},
        {"1e+", DITHER_NUMBER_EXPONENT}, {"1.5E-", DITHER_NUMBER_EXPONENT}, {"1ex", DITHER_NUMBER_EXPONENT},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *cursor = cases[i].text;
        double x = 5;
        const dither_number kind = dither_number_parse(&cursor, &x);
        if (kind != cases[i].kind) fail_msg("'%s': kind %d, not %d", cases[i].text, (int)kind, (int)cases[i].kind);
        assert_ptr_equal(cursor, cases[i].text);
    }
}

/* ---- malformed files ---- */

typedef struct malformed {
    const char *text; /* the last line is at fault */
    size_t size;      /* 0: up to the NUL */
    int64_t features; /* -1: not set */
    int line, column;
    const char *keyword;
} malformed;

static const malformed malformeds[] = {
    /* indices */
    {"1 0:1\n", 0, -1, 1, 3, "index 0; indices start from 1"},
    {"1 00:1\n", 0, -1, 1, 3, "index 0; indices start from 1"},
    {"1 -1:1\n", 0, -1, 1, 3, "negative index"},
    {"1 3:1 2:1\n", 0, -1, 1, 7, "index 2 after 3"},
    {"1 3:1 5:1 4:1 6:1\n", 0, -1, 1, 11, "index 4 after 5"},
    {"1 2:1 2:1\n", 0, -1, 1, 7, "index 2 twice"},
    {"1 2:0 2:1\n", 0, -1, 1, 7, "index 2 twice"},
    {"1 2147483648:1\n", 0, -1, 1, 3, "index 2147483648 is too large"},
    {"1 4294967297:1\n", 0, -1, 1, 3, "index 4294967297 is too large"},
    {"1 9223372036854775808:1\n", 0, -1, 1, 3, "index 9223372036854775808 is too large"},
    {"1 18446744073709551617:1\n", 0, -1, 1, 3, "index 18446744073709551617 is too large"},
    {"1 00000000001:1\n", 0, -1, 1, 3, "more than 10 digits"},
    {"1 1:1 11:1\n", 0, 10, 1, 7, "index 11 is larger than the number of features, 10"},
    {"1 10:1\n-1 11:0\n", 0, 10, 2, 4, "index 11 is larger"},
    {"1 1.5:2\n", 0, -1, 1, 4, "an index has digits only"},
    {"1 +2:2\n", 0, -1, 1, 3, "unexpected '+'"},
    {"1 2e1:2\n", 0, -1, 1, 4, "an index has digits only"},
    {"1 0x2:2\n", 0, -1, 1, 3, "index 0;"},
    /* the colon and what it joins */
    {"1 2\n", 0, -1, 1, 3, "no ':' after index 2"},
    {"1 2 3:4\n", 0, -1, 1, 3, "no ':' after index 2"},
    {"1 2#3:4\n", 0, -1, 1, 3, "no ':' after index 2"},
    {"1 2:1 3\r\n", 0, -1, 1, 7, "no ':' after index 3"},
    {"1 2:\n", 0, -1, 1, 5, "no value after index 2"},
    {"1 2: \n", 0, -1, 1, 5, "no value after index 2"},
    {"1 2: 3:4\n", 0, -1, 1, 5, "no value after index 2"},
    {"1 2:\r\n", 0, -1, 1, 5, "no value after index 2"},
    {"1 2:#3\n", 0, -1, 1, 5, "no value after index 2"},
    {"1 :2\n", 0, -1, 1, 3, "no index before ':'"},
    {"1 1:2 :2\n", 0, -1, 1, 7, "no index before ':'"},
    {"1 1 :2\n", 0, -1, 1, 5, "blank before ':'"},
    {"1 1: 2\n", 0, -1, 1, 5, "blank after ':'"},
    {"1 1:\t2 2:3\n", 0, -1, 1, 5, "blank after ':'"},
    {"1 1::2\n", 0, -1, 1, 5, "unexpected ':'"},
    {"1 1=2\n", 0, -1, 1, 4, "unexpected '='"},
    /* values */
    {"1 1:nan\n", 0, -1, 1, 5, "value is NaN"},
    {"1 1:-NAN\n", 0, -1, 1, 5, "value is NaN"},
    {"1 1:inf\n", 0, -1, 1, 5, "value is infinite"},
    {"1 1:-Infinity\n", 0, -1, 1, 5, "value is infinite"},
    {"1 1:1e999\n", 0, -1, 1, 5, "value is too large"},
    {"1 1:1 2:-1e309\n", 0, -1, 1, 9, "value is too large"},
    {"1 1:0x1p3\n", 0, -1, 1, 5, "hexadecimal value"},
    {"1 1:1e\n", 0, -1, 1, 5, "exponent without digits"},
    {"1 1:1e+ 2:1\n", 0, -1, 1, 5, "exponent without digits"},
    {"1 1:2x\n", 0, -1, 1, 6, "unexpected 'x'; a blank must follow the value"},
    {"1 1:2:3\n", 0, -1, 1, 6, "unexpected ':'; a blank must follow the value"},
    {"1 1:2.5.5\n", 0, -1, 1, 8, "unexpected '.'; a blank must follow the value"},
    {"1 1:2-3:1\n", 0, -1, 1, 6, "unexpected '-'; a blank must follow the value"},
    {"1 1:-\n", 0, -1, 1, 5, "a number belongs here"},
    {"1 1:--1\n", 0, -1, 1, 5, "a number belongs here"},
    {"1 1:x\n", 0, -1, 1, 5, "unexpected 'x'; a number belongs here"},
    {"1 1:1_000\n", 0, -1, 1, 6, "unexpected '_'"},
    {"1 1:1\302\2402:1\n", 0, -1, 1, 6, "byte 0xC2"},
    /* separators and tokens that are no entries */
    {"1,1:2\n", 0, -1, 1, 2, "',' as a separator"},
    {"1 1:2,2:3\n", 0, -1, 1, 6, "',' as a separator"},
    {"1 1:2, 2:3\n", 0, -1, 1, 6, "',' as a separator"},
    {"1;1:2\n", 0, -1, 1, 2, "';' as a separator"},
    {"1 , 1:2\n", 0, -1, 1, 3, "',' as a separator"},
    {"1 1:0,5\n", 0, -1, 1, 6, "',' as a separator"},
    {"1 qid:3 1:2\n", 0, -1, 1, 3, "qid: is not supported"},
    {"1 a:2\n", 0, -1, 1, 3, "unexpected 'a'; index:value belongs here"},
    {"1 1:2 // x\n", 0, -1, 1, 7, "unexpected '/'"},
    {"1 1:2\r2:3\n", 0, -1, 1, 6, "carriage return within a line"},
    {"1 1:2\r\r\n", 0, -1, 1, 6, "carriage return within a line"},
    {"1 \r1:2\n", 0, -1, 1, 3, "carriage return within a line"},
    /* labels */
    {"1:2 2:3\n", 0, -1, 1, 1, "the row has no label"},
    {" 1:2\n", 0, -1, 1, 2, "the row has no label"},
    {"\t1:2\n", 0, -1, 1, 2, "the row has no label"},
    {":2\n", 0, -1, 1, 1, "the row has no label"},
    {"abc 1:2\n", 0, -1, 1, 1, "unexpected 'a'; a row starts with its label"},
    {"1abc 1:2\n", 0, -1, 1, 2, "unexpected 'a'; a blank must follow the label"},
    {"nan 1:2\n", 0, -1, 1, 1, "label is NaN"},
    {"-inf 1:2\n", 0, -1, 1, 1, "label is infinite"},
    {"1e999 1:2\n", 0, -1, 1, 1, "label is too large"},
    {"0x1 1:2\n", 0, -1, 1, 1, "hexadecimal label"},
    {"1e 1:2\n", 0, -1, 1, 1, "label has an exponent without digits"},
    {"1,2 1:2\n", 0, -1, 1, 2, "',' as a separator"},
    {"- 1:2\n", 0, -1, 1, 1, "unexpected '-'; a row starts with its label"},
    {"\r1 1:2\n", 0, -1, 1, 1, "carriage return within a line"},
    {"<html>\n", 0, -1, 1, 1, "unexpected '<'"},
    /* no text */
    {"\0\0\0\0", 4, -1, 1, 1, "NUL byte"},
    {"1 1:2\0\n", 7, -1, 1, 6, "NUL byte"},
    {"1 1:\0\n", 6, -1, 1, 5, "NUL byte"},
    {"1 \0001:2\n", 7, -1, 1, 3, "NUL byte"},
    {"1\0 1:2\n", 7, -1, 1, 2, "NUL byte"},
    {"\177ELF\2\1\1\0\n", 9, -1, 1, 1, "byte 0x7F"},
    {"\377\376" "1\0 \0", 6, -1, 1, 1, "byte 0xFF"},
    {"1 1:2\n2 \357\273\2771:2\n", 0, -1, 2, 3, "byte 0xEF"},
    /* other lines than the first */
    {"1 1:2\n\n# comment\n-1 2:3 0:1\n", 0, -1, 4, 8, "index 0"},
    {"1 1:2\r\n\r\n-1 2:x\r\n", 0, -1, 3, 6, "unexpected 'x'"},
    {"# 1:2 #\n   \t\n  1 1:2 # 2:3\n  +1\t\t5:x", 0, -1, 4, 9, "unexpected 'x'"},
};

static void check_malformed(const char *text, size_t size, const malformed *c, int line)
{
    char place[600];
    dither_data *data;
    dither_error error;
    const dither_status status = read_as("bad", text, size, c->features, -1, &data, &error);
    snprintf(place, sizeof place, "%s/bad:%d:%d: ", folder, line, c->column);
    if (status != DITHER_BAD_DATA || strncmp(error.message, place, strlen(place)) ||
        !strstr(error.message, c->keyword) || !strchr(error.message, ';'))
        fail_msg("'%s': status %d, \"%s\", expected \"%s...%s...\"", c->text, (int)status, error.message, place,
                 c->keyword);
}

/* Each as it is, without its last newline, and behind a good line. */
static void test_malformed(void **state)
{
    (void)state;
    assert_true(COUNT(malformeds) >= 45);
    for (size_t i = 0; i < COUNT(malformeds); i++) {
        const malformed *const c = &malformeds[i];
        char text[256] = "-1 1:0.5 2:1\n";
        const size_t size = c->size ? c->size : strlen(c->text), good = strlen(text);
        check_malformed(c->text, size, c, c->line);
        if (c->text[size - 1] == '\n') check_malformed(c->text, size - 1, c, c->line);
        memcpy(text + good, c->text, size);
        check_malformed(text, good + size, c, c->line + 1);
    }
}

static void test_malformed_whole_file(void **state)
{
    (void)state;
    static const malformed cases[] = {
        {"", 0, -1, 1, 1, "the file is empty"},
        {"\n", 0, -1, 1, 1, "no row"},
        {"\357\273\277", 0, -1, 1, 1, "no row"},
        {"\n\n  \n", 0, 5, 3, 1, "no row"},
        {"# only\n# comments", 0, -1, 2, 1, "no row"},
        {"1\n-1\n", 0, -1, 2, 1, "no row has a feature"},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        check_malformed(cases[i].text, strlen(cases[i].text), &cases[i], cases[i].line);
}

static void test_errors_without_error(void **state)
{
    (void)state;
    dither_data *data = (dither_data *)(uintptr_t)8;
    const char *const path = path_of("bad");
    write_bytes(path, "1 0:1\n", 6);
    assert_int_equal(dither_data_read(path, NULL, &data, NULL), DITHER_BAD_DATA);
    assert_null(data);
    unlink(path);
    dither_data_free(NULL);
}

/* ---- what is accepted ---- */

static void check_rows(const dither_data *data, int64_t rows, int64_t features, const int64_t *row_start,
                       const int32_t *column, const double *value, const double *label)
{
    assert_int_equal(dither_data_rows(data), rows);
    assert_int_equal(dither_data_features(data), features);
    assert_int_equal(dither_data_nonzeros(data), row_start[rows]);
    for (int64_t r = 0; r <= rows; r++) assert_int_equal(data->row_start[r], row_start[r]);
    for (int64_t r = 0; r < rows; r++) assert_int_equal(bits_of(data->label[r]), bits_of(label[r]));
    for (int64_t k = 0; k < row_start[rows]; k++) {
        assert_int_equal(data->column[k], column[k]);
        assert_int_equal(bits_of(data->value[k]), bits_of(value[k]));
    }
}

/* Ways to write the same two rows: 1 with 2:0.5 and 7:-3, then -1 with 1:2. */
static void test_accepted(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "1 2:0.5 7:-3\n-1 1:2\n",
        "1 2:0.5 7:-3\n-1 1:2",                                   /* no final newline */
        "1 2:0.5 7:-3\r\n-1 1:2\r\n",                             /* CRLF */
        "1 2:0.5 7:-3\r\n-1 1:2\r",                               /* CRLF cut by the file's end */
        "1 2:0.5 7:-3 \t \n-1 1:2 ",                              /* trailing blanks */
        "1 2:0.5 7:-3 \r\n-1 1:2 \r\n",
        "1\t2:0.5\t7:-3\n-1\t1:2\n",                              /* tabs */
        "  1   2:0.5 \t 7:-3\n\t-1 1:2\n",                        /* leading blanks */
        "+1 2:.5 7:-3.\n-1 1:+2\n",                               /* spellings of numbers */
        "1.0 2:5e-1 7:-0.3E1\n-1e0 1:0.00000000000000000002e20\n",
        "01 02:0.5 007:-3\n-01 1:002\n",
        "1 2:0.5 7:-3 # comment 9:9\n-1 1:2# 0:0\n",              /* comments */
        "# head\n1 2:0.5 7:-3\n#\n-1 1:2 #",
        "\n\n1 2:0.5 7:-3\n \t\r\n-1 1:2\n\n\n",                  /* empty lines */
        "\357\273\2771 2:0.5 7:-3\n-1 1:2\n",                  /* byte order mark */
        "1 1:0 2:0.5 3:0.0 4:-0 5:1e-400 6:-0e9 7:-3\n-1 1:2 6:0\n", /* zeros are left out */
    };
    static const int64_t row_start[] = {0, 2, 3};
    static const int32_t column[] = {1, 6, 0};
    static const double value[] = {0.5, -3, 2}, label[] = {1, -1};
    uint64_t hash = 0;
    for (size_t i = 0; i < COUNT(texts); i++) {
        dither_data *const data = must_read(texts[i], strlen(texts[i]));
        check_rows(data, 2, 7, row_start, column, value, label);
        if (i) assert_int_equal(data->hash, hash);
        hash = data->hash;
        dither_data_free(data);
    }
}

static void test_accepted_shapes(void **state)
{
    (void)state;
    dither_data *data = must_read("1\n-0 3:0\n\n2 # 5:5\n4", 19);
    check_rows(data, 4, 3, (const int64_t[]){0, 0, 0, 0, 0}, NULL, NULL, (const double[]){1, 0, 2, 4});
    dither_data_free(data);

    dither_error error; /* more features than the file shows; a file without any */
    assert_int_equal(read_as("rows", "1 2:3\n", 6, 9, -1, &data, &error), DITHER_OK);
    check_rows(data, 1, 9, (const int64_t[]){0, 1}, (const int32_t[]){1}, (const double[]){3}, (const double[]){1});
    dither_data_free(data);
    assert_int_equal(read_as("rows", "1\n", 2, 9, -1, &data, &error), DITHER_OK);
    check_rows(data, 1, 9, (const int64_t[]){0, 0}, NULL, NULL, (const double[]){1});
    dither_data_free(data);

    static const char largest[] = "0.25 1:1 2147483647:2\n";
    data = must_read(largest, strlen(largest));
    check_rows(data, 1, INT32_MAX, (const int64_t[]){0, 2}, (const int32_t[]){0, INT32_MAX - 1},
               (const double[]){1, 2}, (const double[]){0.25});
    dither_data_free(data);
    assert_int_equal(read_as("rows", largest, strlen(largest), INT32_MAX, -1, &data, &error), DITHER_OK);
    dither_data_free(data);
}

/* Without a final newline there is one row more than newlines, and nothing is written past what that takes. */
static void test_row_counts(void **state)
{
    (void)state;
    char text[40 * 8], *p = text;
    for (int rows = 1; rows <= 40; rows++) {
        p += sprintf(p, "%s%d 1:%d", rows > 1 ? "\n" : "", rows, rows);
        dither_data *const data = must_read(text, (size_t)(p - text));
        assert_int_equal(dither_data_rows(data), rows);
        assert_int_equal(dither_data_nonzeros(data), rows);
        for (int r = 0; r < rows; r++) {
            assert_true(data->label[r] == r + 1 && data->value[r] == r + 1);
            assert_int_equal(data->row_start[r], r);
        }
        dither_data_free(data);
    }
}

/* Rows of every length and numbers of many shapes, written and read back. */
static void test_round_trip(void **state)
{
    (void)state;
    enum { ROWS = 300 };
    static const char *const formats[] = {"%s%d:%.17g", "%s%d:%.17e", "%s%d:%.20g"};
    char *const text = malloc(ROWS * ROWS * 40);
    assert_non_null(text);
    int64_t row_start[ROWS + 1] = {0};
    double label[ROWS];
    int32_t *const column = malloc(ROWS * ROWS * sizeof *column);
    double *const value = malloc(ROWS * ROWS * sizeof *value);
    assert_true(column && value);
    random_state = 3;
    char *p = text;
    int64_t k = 0;
    for (int r = 0; r < ROWS; r++) {
        label[r] = random_finite();
        p += sprintf(p, "%.17g", label[r]);
        int index = 0;
        for (int i = 0; i < r; i++, k++) {
            index += 1 + random_below(i % 10 == 0 ? 100000 : 3);
            column[k] = index - 1;
            value[k] = i % 3 ? random_finite() : 1 + random_below(9);
            p += sprintf(p, formats[i % 3], random_below(9) ? " " : " \t ", index, value[k]);
        }
        p += sprintf(p, random_below(2) ? "\n" : " \r\n");
        row_start[r + 1] = k;
    }
    dither_data *data;
    dither_error error;
    assert_int_equal(read_as("rows", text, (size_t)(p - text), INT32_MAX, -1, &data, &error), DITHER_OK);
    check_rows(data, ROWS, INT32_MAX, row_start, column, value, label);
    dither_data_free(data);
    free(text);
    free(column);
    free(value);
}

/* ---- real files ---- */

static const struct real_file {
    const char *name;
    int64_t features, rows, entries, zeros; /* entries as the file lists them, explicit zeros among them */
    double positive;                        /* this label, and the number of rows that have it */
    int64_t positives;
    int bundled;
} real_files[] = {
    {"mushrooms", 112, 8124, 170604, 0, 1, 3916, 1},
    {"a5a", 123, 6414, 88939, 0, 1, 1569, 1},
    {"a5a.t.gz", 123, 26147, 362653, 0, 1, 6272, 0},
    {"a9a.gz", 123, 32561, 451592, 0, 1, 7841, 0},
    {"w8a.gz", 300, 49749, 579586, 0, 1, 1479, 0},
    {"news20.bz2", 62061, 15935, 1272569, 0, 2, 780, 0},
    {"madelon.t.gz", 500, 600, 300000, 0, 1, 300, 0},
    {"splice", 60, 1000, 60000, 0, 1, 517, 0},
    {"australian", 14, 690, 9660, 1936, 1, 307, 0},
    {"heart_scale", 13, 270, 3378, 0, 1, 120, 0},
    {"breast-cancer_scale", 10, 683, 6830, 0, 1, 239, 0},
    {"diabetes_scale", 8, 768, 6135, 0, 1, 500, 0},
};

static int can_unpack(const char *name)
{
    (void)name;
#ifndef DITHER_HAVE_ZLIB
    if (strstr(name, ".gz")) return 0;
#endif
#ifndef DITHER_HAVE_BZIP2
    if (strstr(name, ".bz2")) return 0;
#endif
    return 1;
}

static void test_real_files(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(real_files); i++) {
        const struct real_file *const f = &real_files[i];
        char path[600];
        struct stat about;
        struct dither_options options;
        dither_data *data;
        dither_error error;
        snprintf(path, sizeof path, "%s/%s", DITHER_DATA_DIR, f->name);
        if (!f->bundled && stat(path, &about)) continue;
        if (!can_unpack(f->name)) continue;
        memset(&options, 0, sizeof options);
        options.features = f->features, options.features_set = 1;
        if (dither_data_read(path, &options, &data, &error) != DITHER_OK) fail_msg("%s", error.message);
        assert_int_equal(dither_data_rows(data), f->rows);
        assert_int_equal(dither_data_features(data), f->features);
        if (dither_data_nonzeros(data) != f->entries - f->zeros)
            fail_msg("%s: %" PRId64 " nonzeros", path, dither_data_nonzeros(data));
        int64_t positives = 0, empty = 0;
        for (int64_t r = 0; r < f->rows; r++) {
            positives += data->label[r] == f->positive;
            empty += data->row_start[r] == data->row_start[r + 1];
        }
        assert_int_equal(positives, f->positives);
        assert_int_equal(empty, strcmp(f->name, "w8a.gz") ? 0 : 4203);
        dither_data_free(data);
    }
}

/* ---- files that can't be read ---- */

static void check_io(const char *path, dither_status status, const char *keyword)
{
    dither_data *data = (dither_data *)(uintptr_t)8;
    dither_error error = {0};
    const dither_status got = dither_data_read(path, NULL, &data, &error);
    if (got != status || error.status != status || !strstr(error.message, keyword))
        fail_msg("%s: status %d, \"%s\", expected \"%s\"", path, (int)got, error.message, keyword);
    assert_null(data);
}

static void test_unreadable(void **state)
{
    (void)state;
    check_io(path_of("absent"), DITHER_IO, "absent: can't be opened: ");
    check_io("", DITHER_IO, "can't be opened");
    check_io(folder, DITHER_IO, "is a directory");
    const char *const path = path_of("plain");
    write_bytes(path, "1 1:1\n", 6);
    char below[600];
    snprintf(below, sizeof below, "%s/x", path);
    check_io(below, DITHER_IO, "can't be opened");
    if (geteuid() != 0) { /* root may read it all the same */
        assert_int_equal(chmod(path, 0), 0);
        check_io(path, DITHER_IO, "can't be opened");
    }
    unlink(path);
    if (!access("/proc/self/mem", R_OK)) check_io("/proc/self/mem", DITHER_IO, "can't be read");
    char name[6000]; /* the message still says why */
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = 0;
    check_io(name, DITHER_IO, "can't be opened: ");
}

/* ---- compressed files ---- */

#define PACKED_MAX 8192

typedef struct packed {
    unsigned char bytes[PACKED_MAX];
    size_t size;
} packed;

typedef void packer(packed *to, const void *bytes, size_t size); /* appends a member or stream */

static const char rows_text[] = "1 2:0.5 7:-3\n-1 1:2\n1 3:0.125 4:-17.5\n";

#ifdef DITHER_HAVE_ZLIB
static void pack_gzip(packed *to, const void *bytes, size_t size)
{
    z_stream z;
    memset(&z, 0, sizeof z);
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (Bytef *)(uintptr_t)bytes, z.avail_in = (uInt)size;
    z.next_out = to->bytes + to->size, z.avail_out = (uInt)(PACKED_MAX - to->size);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    to->size = PACKED_MAX - z.avail_out;
    deflateEnd(&z);
}
#else
#define pack_gzip NULL
#endif

#ifdef DITHER_HAVE_BZIP2
static void pack_bzip2(packed *to, const void *bytes, size_t size)
{
    unsigned room = (unsigned)(PACKED_MAX - to->size);
    assert_int_equal(BZ2_bzBuffToBuffCompress((char *)to->bytes + to->size, &room, (char *)(uintptr_t)bytes,
                                              (unsigned)size, 1, 0, 0), BZ_OK);
    to->size += room;
}
#else
#define pack_bzip2 NULL
#endif

#ifdef DITHER_HAVE_LZMA
static void pack_xz(packed *to, const void *bytes, size_t size)
{
    assert_int_equal(lzma_easy_buffer_encode(0, LZMA_CHECK_CRC64, NULL, bytes, size, to->bytes, &to->size,
                                             PACKED_MAX), LZMA_OK);
}
#else
#define pack_xz NULL
#endif

static const struct packing {
    const char *name, *file;
    packer *pack;
    const char *magic;
    size_t magic_bytes;
    const char *package;
} packings[] = {
    {"gzip", "rows.gz", pack_gzip, "\x1F\x8B\x08", 3, "zlib"},
    {"bzip2", "rows.bz2", pack_bzip2, "BZh91AY&SY", 10, "bzip2"},
    {"xz", "rows.xz", pack_xz, "\xFD" "7zXZ\0\0", 7, "xz"},
};

static uint64_t hash_of_rows(void)
{
    dither_data *const data = must_read(rows_text, strlen(rows_text));
    const uint64_t hash = data->hash;
    dither_data_free(data);
    return hash;
}

static void check_packed(const char *name, const packed *file, uint64_t hash)
{
    dither_data *data;
    dither_error error;
    if (read_as(name, file->bytes, file->size, -1, -1, &data, &error) != DITHER_OK)
        fail_msg("%s: %s", name, error.message);
    assert_int_equal(data->hash, hash);
    dither_data_free(data);
}

static void check_packed_bad(const char *name, const packed *file, const char *keyword)
{
    dither_data *data;
    dither_error error;
    const dither_status status = read_as(name, file->bytes, file->size, -1, -1, &data, &error);
    if (status != DITHER_BAD_DATA || !strstr(error.message, keyword) || !strchr(error.message, ';'))
        fail_msg("%s of %zu bytes: status %d, \"%s\", expected \"%s\"", name, file->size, (int)status, error.message,
                 keyword);
}

static void test_packed(void **state)
{
    (void)state;
    const uint64_t hash = hash_of_rows();
    const size_t size = strlen(rows_text), half = 17; /* in the middle of a line */
    for (size_t i = 0; i < COUNT(packings); i++) {
        const struct packing *const p = &packings[i];
        packed file = {.size = 0};
        if (!p->pack) {
            check_io(path_of("absent.gz"), DITHER_IO, "can't be opened");
            continue;
        }
        p->pack(&file, rows_text, size);
        check_packed(p->file, &file, hash);
        check_packed("rows", &file, hash); /* known by its content */
        for (size_t j = 0; j < COUNT(packings); j++) check_packed(packings[j].file, &file, hash);
        file.size = 0; /* several members or streams, an empty one among them */
        p->pack(&file, rows_text, half);
        p->pack(&file, "", 0);
        p->pack(&file, rows_text + half, size - half);
        check_packed(p->file, &file, hash);
        file.size = 0;
        p->pack(&file, "1 1:2\n2 0:1\n", 12); /* the place is that in the text */
        check_packed_bad(p->file, &file, ":2:3: index 0");
        file.size = 0;
        p->pack(&file, "", 0);
        check_packed_bad(p->file, &file, ":1:1: the file is empty");
    }
}

static void test_packed_large(void **state)
{
    (void)state;
    enum { LINES = 400000 };
    char *const text = malloc(LINES * 6);
    assert_non_null(text);
    for (int i = 0; i < LINES; i++) memcpy(text + 6 * i, i % 7 ? "1 2:3\n" : "2 1:1\n", 6);
    dither_data *data = must_read(text, LINES * 6);
    const uint64_t hash = data->hash;
    assert_int_equal(dither_data_rows(data), LINES);
    dither_data_free(data);
    for (size_t i = 0; i < COUNT(packings); i++) {
        packed file = {.size = 0};
        if (!packings[i].pack) continue;
        packings[i].pack(&file, text, LINES * 6);
        check_packed(packings[i].file, &file, hash);
    }
    free(text);
}

/* Cut after every byte, of one stream and of the second of two; then with other bytes behind. */
static void test_packed_cut(void **state)
{
    (void)state;
    const uint64_t hash = hash_of_rows();
    for (size_t i = 0; i < COUNT(packings); i++) {
        const struct packing *const p = &packings[i];
        packed file = {.size = 0};
        if (!p->pack) continue;
        p->pack(&file, rows_text, strlen(rows_text));
        const size_t one = file.size;
        for (file.size = 0; file.size < one; file.size++) check_packed_bad(p->file, &file, "cut short");
        p->pack(&file, "1 1:1\n", 6);
        const size_t two = file.size;
        for (file.size = one + 1; file.size < two; file.size++) check_packed_bad(p->file, &file, "cut short");
        file.size = one;
        check_packed(p->file, &file, hash);
        static const char *const behind[] = {"\n", "x", "1 1:1\n", "garbage that is longer than any header"};
        for (size_t j = 0; j < COUNT(behind); j++) {
            memcpy(file.bytes + one, behind[j], strlen(behind[j]));
            file.size = one + strlen(behind[j]);
            check_packed_bad(p->file, &file, "other bytes follow");
        }
        for (size_t zeros = 1; zeros <= 8; zeros++) { /* xz pads to a multiple of 4, the others not at all */
            memset(file.bytes + one, 0, zeros);
            file.size = one + zeros;
            if (!strcmp(p->name, "xz") && zeros % 4 == 0)
                check_packed(p->file, &file, hash);
            else
                check_packed_bad(p->file, &file, "other bytes follow");
        }
    }
}

/* Every bit flipped: an error, or a flip that has no meaning (gzip's time stamp, say) and the same rows. Never other
 * rows. */
static void test_packed_damaged(void **state)
{
    (void)state;
    const uint64_t hash = hash_of_rows();
    for (size_t i = 0; i < COUNT(packings); i++) {
        const struct packing *const p = &packings[i];
        packed file = {.size = 0};
        int refused = 0;
        if (!p->pack) continue;
        p->pack(&file, rows_text, strlen(rows_text));
        for (size_t bit = 0; bit < 8 * file.size; bit++) {
            dither_data *data;
            dither_error error;
            file.bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
            const dither_status status = read_as(p->file, file.bytes, file.size, -1, -1, &data, &error);
            file.bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
            if (status == DITHER_OK)
                assert_int_equal(data->hash, hash);
            else
                assert_int_equal(status, DITHER_BAD_DATA);
            refused += status != DITHER_OK;
            dither_data_free(data);
        }
        /* gzip: flags, time, system; bzip2: block size, padding at the end, codes not used; xz: none */
        const int meaningless = !strcmp(p->name, "gzip") ? 56 : !strcmp(p->name, "bzip2") ? 30 : 0;
        assert_in_range(refused, 8 * (int)file.size - meaningless, 8 * file.size);
        if (!strcmp(p->name, "gzip")) { /* the checksum and the length behind the data */
            file.bytes[file.size - 8] ^= 1;
            check_packed_bad(p->file, &file, "checksum");
            file.bytes[file.size - 8] ^= 1, file.bytes[file.size - 1] ^= 1;
            check_packed_bad(p->file, &file, "damaged");
        }
    }
}

static void test_packed_misnamed(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(packings); i++) {
        const struct packing *const p = &packings[i];
        packed file = {.size = strlen(rows_text)};
        memcpy(file.bytes, rows_text, file.size);
        if (p->pack) check_packed_bad(p->file, &file, "named .");
        else {
            dither_data *data;
            dither_error error;
            assert_int_equal(read_as("rows", p->magic, p->magic_bytes, -1, -1, &data, &error), DITHER_IO);
            assert_non_null(strstr(error.message, p->package));
            assert_non_null(strstr(error.message, "install"));
            assert_int_equal(read_as(p->file, rows_text, strlen(rows_text), -1, -1, &data, &error), DITHER_IO);
        }
    }
}

/* ---- rows in memory ---- */

typedef struct csr {
    int64_t rows, features, row_start[4];
    int32_t column[5];
    double value[5], label[3];
} csr;

static const csr good_csr = {3, 5, {0, 2, 2, 5}, {0, 4, 1, 2, 3}, {1, -2, 3, 4, 5}, {1, -1, 1}};

static dither_status from_csr(const csr *c, dither_data **data, dither_error *error)
{
    memset(error, 0, sizeof *error);
    *data = (dither_data *)(uintptr_t)8;
    const dither_status status =
        dither_data_from_csr(c->rows, c->features, c->row_start, c->column, c->value, c->label, data, error);
    if (status != DITHER_OK) assert_null(*data);
    return status;
}

static uint64_t csr_hash(const csr *c)
{
    dither_data *data;
    dither_error error;
    if (from_csr(c, &data, &error) != DITHER_OK) fail_msg("%s", error.message);
    const uint64_t hash = data->hash;
    dither_data_free(data);
    return hash;
}

static void test_csr(void **state)
{
    (void)state;
    dither_data *data;
    dither_error error;
    csr c = good_csr;
    assert_int_equal(from_csr(&c, &data, &error), DITHER_OK);
    memset(&c, 0x55, sizeof c); /* it was copied */
    check_rows(data, 3, 5, good_csr.row_start, good_csr.column, good_csr.value, good_csr.label);
    static const char text[] = "1 1:1 5:-2\n-1\n1 2:3 3:4 4:5\n";
    dither_data *const same = must_read(text, strlen(text));
    assert_int_equal(data->hash, same->hash);
    dither_data_free(same);
    dither_data_free(data);

    c = good_csr; /* zeros are left out */
    c.value[1] = -0.0, c.value[2] = 0, c.label[1] = -0.0;
    assert_int_equal(from_csr(&c, &data, &error), DITHER_OK);
    check_rows(data, 3, 5, (const int64_t[]){0, 1, 1, 3}, (const int32_t[]){0, 2, 3}, (const double[]){1, 4, 5},
               (const double[]){1, 0, 1});
    dither_data_free(data);

    c = good_csr; /* rows 1 and 2 of the three */
    assert_int_equal(dither_data_from_csr(2, 5, c.row_start + 1, c.column, c.value, c.label + 1, &data, &error),
                     DITHER_OK);
    check_rows(data, 2, 5, (const int64_t[]){0, 0, 3}, good_csr.column + 2, good_csr.value + 2, good_csr.label + 1);
    dither_data_free(data);

    const int64_t none[] = {0, 0};
    assert_int_equal(dither_data_from_csr(1, 1, none, NULL, NULL, c.label, &data, NULL), DITHER_OK);
    check_rows(data, 1, 1, none, NULL, NULL, c.label);
    dither_data_free(data);
}

static void check_csr_bad(const csr *c, const char *keyword)
{
    dither_data *data;
    dither_error error;
    const dither_status status = from_csr(c, &data, &error);
    if (status != DITHER_BAD_DATA || error.status != status || !strstr(error.message, keyword))
        fail_msg("status %d, \"%s\", expected \"%s\"", (int)status, error.message, keyword);
}

#define CSR_BAD(change, keyword) \
    do { \
        csr c = good_csr; \
        change; \
        check_csr_bad(&c, keyword); \
    } while (0)

static void test_csr_refused(void **state)
{
    (void)state;
    const double nan = double_of(0x7FF8000000000000u), inf = double_of(0x7FF0000000000000u);
    CSR_BAD(c.rows = 0, "0 rows");
    CSR_BAD(c.rows = -3, "-3 rows");
    CSR_BAD(c.rows = INT64_MAX, "rows are more than memory");
    CSR_BAD(c.features = 0, "0 features");
    CSR_BAD(c.features = -1, "-1 features");
    CSR_BAD(c.features = INT64_C(1) << 31, "2147483648 features");
    CSR_BAD(c.row_start[0] = -1, "row 0: row_start is -1");
    CSR_BAD(c.row_start[0] = 3, "row 0: row_start falls from 3 to 2");
    CSR_BAD(c.row_start[2] = 6, "row 2: row_start falls from 6 to 5");
    CSR_BAD(c.row_start[3] = INT64_MIN, "row 2: row_start falls");
    CSR_BAD(c.column[1] = 5, "row 0, entry 1: column 5; columns are from 0 to 4");
    CSR_BAD(c.column[0] = -1, "row 0, entry 0: column -1");
    CSR_BAD(c.column[3] = 1, "row 2, entry 3: column 1 after 1");
    CSR_BAD(c.column[4] = 1, "row 2, entry 4: column 1 after 2");
    CSR_BAD(c.value[4] = nan, "row 2, entry 4: the value");
    CSR_BAD(c.value[0] = inf, "row 0, entry 0: the value");
    CSR_BAD(c.value[0] = -inf, "row 0, entry 0: the value");
    CSR_BAD(c.label[1] = nan, "row 1: the label");
    CSR_BAD(c.label[2] = -inf, "row 2: the label");
    dither_data *data = NULL;
    const csr c = good_csr;
    assert_int_equal(dither_data_from_csr(3, 5, NULL, c.column, c.value, c.label, &data, NULL), DITHER_BAD_DATA);
    assert_int_equal(dither_data_from_csr(3, 5, c.row_start, NULL, c.value, c.label, &data, NULL), DITHER_BAD_DATA);
    assert_int_equal(dither_data_from_csr(3, 5, c.row_start, c.column, NULL, c.label, &data, NULL), DITHER_BAD_DATA);
    assert_int_equal(dither_data_from_csr(3, 5, c.row_start, c.column, c.value, NULL, &data, NULL), DITHER_BAD_DATA);
}

/* ---- labels ---- */

static dither_status map_labels(const char *text, const char *positive, double *y, double values[2],
                                dither_error *error)
{
    dither_data *const data = must_read(text, strlen(text));
    memset(error, 0, sizeof *error);
    const dither_status status = dither_labels_map(data, positive, y, values, error);
    if (status != DITHER_OK) assert_int_equal(error->status, status);
    dither_data_free(data);
    return status;
}

static void check_labels(const char *text, const char *positive, double minus, double plus, const char *signs)
{
    double y[64] = {0}, values[2] = {0, 0};
    dither_error error;
    if (map_labels(text, positive, y, values, &error) != DITHER_OK) fail_msg("%s", error.message);
    assert_true(isnan(minus) ? isnan(values[0]) : values[0] == minus);
    assert_true(values[1] == plus);
    for (int i = 0; signs[i]; i++) assert_true(y[i] == (signs[i] == '+' ? 1 : -1));
}

static void check_labels_bad(const char *text, const char *positive, dither_status status, const char *keyword)
{
    double y[64], values[2];
    dither_error error;
    const dither_status got = map_labels(text, positive, y, values, &error);
    if (got != status || !strstr(error.message, keyword))
        fail_msg("status %d, \"%s\", expected \"%s\"", (int)got, error.message, keyword);
}

static void test_labels(void **state)
{
    (void)state;
    check_labels("-1 1:1\n+1\n-1\n1\n", "auto", -1, 1, "-+-+");
    check_labels("1 1:1\n-1\n", "auto", -1, 1, "+-");
    check_labels("1 1:1\n2\n2\n", "auto", 1, 2, "-++");
    check_labels("1 1:1\n2\n2\n", "1", 2, 1, "+--");
    check_labels("1 1:1\n2\n2\n", "+1.0e0", 2, 1, "+--");
    check_labels("0 1:1\n0.5\n-0\n", "auto", 0, 0.5, "-+-");
    check_labels("3 1:1\n2\n1\n3\n", "2", NAN, 2, "-+--");
    check_labels("3 1:1\n2\n1\n3\n", "1", NAN, 1, "--+-");
    check_labels("3 1:1\n2\n1\n3\n", "3", NAN, 3, "+--+");
    check_labels_bad("3 1:1\n-2\n1.5\n3\n", "auto", DITHER_BAD_DATA, "label values: -2, 1.5, 3; say with --labels");
    check_labels_bad("5 1:1\n5\n", "auto", DITHER_BAD_DATA, "all labels are 5");
    check_labels_bad("5 1:1\n5\n", "5", DITHER_BAD_DATA, "all labels are 5");
    check_labels_bad("1 1:1\n2\n", "3", DITHER_USAGE, "no label is 3; the labels are 1, 2");
    check_labels_bad("1 1:1\n2\n4\n", "3", DITHER_USAGE, "the labels are 1, 2, 4");
    static const char *const no_number[] = {"", "yes", "1x", " 1", "1 ", "nan", "inf", "0x1", "1e999", "Auto"};
    for (size_t i = 0; i < COUNT(no_number); i++)
        check_labels_bad("1 1:1\n2\n", no_number[i], DITHER_USAGE, "neither a number nor auto; the labels are 1, 2");
}

/* More values than a message lists: the smallest are listed, whatever their order in the file. */
static void test_labels_many(void **state)
{
    (void)state;
    enum { VALUES = 60 };
    char text[VALUES * 16], *p = text, first[64];
    for (int i = 0; i < VALUES; i++) p += sprintf(p, "%d 1:1\n", (i * 37 + 11) % VALUES);
    check_labels_bad(text, "auto", DITHER_BAD_DATA, ": 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10,");
    check_labels_bad(text, "auto", DITHER_BAD_DATA, ", 22, 23, ...;");
    p = text; /* descending, each value displaces one */
    for (int i = VALUES; i > 0; i--) p += sprintf(p, "%d 1:1\n", i - 1);
    check_labels_bad(text, "auto", DITHER_BAD_DATA, ", 22, 23, ...;");
    p = text; /* as many as are listed */
    for (int i = 0; i < 24; i++) p += sprintf(p, "%d 1:1\n", 24 - i);
    check_labels_bad(text, "auto", DITHER_BAD_DATA, ", 23, 24;");
    p = text;
    for (int i = 0; i < VALUES; i++) p += sprintf(p, "%d 1:1\n", (i * 37 + 11) % VALUES);
    snprintf(first, sizeof first, "%d", VALUES - 1);
    double y[VALUES], values[2];
    dither_error error;
    assert_int_equal(map_labels(text, first, y, values, &error), DITHER_OK);
    assert_true(isnan(values[0]) && values[1] == VALUES - 1);
    assert_int_equal(map_labels(text, "0", y, values, &error), DITHER_OK);
    assert_true(isnan(values[0]) && values[1] == 0);
}

/* ---- shuffling ---- */

static dither_data *shuffled(int rows, int64_t seed)
{
    char *const text = malloc((size_t)rows * 64), *p = text;
    assert_non_null(text);
    for (int r = 0; r < rows; r++) { /* row r has r % 4 entries, all of them and the label telling r */
        p += sprintf(p, "%d", r);
        for (int i = 0; i < r % 4; i++) p += sprintf(p, " %d:%d", 1 + i + r % 5, 10 * r + i + 1);
        p += sprintf(p, "\n");
    }
    dither_data *data;
    dither_error error;
    if (read_as("rows", text, (size_t)(p - text), 9, seed, &data, &error) != DITHER_OK) fail_msg("%s", error.message);
    free(text);
    return data;
}

static void check_permutation(const dither_data *data, int rows)
{
    char *const seen = calloc((size_t)rows, 1);
    assert_non_null(seen);
    assert_int_equal(dither_data_rows(data), rows);
    assert_int_equal(data->row_start[0], 0);
    for (int i = 0; i < rows; i++) {
        const int r = (int)data->label[i];
        assert_in_range(r, 0, rows - 1);
        assert_int_equal(seen[r]++, 0);
        assert_int_equal(data->row_start[i + 1] - data->row_start[i], r % 4);
        for (int k = 0; k < r % 4; k++) {
            assert_int_equal(data->column[data->row_start[i] + k], k + r % 5);
            assert_true(data->value[data->row_start[i] + k] == 10 * r + k + 1);
        }
    }
    free(seen);
}

static void test_shuffle(void **state)
{
    (void)state;
    enum { ROWS = 997 };
    dither_data *const plain = shuffled(ROWS, -1), *const a = shuffled(ROWS, 0), *const again = shuffled(ROWS, 0),
                *const b = shuffled(ROWS, INT64_C(1) << 53);
    check_permutation(plain, ROWS);
    check_permutation(a, ROWS);
    check_permutation(b, ROWS);
    int moved = 0, differ = 0;
    for (int i = 0; i < ROWS; i++) {
        assert_true(plain->label[i] == i);
        moved += a->label[i] != i;
        differ += a->label[i] != b->label[i];
        assert_true(a->label[i] == again->label[i]);
    }
    assert_true(moved > ROWS - 20 && differ > ROWS - 20);
    assert_int_equal(a->hash, again->hash); /* the hash is of the rows in their new order */
    assert_int_not_equal(a->hash, plain->hash);
    assert_int_not_equal(a->hash, b->hash);
    dither_data_free(plain);
    dither_data_free(a);
    dither_data_free(again);
    dither_data_free(b);
    for (int rows = 1; rows < 6; rows++) {
        dither_data *const few = shuffled(rows, 7);
        check_permutation(few, rows);
        dither_data_free(few);
    }
}

/* The order as the header defines it, with a 128-bit product in place of four. */
static void test_shuffle_definition(void **state)
{
    (void)state;
#ifdef __SIZEOF_INT128__
    enum { ROWS = 1000, SEED = 12345 };
    int order[ROWS];
    for (int i = 0; i < ROWS; i++) order[i] = i;
    for (int t = 0; t <= ROWS - 2; t++) {
        const uint64_t subsequence = dk_subsequence(0, DK_WORKER_ALL, DK_STREAM_INIT);
        const uint64_t u = dk_word(SEED, subsequence, 2 * (uint64_t)t) |
                           (uint64_t)dk_word(SEED, subsequence, 2 * (uint64_t)t + 1) << 32;
        const int i = ROWS - 1 - t, j = (int)(((unsigned __int128)u * (unsigned)(i + 1)) >> 64);
        const int swapped = order[i];
        order[i] = order[j];
        order[j] = swapped;
    }
    dither_data *const data = shuffled(ROWS, SEED);
    for (int i = 0; i < ROWS; i++) assert_true(data->label[i] == order[i]);
    dither_data_free(data);
#else
    skip();
#endif
}

static void test_scale_down(void **state)
{
    (void)state;
    assert_int_equal(dither_scale_down(UINT64_MAX, INT64_MAX), INT64_MAX - 1);
    assert_int_equal(dither_scale_down(UINT64_C(1) << 63, 6), 3);
    assert_int_equal(dither_scale_down((UINT64_C(1) << 63) - 1, 6), 2);
    assert_int_equal(dither_scale_down(0, 6), 0);
#ifdef __SIZEOF_INT128__
    random_state = 5;
    for (int i = 0; i < 10000; i++) {
        const uint64_t u = random_bits(), m = random_bits() >> (1 + random_below(60));
        assert_int_equal(dither_scale_down(u, m), (uint64_t)((unsigned __int128)u * m >> 64));
    }
#endif
}

/* All 24 orders of 4 rows come about equally often: 200 expected of each, 6 standard deviations are 83. */
static void test_shuffle_uniform(void **state)
{
    (void)state;
    static const char text[] = "0 1:1\n1 1:1\n2 1:1\n3 1:1\n";
    int times[256] = {0}, orders = 0;
    for (int64_t seed = 0; seed < 4800; seed++) {
        dither_data *data;
        dither_error error;
        assert_int_equal(read_as("rows", text, strlen(text), -1, seed, &data, &error), DITHER_OK);
        int code = 0;
        for (int i = 0; i < 4; i++) code = 4 * code + (int)data->label[i];
        times[code]++;
        dither_data_free(data);
    }
    for (int i = 0; i < 256; i++) {
        if (times[i]) assert_in_range(times[i], 117, 283);
        orders += times[i] > 0;
    }
    assert_int_equal(orders, 24);
}

/* ---- hashes ---- */

/* The definition of hash.h, a byte at a time. */
static uint64_t hash_slowly(uint64_t h, const unsigned char *bytes, size_t n)
{
    const size_t words = (n + 7) / 8;
    for (size_t w = 0; w < words + 2; w++) {
        uint64_t word = w == words ? n : 0;
        for (size_t b = 0; w < words && b < 8; b++)
            word |= (8 * w + b < n ? (uint64_t)bytes[8 * w + b] : 0) << 8 * b;
        h = (h ^ word) * 0x9E3779B97F4A7C15u;
        h = (h ^ h >> 32) * 0xD6E8FEB86659FD93u;
    }
    return h ^ h >> 32;
}

static void test_hash(void **state)
{
    (void)state;
    unsigned char bytes[72];
    random_state = 4;
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (unsigned char)random_bits();
    for (size_t n = 0; n <= 64; n++)
        for (size_t at = 0; at < 8; at++) {
            const uint64_t h = dither_hash64(n * at, bytes + at, n);
            assert_int_equal(h, hash_slowly(n * at, bytes + at, n));
            dither_hasher pieces = {.h = n * at}; /* of `at` bytes each, or one by one */
            for (size_t done = 0, step = at ? at : 1; done < n; done += step)
                dither_hasher_add(&pieces, bytes + at + done, n - done < step ? n - done : step);
            assert_int_equal(dither_hasher_end(&pieces), h);
            dither_hasher_add(&pieces, bytes, at); /* the next call's */
            assert_int_equal(dither_hasher_end(&pieces), dither_hash64(h, bytes, at));
        }
    const uint64_t h = dither_hash64(0, bytes, 64);
    int flips = 0;
    for (int bit = 0; bit < 512; bit++) {
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
        uint64_t changed = dither_hash64(0, bytes, 64) ^ h;
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
        assert_int_not_equal(changed, 0);
        for (; changed; changed &= changed - 1) flips++;
    }
    assert_in_range(flips, 512 * 31, 512 * 33); /* half of the 64 bits on average */
    memset(bytes, 0, sizeof bytes); /* zeros count, and how many */
    for (size_t n = 0; n < 64; n++) assert_int_not_equal(dither_hash64(0, bytes, n), dither_hash64(0, bytes, n + 1));
    assert_int_not_equal(dither_hash64(0, bytes, 8), dither_hash64(1, bytes, 8));
    assert_int_not_equal(dither_hash64(dither_hash64(0, bytes, 8), bytes, 8), dither_hash64(0, bytes, 16));
    assert_int_equal(dither_hash64(5, NULL, 0), dither_hash64(5, bytes, 0));
}

/* Never change what a hash is: files and printed results of other versions hold it. */
static void test_hash_fixed(void **state)
{
    (void)state;
    assert_int_equal(dither_hash64(0, "", 0), UINT64_C(0));
    assert_int_equal(dither_hash64(0, "dither", 6), UINT64_C(0x521e767341902c27));
    assert_int_equal(csr_hash(&good_csr), UINT64_C(0x4b2634bb474ae5b1));
}

/* Any bit of any value or label, any column, bound or number of features. */
static void test_data_hash(void **state)
{
    (void)state;
    const uint64_t hash = csr_hash(&good_csr);
    csr c = good_csr;
    for (int bit = 0; bit < 62; bit++) { /* bit 62 would make some of them infinite */
        for (int k = 0; k < 8; k++) {
            double *const x = k < 5 ? &c.value[k] : &c.label[k - 5];
            const double before = *x;
            *x = double_of(bits_of(before) ^ UINT64_C(1) << bit);
            if (*x >= -DBL_MAX && *x <= DBL_MAX) assert_int_not_equal(csr_hash(&c), hash);
            *x = before;
        }
    }
    for (int k = 0; k < 8; k++) {
        double *const x = k < 5 ? &c.value[k] : &c.label[k - 5];
        *x = -*x;
        assert_int_not_equal(csr_hash(&c), hash);
        *x = -*x;
    }
    assert_int_equal(csr_hash(&c), hash);
    c.features = 6;
    assert_int_not_equal(csr_hash(&c), hash);
    c = good_csr, c.column[1] = 3;
    assert_int_not_equal(csr_hash(&c), hash);
    c = good_csr, c.row_start[2] = 3;
    assert_int_not_equal(csr_hash(&c), hash);
    c = good_csr, c.rows = 2, c.row_start[2] = 2;
    assert_int_not_equal(csr_hash(&c), hash);
}

/* ---- normalization ---- */

static void read_normalized(const char *text, int64_t seed, dither_data **out)
{
    const char *const path = path_of("rows");
    struct dither_options options;
    dither_error error;
    memset(&options, 0, sizeof options);
    options.normalize = "rows", options.shuffle = seed, options.shuffle_set = seed >= 0;
    write_bytes(path, text, strlen(text));
    if (dither_data_read(path, &options, out, &error) != DITHER_OK) fail_msg("%s", error.message);
    unlink(path);
}

static long double square_of_row(const dither_data *data, int64_t r)
{
    long double sum = 0;
    for (int64_t e = data->row_start[r]; e < data->row_start[r + 1]; e++) sum += (long double)data->value[e] * data->value[e];
    return sum;
}

/* Norms are 1, whatever the range; zeros stay; columns and labels too; what vanishes beside the rest is no entry. */
static void test_normalized(void **state)
{
    (void)state;
    dither_data *data;
    read_normalized("1 1:3 4:-4\n2 2:1e-200 3:1e-200\n1 1:1.7e308 2:1.7e308 3:1.7e308\n2\n1 3:5e-324\n2 1:1e-320 2:1e300\n"
                    "1 1:5e-324 3:-5e-324\n1 2:-7\n", -1, &data);
    assert_int_equal(data->rows, 8);
    assert_int_equal(data->nonzeros, 2 + 2 + 3 + 0 + 1 + 1 + 2 + 1);
    for (int r = 0; r < 8; r++) {
        const double off = fabs((double)(square_of_row(data, r) - (r != 3)));
        if (off > 4 * DBL_EPSILON) fail_msg("row %d: the norm's square is off by %g", r, off);
    }
    assert_true(data->value[0] == 3.0 / 5 && data->value[1] == -4.0 / 5 && data->column[1] == 3);
    assert_true(data->value[data->nonzeros - 1] == -1 && data->column[data->nonzeros - 1] == 1 && data->label[5] == 2);
    assert_true(data->column[data->nonzeros - 4] == 1);
    dither_data_free(data);
}

/* Values are v / sqrt(sum v^2), in this order, and so they are when the rows come in another; again: within rounding. */
static void test_normalized_random(void **state)
{
    (void)state;
    enum { ROWS = 200 };
    dither_data *plain, *once, *mixed;
    dither_error error;
    char *text = NULL;
    size_t bytes;
    FILE *stream = open_memstream(&text, &bytes);
    random_state = 5;
    for (int r = 0; r < ROWS; r++) {
        fprintf(stream, "%d", r);
        for (int c = 1; c < 40; c += 1 + random_below(9)) fprintf(stream, " %d:%.17g", c, (random_below(2001) - 1000.5) / 77);
        fprintf(stream, "\n");
    }
    fclose(stream);
    assert_int_equal(read_as("rows", text, bytes, -1, -1, &plain, &error), DITHER_OK);
    read_normalized(text, -1, &once);
    read_normalized(text, 3, &mixed);
    assert_int_not_equal(plain->hash, once->hash);
    assert_int_equal(plain->nonzeros, once->nonzeros);
    for (int64_t r = 0; r < ROWS; r++) {
        double squares = 0;
        const int64_t begin = plain->row_start[r], entries = plain->row_start[r + 1] - begin, from = (int64_t)mixed->label[r];
        for (int64_t e = 0; e < entries; e++) squares += plain->value[begin + e] * plain->value[begin + e];
        for (int64_t e = 0; e < entries; e++) assert_true(once->value[begin + e] == plain->value[begin + e] / sqrt(squares));
        assert_memory_equal(mixed->value + mixed->row_start[r], once->value + once->row_start[from],
                            (size_t)(mixed->row_start[r + 1] - mixed->row_start[r]) * sizeof(double));
    }
    memcpy(plain->value, once->value, (size_t)once->nonzeros * sizeof(double));
    dither_data_normalize_rows(plain);
    for (int64_t e = 0; e < once->nonzeros; e++)
        assert_true(fabs(plain->value[e] - once->value[e]) <= 4 * DBL_EPSILON * fabs(once->value[e]));
    dither_data_free(plain), dither_data_free(once), dither_data_free(mixed);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers_random),
        cmocka_unit_test(test_numbers_halfway),
        cmocka_unit_test(test_numbers_halfway_short),
        cmocka_unit_test(test_numbers_known),
        cmocka_unit_test(test_numbers_long),
        cmocka_unit_test(test_numbers_refused),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_malformed_whole_file),
        cmocka_unit_test(test_errors_without_error),
        cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_accepted_shapes),
        cmocka_unit_test(test_row_counts),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_real_files),
        cmocka_unit_test(test_unreadable),
        cmocka_unit_test(test_packed),
        cmocka_unit_test(test_packed_large),
        cmocka_unit_test(test_packed_cut),
        cmocka_unit_test(test_packed_damaged),
        cmocka_unit_test(test_packed_misnamed),
        cmocka_unit_test(test_csr),
        cmocka_unit_test(test_csr_refused),
        cmocka_unit_test(test_labels),
        cmocka_unit_test(test_labels_many),
        cmocka_unit_test(test_shuffle),
        cmocka_unit_test(test_shuffle_definition),
        cmocka_unit_test(test_scale_down),
        cmocka_unit_test(test_shuffle_uniform),
        cmocka_unit_test(test_hash),
        cmocka_unit_test(test_hash_fixed),
        cmocka_unit_test(test_data_hash),
        cmocka_unit_test(test_normalized),
        cmocka_unit_test(test_normalized_random),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
