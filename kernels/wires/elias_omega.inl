/* Elias omega codes, sparse or dense, whichever is shorter for the segment (elias.h). One lane a segment. */
#define elias_omega_SUMMARY "Elias omega codes of gaps and levels, or of all levels: short when most are zero"
#define elias_omega_SOURCE "Elias, 1975; Alistarh et al., QSGD, 2017, arXiv:1610.02132"
DK_VARIABLE_LENGTH(elias_omega)
DK_NO_MODEL(elias_omega)

HD int elias_omega_fits(int64_t symbols) { return symbols >= 3 && symbols <= 65535 && symbols % 2 == 1; }
HD int64_t elias_omega_bytes(int64_t symbols, int bits, int64_t n) { return (void)bits, dk_elias_bytes(1, symbols, n); }

BODY void elias_omega_write(const dk_coder *c, const dk_symbol *in, int n, uint8_t *out, dk_coder_local *l)
{
    EACH(one, 1)
        l->result = one + dk_elias_write(1, in, n, c->zero, out);
    EACH_END
}

BODY void elias_omega_read(const dk_coder *c, const uint8_t *in, int32_t bytes, int n, dk_symbol *out, dk_coder_local *l)
{
    EACH(one, 1)
        l->result = one + dk_elias_read(1, in, bytes, n, c->zero, out);
    EACH_END
}
