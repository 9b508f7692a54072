/* Sigmoid loss phi(z) = (1 - s(yz))^2, s(t) = 1 / (1 + e^-t), y in {-1, +1}: not convex (Gorbunov et al., 2021,
 * arXiv:2102.07845, section 5). With q = 1 - s(t) and p = 1 - q: dq/dt = -q p, so
 *     phi = q^2,  phi' = -2 q^2 p,  phi'' = 2 q^2 p (2 - 3 q), largest at q = (30 - sqrt 132) / 48, least at the other root. */
#define sigmoid_SUMMARY "(1 - s(y z))^2, s the logistic function; not convex; labels -1 and +1"
#define sigmoid_CLASSES 2
#define sigmoid_SMOOTHNESS 0.15405857012135047
#define sigmoid_STRONG (-0.12020440345468409)

/* *q = 1 / (1 + e^t) and *p = 1 - q, both to full relative accuracy */
HD void sigmoid_parts(double t, double *q, double *p)
{
    const double e = dk_exp(-dk_abs(t)), large = 1.0 / (1.0 + e), small = e * large;
    *q = t < 0 ? large : small;
    *p = t < 0 ? small : large;
}

HD double sigmoid_loss(double z, double y)
{
    double q, p;
    sigmoid_parts(y * z, &q, &p);
    return q * q;
}

HD double sigmoid_slope(double z, double y)
{
    double q, p;
    sigmoid_parts(y * z, &q, &p);
    return -2.0 * y * q * q * p;
}

HD double sigmoid_curvature(double z, double y)
{
    double q, p;
    sigmoid_parts(y * z, &q, &p);
    return 2.0 * q * q * p * (2.0 - 3.0 * q);
}

/* phi(z0 + delta) - phi(z0) - phi'(z0) delta, of either sign. By the smaller of q and p, or small steps by the series. */
HD double sigmoid_bregman(double z0, double delta, double y)
{
    const double h = y * delta;
    double q, p, q1, p1;
    sigmoid_parts(y * z0, &q, &p);
    sigmoid_parts(y * z0 + h, &q1, &p1);
    const double series =
        q * q * p * h * h *
        (2.0 - 3.0 * q + h * ((-8.0 + q * (30.0 - 24.0 * q)) / 6.0 +
                              h * ((16.0 + q * (-114.0 + q * (216.0 - 120.0 * q))) / 24.0 +
                                   h * ((-32.0 + q * (390.0 + q * (-1320.0 + q * (1680.0 - 720.0 * q)))) / 120.0 +
                                        h * (64.0 + q * (-1266.0 + q * (6840.0 + q * (-15000.0 + q * (14400.0 - 5040.0 * q))))) / 720.0))));
    const double change = p < q ? (p1 - p) * (p1 + p - 2.0) : (q1 - q) * (q1 + q);
    return dk_abs(h) < 0.01 ? series : change + 2.0 * q * q * p * h;
}
