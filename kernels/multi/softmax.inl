/* Softmax loss, or multinomial logistic regression: phi(z; y) = log sum_c e^{z_c} - z_y, y the number of the row's class.
 * With p_c = e^{z_c} / sum e^{z}: dphi/dz_c = p_c - [c = y], and the Hessian diag(p) - p p^T is at most I/2 (Boehning,
 * "Multinomial logistic regression algorithm", 1992). Sums run over the classes in their order. */
#define softmax_SUMMARY "log sum_c exp(z_c) - z_y over as many classes as there are labels"
#define softmax_SMOOTHNESS 0.5
#define softmax_STRONG 0.0

/* log(1 + s), s >= 0 */
HD double softmax_log1(double s) { return s <= 1.0 ? dk_log1p(s) : dk_log(1.0 + s); }

HD int softmax_top(const double *z, int outputs)
{
    int top = 0;
    for (int c = 1; c < outputs; c++)
        if (z[c] > z[top]) top = c;
    return top;
}

HD double softmax_loss(const double *z, int outputs, double y)
{
    const int top = softmax_top(z, outputs);
    double rest = 0;
    for (int c = 0; c < outputs; c++)
        if (c != top) rest += dk_exp(z[c] - z[top]);
    return (z[top] - z[(int)y]) + softmax_log1(rest);
}

/* z becomes the slopes. That of the row's own class is minus the sum of the others, which loses nothing where it is
 * near 0. */
HD void softmax_slopes(double *z, int outputs, double y)
{
    const double most = z[softmax_top(z, outputs)];
    const int own = (int)y;
    double others = 0;
    for (int c = 0; c < outputs; c++) {
        z[c] = dk_exp(z[c] - most);
        if (c != own) others += z[c];
    }
    const double share = 1.0 / (z[own] + others);
    for (int c = 0; c < outputs; c++) z[c] *= share;
    z[own] = -others * share;
}

/* e^u - 1 - u >= 0 without cancellation */
HD double softmax_excess(double u)
{
    double p = 1.0 / 1307674368000.0;
    if (dk_abs(u) > 0.5) return dk_exp(u) - 1.0 - u;
    p = p * u + 1.0 / 87178291200.0;
    p = p * u + 1.0 / 6227020800.0;
    p = p * u + 1.0 / 479001600.0;
    p = p * u + 1.0 / 39916800.0;
    p = p * u + 1.0 / 3628800.0;
    p = p * u + 1.0 / 362880.0;
    p = p * u + 1.0 / 40320.0;
    p = p * u + 1.0 / 5040.0;
    p = p * u + 1.0 / 720.0;
    p = p * u + 1.0 / 120.0;
    p = p * u + 1.0 / 24.0;
    p = p * u + 1.0 / 6.0;
    return (p * u + 0.5) * u * u;
}

/* phi(z + delta) - phi(z) - <grad phi(z), delta> = log sum_c p_c e^{u_c}, u = delta - <p, delta>, the Kullback-Leibler
 * divergence of the two distributions. Since <p, u> = 0, that is log(1 + sum_c p_c (e^{u_c} - 1 - u_c)): a sum of
 * terms >= 0, so a divergence of 1e-30 is a number. u is measured from the likeliest class, whose p is near 1. */
HD double softmax_bregman(const double *z, const double *delta, int outputs, double y)
{
    const int top = softmax_top(z, outputs);
    double sum = 0, mean = 0, excess = 0;
    (void)y;
    for (int c = 0; c < outputs; c++) sum += dk_exp(z[c] - z[top]);
    for (int c = 0; c < outputs; c++) mean += dk_exp(z[c] - z[top]) / sum * (delta[c] - delta[top]);
    for (int c = 0; c < outputs; c++)
        excess += dk_exp(z[c] - z[top]) / sum * softmax_excess((delta[c] - delta[top]) - mean);
    if (excess - excess == 0) return softmax_log1(excess);
    /* e^u overflows: a step so long that nothing cancels */
    double most = z[0] + delta[0], after = 0;
    for (int c = 1; c < outputs; c++)
        if (z[c] + delta[c] > most) most = z[c] + delta[c];
    for (int c = 0; c < outputs; c++) after += dk_exp(z[c] + delta[c] - most);
    return (most - z[top]) + dk_log(after) - dk_log(sum) - (mean + delta[top]);
}

/* v becomes the Hessian times v: p_c (v_c - <p, v>). `slope` as softmax_slopes gives them. */
HD void softmax_curvature(const double *slope, double *v, int outputs, double y)
{
    double mean = 0;
    for (int c = 0; c < outputs; c++) mean += (slope[c] + (c == (int)y ? 1.0 : 0.0)) * v[c];
    for (int c = 0; c < outputs; c++) v[c] = (slope[c] + (c == (int)y ? 1.0 : 0.0)) * (v[c] - mean);
}
