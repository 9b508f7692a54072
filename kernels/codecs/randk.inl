/* rand-r sparsification: r coordinates chosen uniformly, times d/r. Sender and receivers compute the choice from
 * the shared seed, so no index is sent. See dk_pick in pick.h for how exactly uniform it is. */
#define randk_SUMMARY "rand-r: r random coordinates times d/r, 32 bits each, no indices sent"
#define randk_SOURCE "Wangni et al., 2018, arXiv:1710.09854; Horvath et al., 2019, arXiv:1904.05115, Example 2"
#define randk_OPTIONS "keep"
#define randk_FORM DK_FORM_GATHER
#define randk_UNBIASED(codec) 1

DK_NO_SYMBOLS(randk)

static inline double randk_omega(const dk_codec *c, int64_t d) { return (double)d / (double)c->keep - 1; }
