/* All bodies, for one REAL. */
#include "average.inl"
#include "ball.inl"
#include "encode.inl"
#include "gradient.inl"
#include "reduce.inl"
#include "decode.inl"
#include "step.inl"
#include "local.inl"
