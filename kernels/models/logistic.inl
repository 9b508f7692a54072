/* Logistic loss phi(z) = log(1 + e^{-yz}), y in {-1, +1}. */
#define logistic_SUMMARY "log(1 + exp(-y z)), labels -1 and +1"
#define logistic_CLASSES 2        /* labels are mapped to -1 and +1 */
#define logistic_SMOOTHNESS 0.25  /* phi'' <= 1/4 */
#define logistic_STRONG 0.0       /* phi'' >= 0 */

/* sigmoid(-t) = 1 / (1 + e^t), both tails without overflow */
HD double logistic_tail(double t)
{
    const double e = dk_exp(-dk_abs(t)), q = 1.0 / (1.0 + e);
    return t < 0 ? q : e * q;
}

HD double logistic_loss(double z, double y)
{
    const double t = y * z;
    return (t < 0 ? -t : 0.0) + dk_log1p(dk_exp(-dk_abs(t)));
}

HD double logistic_slope(double z, double y) { return -y * logistic_tail(y * z); }

HD double logistic_curvature(double z, double y)
{
    const double e = dk_exp(-dk_abs(y * z)), q = 1.0 / (1.0 + e);
    return e * q * q;
}

/* phi(z0 + delta) - phi(z0) - phi'(z0) delta without cancellation. softplus(-t) and softplus(t) differ by a linear
 * function, so the divergence is the same for both and t0 >= 0 can be assumed: then every term is small where the
 * result is. Small steps by the series of the derivatives of the sigmoid, relative error below 1e-10. */
HD double logistic_bregman(double z0, double delta, double y)
{
    const double flip = y * z0 < 0 ? -y : y;
    const double t0 = flip * z0, h = flip * delta;
    const double e = dk_exp(-t0), q = 1.0 / (1.0 + e), p = e * q, pq = p * q;
    const double r = 1.0 - 2.0 * p;
    const double series =
        pq * h * h *
        (0.5 + h * (-r / 6.0 + h * ((1.0 - 6.0 * pq) / 24.0 +
                                    h * (-r * (1.0 - 12.0 * pq) / 120.0 +
                                         h * (1.0 - 30.0 * pq + 120.0 * pq * pq) / 720.0))));
    const double t = t0 + h;
    const double exact = (t < 0 ? -t : 0.0) + dk_log1p(dk_exp(-dk_abs(t))) - dk_log1p(e) + p * h;
    return dk_abs(h) < 0.01 ? series : exact;
}
