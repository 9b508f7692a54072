/* Decimal text to double: correctly rounded, independent of the locale. */
#ifndef DITHER_PARSE_NUMBER_H
#define DITHER_PARSE_NUMBER_H

typedef enum dither_number {
    DITHER_NUMBER_OK,
    DITHER_NUMBER_NONE,     /* no number here */
    DITHER_NUMBER_NAN,      /* spelled nan */
    DITHER_NUMBER_INFINITE, /* spelled inf */
    DITHER_NUMBER_HEX,      /* 0x... */
    DITHER_NUMBER_EXPONENT, /* an e without digits after it */
    DITHER_NUMBER_OVERFLOW  /* beyond the largest double */
} dither_number;

/* Parse [+-]digits[.digits][e[+-]digits] (digits before or after the point, or both) at *cursor and move *cursor
 * behind it; the text must end in a byte that can't belong to a number, such as a newline or NUL. The result is the
 * double nearest to the decimal value, ties to even, as strtod gives in the C locale; too small becomes 0 or
 * subnormal. On any other result than OK, *cursor stays. */
dither_number dither_number_parse(const char **cursor, double *out);

#endif
