#include "steps.h"

#include <math.h>
#include <string.h>
#include "estimate.h"
#include "exact_math.h"
#include "solve/objective.h"
#include "steppers.h"

/* v^-a for v >= 1, with the same bits on every machine */
static double decay(double v, double a)
{
    int exponent;
    const double half = frexp(v, &exponent); /* v = 2 half 2^(exponent-1), 1 <= 2 half < 2 */
    return dk_exp(-a * ((exponent - 1) * 0.69314718055994530942 + dk_log1p(2 * half - 1)));
}

double dither_plan_gamma(const dither_plan *p, int64_t k)
{
    switch (p->schedule) {
    case DITHER_DIANA_SCHEDULE: return 2 / (p->smoothness.mu * (double)k + p->schedule_theta);
    case DITHER_STICH_SCHEDULE: return 4 / (p->smoothness.mu * (double)k + p->schedule_theta);
    case DITHER_SQRT_SCHEDULE: return p->gamma / __builtin_sqrt((double)k + 1);
    case DITHER_POWER_SCHEDULE: return p->gamma * decay((double)k + 1, p->schedule_power);
    default: return p->gamma;
    }
}

/* L of the worst worker: c lambda_max(A_i^T A_i / m_i) n m_i / N + l2 */
static dither_status worker_smoothness(dither_plan *p, dither_error *error)
{
    const double curvature = dither_loss_smoothness(p->problem.loss);
    dither_status status = DITHER_OK;
    int first, last;
    dither_plan_workers_here(p, &first, &last);
    dither_relay_take(p->problem.relay, &p->L_worker, sizeof p->L_worker);
    for (int i = first; i < last; i++) {
        const int64_t begin = dither_plan_worker_row(p, i), end = dither_plan_worker_row(p, i + 1);
        double norm;
        TRY(dither_gram_norm(dither_plan_data(p), begin, end, &norm, error));
        const double weight = (double)p->workers * (double)(end - begin) / (double)p->rows;
        const double L = curvature * norm * weight + p->problem.l2 + 2 * p->problem.nonconvex;
        if (L > p->L_worker) p->L_worker = L;
    }
    dither_relay_pass(p->problem.relay, &p->L_worker, sizeof p->L_worker);
    TRY(dither_relay_check(p->problem.relay, error));
out:
    return status;
}

static dither_facts facts_of(const dither_plan *p)
{
    return (dither_facts){
        .full = p->estimator->full, .n = p->workers, .m = (double)p->rows / p->workers, .b = p->batch,
        .omega = p->omega, .L_max = p->smoothness.row_max, .L_worker = p->L_worker, .L = p->smoothness.pooled,
        .mu = p->smoothness.mu, .convex = dither_problem_is_convex(&p->problem), .support_l2 = p->support_l2,
        .local_steps = p->local_steps, .delay = p->delay,
        .noise = p->noise, .radius = p->problem.prox_a, .horizon = (double)p->stop_iterations};
}

static dither_status choose_alpha(dither_plan *p, dither_error *error)
{
    int theory;
    const dither_status status = dither_parse_alpha(p->options->alpha, &theory, &p->alpha, error);
    if (theory) p->alpha = 1 / (1 + p->omega);
    if (!p->memory) p->alpha = 0;
    return status;
}

/* gamma by its rule, before what goes with steppers and a way back */
static double gamma_by(const dither_plan *p, dither_gamma_rule rule, double value, const dither_facts *facts)
{
    const double drawn = p->estimator->full ? (double)p->rows : (double)p->workers * p->batch;
    switch (rule) {
    case DITHER_GAMMA_NUMBER: return strcmp(p->options->step_form, "sum") ? value : value * drawn;
    case DITHER_GAMMA_OVER_L_MAX: return value / facts->L_max;
    case DITHER_GAMMA_THEORY: return p->method->theory(facts);
    default: return (p->method->practical ? p->method->practical : dither_gamma_practical)(facts);
    }
}

static dither_status choose_gamma(dither_plan *p, const dither_facts *facts, dither_error *error)
{
    const dither_options *o = p->options;
    const dither_stepper_info *stepper = &dither_steppers[p->stepper];
    dither_status status = DITHER_OK;
    dither_gamma_rule rule;
    double value;
    TRY(dither_parse_gamma(o->gamma, &rule, &value, error));
    p->gamma = gamma_by(p, rule, value, facts);
    const double theorem = rule == DITHER_GAMMA_THEORY && p->method->epoch ? p->method->epoch(facts) : INFINITY;
    p->epoch_length = (int64_t)ceil(theorem < 1e12 ? theorem : 2 * facts->m / facts->b);
    if (o->epoch_length_set) p->epoch_length = o->epoch_length;
    if (rule == DITHER_GAMMA_THEORY && stepper->gamma > 0)
        FAIL(DITHER_USAGE, "--stepper %s: no theorem gives a step; give --gamma X, or none for its own, %g", stepper->name, stepper->gamma);
    if (rule == DITHER_GAMMA_PRACTICAL && stepper->gamma > 0) p->gamma = stepper->gamma;
    if (rule != DITHER_GAMMA_NUMBER) p->gamma *= stepper->share(o->momentum);
    /* the second moment of the direction, quantized again, is 1 + omega_back times that of the direction at most */
    if (rule == DITHER_GAMMA_THEORY || (rule == DITHER_GAMMA_PRACTICAL && !(stepper->gamma > 0)))
        p->gamma /= 1 + p->back_omega;
out:
    return status;
}

/* The constant that --scale-gamma scales: --gamma where it says one, else 1/L. */
static double scaled_constant(const dither_plan *p, dither_gamma_rule rule, double value)
{
    const double share = dither_steppers[p->stepper].share(p->options->momentum);
    if (rule == DITHER_GAMMA_NUMBER) return value;
    return share * (rule == DITHER_GAMMA_OVER_L_MAX ? value / p->smoothness.row_max : 1 / p->smoothness.pooled);
}

/* --scale-gamma: with variance <= sigma^2 + M ||grad f||^2 of a row's gradient, T steps along the mean of B of them leave
 * (1/T) sum ||grad f||^2 <= 2 F / (gamma T) + L gamma sigma^2 / B for gamma <= (1/L) B / (M + B), F = f(x_0) - f*: in
 * proportion to B while B is below M, and no farther beyond, unless sigma^2 and T ask for less. The step on their sum is
 * the B-th part (Lecture 6 of Stich, 2024, "Learning rate scaling"). */
static dither_status scale_gamma(dither_plan *p, dither_error *error)
{
    dither_status status = DITHER_OK;
    const dither_options *o = p->options;
    const int sum = !strcmp(o->scale_gamma, "sum");
    const double B = (double)p->workers * p->batch, T = (double)o->iterations, L = p->smoothness.pooled;
    dither_estimates found;
    dither_gamma_rule rule;
    double value;
    if (!strcmp(o->scale_gamma, "none")) return DITHER_OK;
    if (!sum && !strcmp(o->step_form, "sum"))
        FAIL(DITHER_USAGE, "--scale-gamma mean scales the step on the mean: not with --step-form sum, whose is --scale-gamma sum");
    if (p->estimator->full || p->estimator->table || dither_steppers[p->stepper].gamma > 0)
        FAIL(DITHER_USAGE, "--scale-gamma is for gradients of drawn rows as they are: --estimator sgd, and no --stepper adam");
    if (p->method->iterate)
        FAIL(DITHER_USAGE, "--scale-gamma is for steps on the mean of all workers' batches, not for --method %s", p->method->name);
    TRY(dither_parse_gamma(o->gamma, &rule, &value, error));
    if (rule == DITHER_GAMMA_THEORY)
        FAIL(DITHER_USAGE, "--scale-gamma is a rule of its own: not with --gamma theory");
    TRY(dither_estimate_plan(p, &found, error));
    const double c = scaled_constant(p, rule, value), F = found.at[0].f - found.at[DITHER_NOISE_POINTS - 1].f;
    p->gamma = sum ? c / (found.M + B) * B : c * B / (found.M + B);
    if (rule == DITHER_GAMMA_NUMBER || rule == DITHER_GAMMA_OVER_L_MAX || !o->iterations_set) goto out;
    const double share = dither_steppers[p->stepper].share(o->momentum);
    const double noisy = share * __builtin_sqrt(2 * F * B / (L * found.sigma2 * T)); /* inf or NaN: no noise, or no steps */
    if (noisy < p->gamma) p->gamma = noisy;
out:
    return status;
}

/* gamma_k = 4 / (mu (a + k)), a > max(16 kappa, H): Stich, 2019, arXiv:1805.09767, Thm 2.2 */
static dither_status choose_stich(dither_plan *p, dither_error *error)
{
    const double mu = p->smoothness.mu, L = p->smoothness.row_max;
    if (!(mu > 0))
        return dither_fail(error, DITHER_USAGE, "--gamma-schedule stich needs a strongly convex problem: set --l2");
    p->schedule = DITHER_STICH_SCHEDULE;
    p->schedule_theta = mu + (16 * L > mu * p->local_steps ? 16 * L : mu * p->local_steps);
    p->gamma = 4 / p->schedule_theta;
    return DITHER_OK;
}

/* gamma_k = 2 / (mu k + theta), theta = 2 max{mu / alpha, (mu + L)(1 + c alpha) / 2}, c = 4 omega / (alpha n)
 * (Horvath et al., 2019, decreasing steps of DIANA). */
static dither_status choose_schedule(dither_plan *p, dither_error *error)
{
    dither_status status = DITHER_OK;
    TRY(dither_parse_schedule(p->options->gamma_schedule, &p->schedule, &p->schedule_power, error));
    if (p->schedule == DITHER_STICH_SCHEDULE) return choose_stich(p, error);
    if (p->schedule != DITHER_DIANA_SCHEDULE) return DITHER_OK;
    const double mu = p->smoothness.mu, L = p->estimator->full ? p->L_worker : p->smoothness.row_max;
    const double alpha = p->alpha > 0 ? p->alpha : 1, smooth = (mu + L) * (1 + 4 * p->omega / p->workers) * (1 + p->back_omega) / 2;
    if (!(mu > 0)) FAIL(DITHER_USAGE, "--gamma-schedule diana needs a strongly convex problem: set --l2");
    p->schedule_theta = 2 * (mu / alpha > smooth ? mu / alpha : smooth);
    p->gamma = 2 / p->schedule_theta;
out:
    return status;
}

dither_status dither_steps_choose(dither_plan *p, dither_error *error)
{
    dither_status status = DITHER_OK;
    TRY(dither_smoothness_find(&p->problem, &p->smoothness, error));
    TRY(worker_smoothness(p, error));
    const dither_facts facts = facts_of(p);
    if (!(facts.L > 0)) FAIL(DITHER_BAD_DATA, "all features are zero and l2 = 0: every x is optimal");
    TRY(choose_alpha(p, error));
    TRY(choose_gamma(p, &facts, error));
    TRY(scale_gamma(p, error));
    TRY(choose_schedule(p, error));
out:
    return status;
}
