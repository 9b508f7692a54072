/* Heavy ball: v = beta1 v + g. In the end a direction moves x by 1 + beta1 + beta1^2 + ... times its part. */
#define momentum_SUMMARY "v = B v + g"
#define momentum_SOURCE "Polyak, 1964"
#define momentum_OPTIONS "momentum"
#define momentum_VECTORS 1
#define momentum_GAMMA 0
#define momentum_SHARE(beta1) (1 - (beta1))
#define momentum_MOVE v = beta1 * v + g, g = v
