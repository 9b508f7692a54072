/* Smoothed hinge with q = 1, t = yz: 0 for t >= 1, (1 - t)^2 / 2 for 0 < t < 1, 1/2 - t for t <= 0
 * (Shalev-Shwartz and Zhang, "Stochastic dual coordinate ascent", 2013). */
#define smooth_hinge_SUMMARY "0, (1 - t)^2 / 2 or 1/2 - t with t = y z, labels -1 and +1"
#define smooth_hinge_CLASSES 2
#define smooth_hinge_SMOOTHNESS 1.0
#define smooth_hinge_STRONG 0.0

HD double smooth_hinge_clamp(double t) { return t < 0 ? 0.0 : (t < 1 ? t : (t >= 1 ? 1.0 : t)); }

HD double smooth_hinge_loss(double z, double y)
{
    const double t = y * z, c = smooth_hinge_clamp(t), r = 1.0 - c;
    return 0.5 * r * r + (t < 0 ? -t : 0.0);
}

HD double smooth_hinge_slope(double z, double y) { return y * (smooth_hinge_clamp(y * z) - 1.0); }

HD double smooth_hinge_curvature(double z, double y)
{
    const double t = y * z;
    return t > 0 && t < 1 ? 1.0 : 0.0;
}

/* The slope is the clamp of t, so the divergence is the integral of clamp(s) - clamp(t0): half a square over the
 * part of the step inside [0, 1], a rectangle beyond it. Both terms are >= 0. All is measured from t0, where the
 * corners 0 and 1 are at -t0 and 1 - t0: t0 + h would round away most of a small step that passes one. */
HD double smooth_hinge_bregman(double z0, double delta, double y)
{
    const double t0 = y * z0, h = y * delta, low = -t0, high = 1.0 - t0;
    const double from = low > 0 ? low : (high < 0 ? high : 0.0), to = h < low ? low : (h > high ? high : h);
    const double inside = to - from;
    return 0.5 * inside * inside + (h - to) * inside;
}
