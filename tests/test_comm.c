/* What every communicator has to do, over each that needs no launcher: ranks as threads, in memory and over TCP. */
#include "theory.h"

#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bfloat16.h"
#include "comm/tcp.h"
#include "comm/threads.h"

enum { RANKS_MAX = 5 };

/* ---- R threads, each with its communicator ---- */

typedef void rank_body(dither_comm *comm, void *user);

typedef struct crew {
    const char *kind;
    int ranks;
    rank_body *body;
    void *user;
    dither_team *team;
    char rendezvous[64];
} crew;

typedef struct place {
    const crew *crew;
    int rank;
    pthread_t thread;
} rank_place;

static void *run_rank(void *argument)
{
    const rank_place *p = argument;
    const crew *c = p->crew;
    dither_comm *comm = NULL;
    dither_error error = {DITHER_OK, ""};
    const dither_tcp_place tcp = {.rank = p->rank, .ranks = c->ranks, .rendezvous = c->rendezvous, .timeout = 20};
    const dither_status status = c->team ? dither_team_join(c->team, p->rank, &comm, &error) : dither_comm_tcp(&tcp, &comm, &error);
    if (status != DITHER_OK) fail_msg("%s: %s", c->kind, error.message);
    assert_int_equal(comm->rank, p->rank);
    assert_int_equal(comm->ranks, c->ranks);
    assert_int_equal(comm->neighbours, c->ranks);
    assert_int_equal(comm->neighbour, p->rank);
    c->body(comm, c->user);
    return NULL;
}

static int free_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof at;
    const int s = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(s, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(getsockname(s, (struct sockaddr *)&at, &bytes), 0);
    close(s);
    return ntohs(at.sin_port);
}

/* body(comm, user) on every rank; it frees the communicator. */
static void with_ranks(const char *kind, int ranks, rank_body *body, void *user)
{
    crew c = {.kind = kind, .ranks = ranks, .body = body, .user = user};
    rank_place p[RANKS_MAX];
    if (!strcmp(kind, "threads")) assert_int_equal(dither_team_create(ranks, &c.team, NULL), DITHER_OK);
    else snprintf(c.rendezvous, sizeof c.rendezvous, "127.0.0.1:%d", free_port());
    for (int r = ranks - 1; r >= 0; r--) {
        p[r] = (rank_place){.crew = &c, .rank = r};
        if (r) assert_int_equal(pthread_create(&p[r].thread, NULL, run_rank, &p[r]), 0);
        else run_rank(&p[r]);
    }
    for (int r = 1; r < ranks; r++) pthread_join(p[r].thread, NULL);
    dither_team_free(c.team);
}

static const char *const kinds[] = {"threads", "tcp"};

static void everywhere(rank_body *body, void *user)
{
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        for (int ranks = 1; ranks <= RANKS_MAX; ranks++) with_ranks(kinds[k], ranks, body, user);
}

/* ---- conformance ---- */

/* Parts of different lengths, none among them. */
static void gather_body(dither_comm *comm, void *user)
{
    unsigned char data[1000];
    size_t bytes[RANKS_MAX], total = 0, own = 0;
    (void)user;
    for (int round = 0; round < 20; round++) {
        memset(data, 0xEE, sizeof data);
        total = own = 0;
        for (int r = 0; r < comm->ranks; r++) {
            bytes[r] = (size_t)(37 * (r + round) % 101) * (r != round % 3);
            if (r < comm->rank) own += bytes[r];
            total += bytes[r];
        }
        for (size_t i = 0; i < bytes[comm->rank]; i++) data[own + i] = (unsigned char)(comm->rank * 50 + i + round);
        assert_int_equal(comm->allgather(comm, data, bytes, NULL), DITHER_OK);
        size_t at = 0;
        for (int r = 0; r < comm->ranks; r++)
            for (size_t i = 0; i < bytes[r]; i++) assert_int_equal(data[at++], (unsigned char)(r * 50 + i + round));
        assert_int_equal(data[total], 0xEE);
    }
    dither_comm_free(comm, DITHER_OK);
}

static void test_allgather(void **state) { (void)state, everywhere(gather_body, NULL); }

/* Parts of different lengths for each pair, none among them, in any order; parts of what is sent may overlap. */
static void alltoall_body(dither_comm *comm, void *user)
{
    const int me = comm->rank, R = comm->ranks;
    (void)user;
    for (int round = 0; round < 20; round++) {
        unsigned char out[2000], in[2000];
        size_t out_at[RANKS_MAX], in_at[RANKS_MAX], out_bytes[RANKS_MAX], in_bytes[RANKS_MAX];
        memset(in, 0xEE, sizeof in);
        for (int r = 0; r < R; r++) {
            out_bytes[r] = (size_t)((13 * me + 29 * r + round) % 97) * ((me + r + round) % 3 > 0);
            in_bytes[r] = (size_t)((13 * r + 29 * me + round) % 97) * ((me + r + round) % 3 > 0);
            out_at[r] = round % 2 ? 7 : (size_t)(R - r) * 100, in_at[r] = (size_t)r * 100;
            for (size_t i = 0; i < out_bytes[r]; i++) out[out_at[r] + i] = (unsigned char)(50 * me + (int)i + (round % 2 ? 0 : r));
        }
        assert_int_equal(comm->alltoall(comm, out, out_at, out_bytes, in, in_at, in_bytes, NULL), DITHER_OK);
        for (int r = 0; r < R; r++)
            for (size_t i = 0; i < 100; i++)
                assert_int_equal(in[in_at[r] + i], r == me || i >= in_bytes[r] ? 0xEE : (unsigned char)(50 * r + (int)i + (round % 2 ? 0 : me)));
    }
    dither_comm_free(comm, DITHER_OK);
}

static void test_alltoall(void **state) { (void)state, everywhere(alltoall_body, NULL); }

static void broadcast_body(dither_comm *comm, void *user)
{
    (void)user;
    for (int root = 0; root < comm->ranks; root++) {
        uint64_t data[100] = {0};
        for (int i = 0; comm->rank == root && i < 100; i++) data[i] = (uint64_t)(root * 1000 + i);
        assert_int_equal(comm->broadcast(comm, data, sizeof data, root, NULL), DITHER_OK);
        for (int i = 0; i < 100; i++) assert_int_equal(data[i], root * 1000 + i);
    }
    dither_comm_free(comm, DITHER_OK);
}

static void test_broadcast(void **state) { (void)state, everywhere(broadcast_body, NULL); }

/* Counts below and above R; sums up to the last value that a word holds. */
static void reduce_body(dither_comm *comm, void *user)
{
    static const size_t counts[] = {1, 2, 3, 7, 64};
    const int R = comm->ranks;
    (void)user;
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        uint32_t most[64], sum[64];
        uint64_t wide[64];
        float real[64];
        uint16_t half[64];
        for (size_t i = 0; i < counts[c]; i++) {
            most[i] = 0x7F800000u + (uint32_t)((comm->rank + (int)i) % R); /* inf and NaN, as bits */
            sum[i] = (uint32_t)i + (comm->rank == 0 ? UINT32_MAX - (uint32_t)(R - 1) - (uint32_t)(R * (int)i) : 1);
            wide[i] = (1ull << 40) * (uint64_t)(comm->rank + 1);
            real[i] = (float)(comm->rank + 1) / 4;
            half[i] = dk_bfloat16_nearest((float)(comm->rank + 1));
        }
        assert_int_equal(comm->allreduce(comm, most, counts[c], DITHER_MAX_U32, NULL), DITHER_OK);
        assert_int_equal(comm->allreduce(comm, sum, counts[c], DITHER_SUM_U32, NULL), DITHER_OK);
        assert_int_equal(comm->allreduce(comm, wide, counts[c], DITHER_SUM_U64, NULL), DITHER_OK);
        assert_int_equal(comm->allreduce(comm, real, counts[c], DITHER_SUM_F32, NULL), DITHER_OK);
        assert_int_equal(comm->allreduce(comm, half, counts[c], DITHER_SUM_BF16, NULL), DITHER_OK);
        for (size_t i = 0; i < counts[c]; i++) {
            assert_int_equal(most[i], 0x7F800000u + (uint32_t)(R - 1));
            assert_int_equal(sum[i], UINT32_MAX);
            assert_true(wide[i] == (1ull << 40) * (uint64_t)(R * (R + 1) / 2));
            assert_true(real[i] == (float)(R * (R + 1) / 2) / 4);
            assert_true(dk_bfloat16_value(half[i]) == (float)(R * (R + 1) / 2));
        }
    }
    dither_comm_free(comm, DITHER_OK);
}

static void test_allreduce(void **state) { (void)state, everywhere(reduce_body, NULL); }

/* Words of all ranks; and the first failure's message, on all of them. */
static void agree_body(dither_comm *comm, void *user)
{
    dither_error error = {DITHER_OK, ""};
    (void)user;
    assert_int_equal(dither_comm_gather_word(comm, 100 + comm->rank, NULL), DITHER_OK);
    for (int r = 0; r < comm->ranks; r++) assert_int_equal(comm->words[r], 100 + r);
    assert_int_equal(dither_comm_agree(comm, DITHER_OK, &error), DITHER_OK);
    const int fails = comm->rank == comm->ranks - 1 || comm->rank == comm->ranks / 2;
    const dither_status mine = fails ? dither_fail(&error, DITHER_IO, "rank %d's file", comm->rank) : DITHER_OK;
    assert_int_equal(dither_comm_agree(comm, mine, &error), DITHER_IO);
    char expected[32];
    snprintf(expected, sizeof expected, "rank %d's file", comm->ranks / 2);
    assert_string_equal(error.message, expected);
    assert_int_equal(dither_comm_speaks(comm), comm->rank == 0);
    dither_comm_free(comm, DITHER_IO);
}

static void test_agree(void **state) { (void)state, everywhere(agree_body, NULL); }

/* A failure that only one rank knows of ends the others' waiting, whatever they wait for. */
static void failure_body(dither_comm *comm, void *user)
{
    const int culprit = *(int *)user % comm->ranks, how = *(int *)user / 10;
    dither_error error = {DITHER_OK, ""};
    uint32_t words[2 * RANKS_MAX] = {0};
    const size_t bytes[RANKS_MAX] = {8, 8, 8, 8, 8};
    assert_int_equal(dither_comm_gather_word(comm, 1, NULL), DITHER_OK);
    if (comm->rank == culprit) {
        comm->alone = 1;
        dither_comm_free(comm, DITHER_DEVICE);
        return;
    }
    dither_status status = DITHER_OK;
    for (int i = 0; i < 3 && status == DITHER_OK; i++) { /* what was sent before may still arrive */
        if (how == 0) status = comm->allgather(comm, words, bytes, &error);
        if (how == 1) status = comm->broadcast(comm, words, 8, culprit, &error);
        if (how == 2) status = comm->allreduce(comm, words, 2, DITHER_SUM_U32, &error);
    }
    char expected[32];
    snprintf(expected, sizeof expected, "rank %d failed", culprit);
    assert_int_equal(status, DITHER_DEVICE);
    if (comm->rank == 0 || culprit == 0 || !strcmp(comm->name, "threads")) assert_string_equal(error.message, expected);
    comm->alone = 1;
    if (!strcmp(comm->name, "tcp")) assert_false(dither_comm_speaks(comm));
    dither_comm_free(comm, DITHER_DEVICE);
}

static void test_failure(void **state)
{
    (void)state;
    for (int which = 0; which < 30; which++)
        for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
            if (which % 10 < 4) with_ranks(kinds[k], 4, failure_body, &which);
}

/* A rank that goes without a word: the connection's end is the message. */
static void death_body(dither_comm *comm, void *user)
{
    dither_error error = {DITHER_OK, ""};
    (void)user;
    if (comm->rank == 2) {
        comm->close(comm, DITHER_OK);
        free(comm->words), free(comm);
        return;
    }
    assert_int_equal(dither_comm_gather_word(comm, 1, &error), DITHER_DEVICE);
    if (comm->rank == 0) assert_non_null(strstr(error.message, "rank 2 has gone"));
    assert_int_equal(dither_comm_speaks(comm), comm->rank == 0);
    dither_comm_free(comm, DITHER_DEVICE);
}

static void test_death(void **state) { (void)state, with_ranks("tcp", 4, death_body, NULL); }

static void test_no_rendezvous(void **state)
{
    static const char *const wrong[] = {"", "host", ":", "host:", ":7000"};
    dither_comm *comm = NULL;
    dither_error error;
    char nobody[64];
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const dither_tcp_place place = {.rank = 1, .ranks = 2, .rendezvous = wrong[i]};
        assert_int_equal(dither_comm_tcp(&place, &comm, &error), DITHER_USAGE);
        assert_non_null(strstr(error.message, "host:port"));
    }
    snprintf(nobody, sizeof nobody, "127.0.0.1:%d", free_port());
    for (int rank = 0; rank < 2; rank++) {
        const dither_tcp_place place = {.rank = rank, .ranks = 2, .rendezvous = nobody, .timeout = 0.1};
        assert_int_equal(dither_comm_tcp(&place, &comm, &error), DITHER_DEVICE);
        assert_non_null(strstr(error.message, rank ? "finds no rank 0" : "1 of 2 ranks came"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_allgather), cmocka_unit_test(test_alltoall), cmocka_unit_test(test_broadcast), cmocka_unit_test(test_allreduce),
        cmocka_unit_test(test_agree), cmocka_unit_test(test_failure), cmocka_unit_test(test_death),
        cmocka_unit_test(test_no_rendezvous),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
