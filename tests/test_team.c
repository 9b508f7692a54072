/* Training over threads as ranks: the same bits for 1 to 4 of them, and the bytes of the formulas. mpi_ranks.c does the
 * same under mpirun. */
#include "theory.h"

#include "crew.h"
#include "plan.h"
#include "training.h"

static void runs_body(dither_comm *comm, void *user) { (void)user, check_runs(comm), dither_comm_free(comm, DITHER_OK); }
static void golden_body(dither_comm *comm, void *user) { (void)user, check_golden(comm), dither_comm_free(comm, DITHER_OK); }
static void traffic_body(dither_comm *comm, void *user) { (void)user, check_traffic(comm), dither_comm_free(comm, DITHER_OK); }

static void each_count(rank_body *body)
{
    for (int ranks = 1; ranks <= 4; ranks++) with_ranks("threads", ranks, body, NULL);
}

static void test_runs(void **state) { (void)state, each_count(runs_body); }
static void test_golden(void **state) { (void)state, each_count(golden_body); }
static void test_traffic(void **state) { (void)state, each_count(traffic_body); }

/* Contiguous ranges that cover the workers, none empty, none longer than another by more than one. */
static void test_hosts(void **state)
{
    (void)state;
    for (int n = 1; n <= 40; n++)
        for (int ranks = 1; ranks <= n; ranks++) {
            const dither_plan p = {.workers = n};
            assert_int_equal(dither_plan_rank_worker(&p, ranks, 0), 0);
            assert_int_equal(dither_plan_rank_worker(&p, ranks, ranks), n);
            for (int r = 0; r < ranks; r++) {
                const int hosted = dither_plan_rank_worker(&p, ranks, r + 1) - dither_plan_rank_worker(&p, ranks, r);
                assert_true(hosted == n / ranks || hosted == (n + ranks - 1) / ranks);
            }
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_hosts), cmocka_unit_test(test_runs), cmocka_unit_test(test_golden),
                                       cmocka_unit_test(test_traffic)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
