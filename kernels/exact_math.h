/* exp and log1p written out, because libm and CUDA's libdevice round them differently. Only + - * / and integer
 * operations of IEEE 754 double, so every compiler and device gives the same bits. */
#ifndef DITHER_EXACT_MATH_H
#define DITHER_EXACT_MATH_H

#include "hd.h"

typedef union {
    double f;
    uint64_t u;
} dk_bits64;
typedef union {
    float f;
    uint32_t u;
} dk_bits32;

HD double dk_abs(double x) { return x < 0 ? -x : x; }
HD double dk_max(double a, double b) { return a > b ? a : b; }

/* x is finite: NaN and infinities fail both comparisons. */
HD int dk_finite(double x) { return x - x == 0; }

/* e^x, relative error below 2 ulp. NaN stays NaN; above 709.78 infinity, below -708.39 zero (no subnormals).
 * Cody-Waite reduction to |r| <= ln(2)/2, Taylor polynomial of degree 13 (remainder 4e-18). */
HD double dk_exp(double x)
{
    const double clamped = x > 710.0 ? 710.0 : (x < -710.0 ? -710.0 : x);
    /* adding 1.5 * 2^52 rounds to an integer, which then stands in the low bits */
    dk_bits64 shifted;
    shifted.f = clamped * 1.44269504088896338700 + 6755399441055744.0;
    const double k = shifted.f - 6755399441055744.0;
    const double r = (clamped - k * 0x1.62e42fee00000p-1) - k * 0x1.a39ef35793c76p-33;
    double p = 1.0 / 6227020800.0;
    p = p * r + 1.0 / 479001600.0;
    p = p * r + 1.0 / 39916800.0;
    p = p * r + 1.0 / 3628800.0;
    p = p * r + 1.0 / 362880.0;
    p = p * r + 1.0 / 40320.0;
    p = p * r + 1.0 / 5040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    p = p * (r * r) + r + 1.0;
    /* 2^k in two steps, so that k = 1024 (p < 1) does not overflow on the way */
    const uint64_t ki = (shifted.u << 12) >> 12;
    const int64_t n = (int64_t)(ki & 0xFFFFFFFFu) - ((ki & 0x80000000u) ? (int64_t)1 << 32 : 0);
    const int64_t half = n >= 0 ? n / 2 : -((-n) / 2);
    dk_bits64 a, b;
    a.u = (uint64_t)(1023 + half) << 52;
    b.u = (uint64_t)(1023 + n - half) << 52;
    const double y = p * a.f * b.f;
    return x != x ? x : (x < -708.39 ? 0.0 : y);
}

/* log(1 + y) for -0.3 <= y <= 1, relative error below 3 ulp: 2 artanh(y / (2 + y)), 18 terms (remainder 3e-18). */
HD double dk_log1p(double y)
{
    const double s = y / (2.0 + y), z = s * s;
    double p = 1.0 / 35.0;
    p = p * z + 1.0 / 33.0;
    p = p * z + 1.0 / 31.0;
    p = p * z + 1.0 / 29.0;
    p = p * z + 1.0 / 27.0;
    p = p * z + 1.0 / 25.0;
    p = p * z + 1.0 / 23.0;
    p = p * z + 1.0 / 21.0;
    p = p * z + 1.0 / 19.0;
    p = p * z + 1.0 / 17.0;
    p = p * z + 1.0 / 15.0;
    p = p * z + 1.0 / 13.0;
    p = p * z + 1.0 / 11.0;
    p = p * z + 1.0 / 9.0;
    p = p * z + 1.0 / 7.0;
    p = p * z + 1.0 / 5.0;
    p = p * z + 1.0 / 3.0;
    return 2.0 * s + 2.0 * s * (z * p);
}

/* log v for a finite normal v > 0: v = 2^k m with m in [sqrt(1/2), sqrt 2), absolute error below 1 ulp of the larger of
 * |log v| and 1/4. */
HD double dk_log(double v)
{
    dk_bits64 bits;
    bits.f = v;
    int64_t k = (int64_t)(bits.u >> 52) - 1023;
    bits.u = (bits.u & 0x000FFFFFFFFFFFFFu) | (uint64_t)1023 << 52;
    if (bits.f > 1.41421356237309504880) bits.f *= 0.5, k++;
    return (double)k * 0x1.62e42fee00000p-1 + (dk_log1p(bits.f - 1.0) + (double)k * 0x1.a39ef35793c76p-33);
}

#endif
