/* What every communicator has to do, whoever made it. After theory.h. */
#ifndef DITHER_TESTS_CONFORMANCE_H
#define DITHER_TESTS_CONFORMANCE_H

#include "bfloat16.h"
#include "comm/relay.h"

enum { CONFORMANCE_RANKS = 16 };

/* Parts of different lengths, none among them. */
static inline void check_gather(dither_comm *comm)
{
    unsigned char data[2000];
    size_t bytes[CONFORMANCE_RANKS], total = 0, own = 0;
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
}

/* Parts of different lengths for each pair, none among them, in any order; parts of what is sent may overlap. */
static inline void check_alltoall(dither_comm *comm)
{
    const int me = comm->rank, R = comm->ranks;
    for (int round = 0; round < 20; round++) {
        unsigned char out[2000], in[2000];
        size_t out_at[CONFORMANCE_RANKS], in_at[CONFORMANCE_RANKS], out_bytes[CONFORMANCE_RANKS], in_bytes[CONFORMANCE_RANKS];
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
}

static inline void check_broadcast(dither_comm *comm)
{
    for (int root = 0; root < comm->ranks; root++) {
        uint64_t data[100] = {0};
        for (int i = 0; comm->rank == root && i < 100; i++) data[i] = (uint64_t)(root * 1000 + i);
        assert_int_equal(comm->broadcast(comm, data, sizeof data, root, NULL), DITHER_OK);
        for (int i = 0; i < 100; i++) assert_int_equal(data[i], root * 1000 + i);
    }
}

/* Counts below and above R; sums up to the last value that a word holds. */
static inline void check_reduce(dither_comm *comm)
{
    static const size_t counts[] = {1, 2, 3, 7, 64};
    const int R = comm->ranks;
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
}

/* Summed in the order of the ranks: 2^53, then ones that are lost if they come one by one, and are not else. */
static inline void check_relay(dither_comm *comm)
{
    dither_relay relay = {.comm = comm};
    double sum[2] = {comm->rank, 0}, shared = comm->rank + 5;
    if (comm->rank == 0) sum[0] = 0x1p53;
    dither_relay_take(&relay, sum, sizeof sum);
    for (int i = 0; i < 3; i++) sum[0] += 1, sum[1] = 3 * sum[1] + comm->rank;
    dither_relay_pass(&relay, sum, sizeof sum);
    double expected = 0;
    for (int r = 0; r < comm->ranks; r++)
        for (int i = 0; i < 3; i++) expected = 3 * expected + r;
    assert_true(sum[0] == 0x1p53 && sum[1] == expected);
    dither_relay_share(&relay, &shared, sizeof shared);
    assert_true(shared == 5);
    assert_int_equal(dither_relay_check(&relay, NULL), DITHER_OK);
}

static inline void check_conformance(dither_comm *comm)
{
    assert_true(comm->ranks <= CONFORMANCE_RANKS);
    check_gather(comm), check_alltoall(comm), check_broadcast(comm), check_reduce(comm), check_relay(comm);
}

#endif
