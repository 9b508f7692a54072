/* Least squares phi(z) = (z - y)^2 / 2, y any real number. */
#define least_squares_SUMMARY "(z - y)^2 / 2, labels are real numbers"
#define least_squares_CLASSES 0 /* labels are taken as they are */
#define least_squares_SMOOTHNESS 1.0
#define least_squares_STRONG 1.0

HD double least_squares_loss(double z, double y) { return 0.5 * (z - y) * (z - y); }
HD double least_squares_slope(double z, double y) { return z - y; }
HD double least_squares_curvature(double z, double y) { return (void)z, (void)y, 1.0; }
HD double least_squares_bregman(double z0, double delta, double y)
{
    return (void)z0, (void)y, 0.5 * delta * delta;
}
