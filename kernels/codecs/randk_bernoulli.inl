/* Bernoulli rand-r: every coordinate is kept on its own, with the chance p = limit / 2^32, limit = floor(2^32 r / d), and
 * then multiplied by 1/p. The chances are independent and exact, so E||Q(x) - x||^2 = (1/p - 1) ||x||^2 for every x; how
 * many are kept is binomial. Sender and receivers compute the mask from the shared seed (mask.h): only values are sent. */
#define randk_bernoulli_SUMMARY "rand-r, each coordinate kept with chance r/d on its own: r in the mean, 32 bits each, no indices sent"
#define randk_bernoulli_SOURCE "Khirirat, Feyzmahdavian and Johansson, 2018, arXiv:1806.06573; Konecny and Richtarik, 2018, arXiv:1611.07555"
#define randk_bernoulli_OPTIONS "keep"
#define randk_bernoulli_FORM DK_FORM_MASK
#define randk_bernoulli_UNBIASED(codec) 1

DK_NO_SYMBOLS(randk_bernoulli)

static inline double randk_bernoulli_omega(const dk_codec *c, int64_t d)
{
    return 4294967296.0 / (double)DK_MASK_LIMIT(c->keep, d) - 1;
}
