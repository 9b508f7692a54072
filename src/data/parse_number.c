#include "parse_number.h"

#include <float.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

/* A double is decided by at most 767 significant digits, and whether any digit after them is not 0. */
#define DIGITS_KEPT 800

static inline unsigned digit_of(char c) { return (unsigned)(unsigned char)c - '0'; }

/* What stands where no digit does. `p` is behind the sign. */
static dither_number without_digits(const char *p)
{
    if (!strncasecmp(p, "nan", 3)) return DITHER_NUMBER_NAN;
    if (!strncasecmp(p, "inf", 3)) return DITHER_NUMBER_INFINITE;
    return DITHER_NUMBER_NONE;
}

/* [+-]digits at p, saturated far beyond any exponent that matters. NULL without digits. */
static const char *parse_exponent(const char *p, int64_t *exponent)
{
    const int negative = *p == '-';
    p += *p == '-' || *p == '+';
    if (digit_of(*p) > 9) return NULL;
    int64_t e = 0;
    for (; digit_of(*p) <= 9; p++)
        if (e < INT64_C(1000000000000000)) e = 10 * e + digit_of(*p);
    *exponent = negative ? -e : e;
    return p;
}

/* The digits from `p` to `end`, a point among them or not, times 10^exponent. Written out for strtod as an integer
 * with an exponent, because the point's sign is the one thing in strtod that depends on the locale. */
static double convert_slowly(const char *p, const char *end, int64_t exponent)
{
    char text[DIGITS_KEPT + 32];
    int kept = 0, more = 0;
    while (p < end && (*p == '0' || *p == '.')) p++;
    for (; p < end; p++) {
        if (*p == '.') continue;
        if (kept < DIGITS_KEPT) {
            text[kept++] = *p;
        } else {
            exponent++;
            more |= *p != '0';
        }
    }
    if (!kept) return 0;
    if (more) {
        text[kept++] = '1';
        exponent--;
    }
    /* beyond these bounds DIGITS_KEPT digits can't bring it back */
    exponent = exponent > 9999 ? 9999 : exponent < -9999 ? -9999 : exponent;
    snprintf(text + kept, sizeof text - (size_t)kept, "e%d", (int)exponent);
    return strtod(text, NULL);
}

/* Clinger's case: mantissa and power of ten are both exact doubles, so one operation rounds once. */
static inline int convert_fast(uint64_t mantissa, int64_t exponent, double *out)
{
    static const double power[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                   1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    if (FLT_EVAL_METHOD != 0 || mantissa > UINT64_C(1) << 53 || exponent < -22 || exponent > 22) return 0;
    *out = exponent < 0 ? (double)mantissa / power[-exponent] : (double)mantissa * power[exponent];
    return 1;
}

#ifdef __SIZEOF_INT128__
__extension__ typedef unsigned __int128 wide;

/* mantissa 10^exponent as q 2^k with an integer q of more than 53 bits, or a little more when `inexact`, then rounded
 * once by hand. For the 17 to 19 digits that print a double in full, where strtod takes six times as long. */
static int convert_wide(uint64_t mantissa, int64_t exponent, double *out)
{
    if (mantissa == 0 || exponent < -27 || exponent > 27) return 0; /* 5^27 < 2^63 < 5^28 */
    uint64_t five = 1;
    for (int64_t i = exponent < 0 ? -exponent : exponent; i > 0; i--) five *= 5;
    const int shift = __builtin_clzll(mantissa);
    const wide dividend = (wide)(mantissa << shift) << 64;
    wide q = exponent < 0 ? dividend / five : (wide)mantissa * five;
    const int inexact = exponent < 0 && q * five != dividend;
    const int high = (q >> 64) != 0;
    const int bits = high ? 128 - __builtin_clzll((uint64_t)(q >> 64)) : 64 - __builtin_clzll((uint64_t)q);
    if (bits < 54) return 0; /* only if convert_fast() left it, which it doesn't where FLT_EVAL_METHOD is 0 */
    const int dropped = bits - 53;
    const wide rest = q & (((wide)1 << dropped) - 1), half = (wide)1 << (dropped - 1);
    uint64_t kept = (uint64_t)(q >> dropped);
    kept += rest > half || (rest == half && (inexact || (kept & 1)));
    const int64_t power = exponent + dropped - (exponent < 0 ? shift + 64 : 0); /* far from the ends of the range */
    const union {
        uint64_t bits;
        double value;
    } scale = {(uint64_t)(1023 + power) << 52};
    *out = (double)kept * scale.value;
    return 1;
}
#else
static int convert_wide(uint64_t mantissa, int64_t exponent, double *out)
{
    (void)mantissa, (void)exponent, (void)out;
    return 0;
}
#endif

dither_number dither_number_parse(const char **cursor, double *out)
{
    const char *p = *cursor;
    const int negative = *p == '-';
    p += *p == '-' || *p == '+';
    const char *const digits = p;
    uint64_t mantissa = 0; /* wraps after 19 digits, and is not used then */
    int64_t count, exponent = 0;
    for (; digit_of(*p) <= 9; p++) mantissa = 10 * mantissa + digit_of(*p);
    count = p - digits;
    if (*p == '.') {
        const char *const fraction = ++p;
        for (; digit_of(*p) <= 9; p++) mantissa = 10 * mantissa + digit_of(*p);
        exponent = fraction - p;
        count += p - fraction;
    }
    if (count == 0) return without_digits(digits);
    if (count == 1 && digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X')) return DITHER_NUMBER_HEX;
    const char *const end = p;
    if (*p == 'e' || *p == 'E') {
        int64_t written;
        p = parse_exponent(p + 1, &written);
        if (!p) return DITHER_NUMBER_EXPONENT;
        exponent += written;
    }
    double magnitude;
    if (count > 19 ||
        (!convert_fast(mantissa, exponent, &magnitude) && !convert_wide(mantissa, exponent, &magnitude)))
        magnitude = convert_slowly(digits, end, exponent);
    if (magnitude > DBL_MAX) return DITHER_NUMBER_OVERFLOW;
    *out = negative ? -magnitude : magnitude;
    *cursor = p;
    return DITHER_NUMBER_OK;
}
