/* No compression: the coordinates themselves, in the precision of the state. */
#define identity_SUMMARY "no compression: 64 or 32 bits a coordinate, as --precision says"
#define identity_SOURCE ""
#define identity_OPTIONS ""
#define identity_FORM DK_FORM_RAW
#define identity_UNBIASED(codec) 1

DK_NO_SYMBOLS(identity)

static inline double identity_omega(const dk_codec *c, int64_t d) { return (void)c, (void)d, 0.0; }
