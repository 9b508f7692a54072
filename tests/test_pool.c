/* The pool of threads: every part once, whatever the number of threads, parts and jobs. */
#include "theory.h"
#include <stdatomic.h>
#include "pool.h"

enum { MOST = 1000 };
typedef struct job {
    atomic_int taken[MOST];
} job;

static void take(const void *data, int64_t begin, int64_t end)
{
    job *j = (job *)(uintptr_t)data;
    for (int64_t i = begin; i < end; i++) atomic_fetch_add(&j->taken[i], 1);
}

static void test_every_part_once(void **state)
{
    static job j;
    (void)state;
    for (int threads = 1; threads <= 5; threads++) {
        dk_pool *pool = dk_pool_create(threads);
        assert_non_null(pool);
        for (int round = 0; round < 3000; round++) {
            const int64_t count = 1 + round % 97 * (round % 11 ? 1 : 10);
            memset(&j, 0, sizeof j);
            dk_pool_run(pool, 1 + round % 6, count, take, &j);
            for (int64_t i = 0; i < MOST; i++)
                if (j.taken[i] != (i < count)) fail_msg("%d threads, job %d: part %d taken %d times", threads, round, (int)i, j.taken[i]);
        }
        dk_pool_free(pool);
    }
    dk_pool_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_part_once)};
    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
