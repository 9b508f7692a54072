/* Sums of double: one whose error does not grow with the number of terms, and one that is fast. Both have a fixed
 * order, so every compiler and thread count gets the same bits. */
#ifndef DITHER_SUM_H
#define DITHER_SUM_H

#include "hd.h"

/* high + low is the sum, low being what rounding took from high (Knuth's two-sum; Neumaier, "Rundungsfehleranalyse
 * einiger Verfahren zur Summation endlicher Summen", 1974). Start from zeros. */
typedef struct dither_sum {
    double high, low;
} dither_sum;

static inline void dither_sum_add(dither_sum *sum, double term)
{
    const double total = sum->high + term, part = total - sum->high;
    sum->low += (sum->high - (total - part)) + (term - part);
    sum->high = total;
}

static inline double dither_sum_value(const dither_sum *sum) { return sum->high + sum->low; }

static inline double dither_dot(const double *a, const double *b, int64_t n)
{
    double total;
    OCTET_SUM(total, double, i, n, a[i] * b[i]);
    return total;
}

#endif
