/* to += weight (from - to): one term of a running weighted mean. With weight 1 it is a copy, exactly. */
BODY void FN(blend)(REAL *DK_RESTRICT to, const REAL *DK_RESTRICT from, double weight, int64_t begin, int64_t end)
{
    const REAL share = (REAL)weight;
    if (weight == 1) {
        EACH(i, end - begin)
            to[begin + i] = from[begin + i];
        EACH_END
    } else {
        EACH(i, end - begin)
            to[begin + i] += share * (from[begin + i] - to[begin + i]);
        EACH_END
    }
}
