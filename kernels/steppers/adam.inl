/* Adam, Algorithm 1: m = beta1 m + (1 - beta1) g, u = beta2 u + (1 - beta2) g^2;  m' / (sqrt(u') + epsilon) with
 * m' = m / (1 - beta1^t), u' = u / (1 - beta2^t) in step t = 1, 2, ... */
#define adam_SUMMARY "bias-corrected means of g and of its squares"
#define adam_SOURCE "Kingma and Ba, 2015, arXiv:1412.6980"
#define adam_OPTIONS "momentum beta2 epsilon"
#define adam_VECTORS 2
#define adam_GAMMA 1e-3
#define adam_SHARE(beta1) 1
#define adam_MOVE \
    v = beta1 * v + rest1 * g, u = beta2 * u + rest2 * (g * g), \
    g = v * first / ((REAL)DK_SQRT((double)(u * second)) + epsilon)
