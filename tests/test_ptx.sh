#!/bin/sh
# The GPU's kernels round as the CPU does: no fused multiply-add, no approximate function, no flush to zero and no
# floating-point atomics in their PTX. And the check sees: without -fmad=false it must find fused multiply-adds.
# Usage: test_ptx.sh NVCC SOURCE_FOLDER GENERATED_FOLDER FLAG...      exit 77: nothing to check yet
# shellcheck disable=SC2086 # flags are lists of words
set -eu
nvcc=$1 source=$2 generated=$3
shift 3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# ptx_of FILE.cu OUT FLAG...
ptx_of() {
    file=$1 out=$2
    shift 2
    "$nvcc" -ptx -arch=compute_80 "$@" -I"$source/kernels" -I"$source/include" -I"$generated" -DDITHER_HAVE_CUDA=1 \
        -o "$out" "$file"
}

real='\.f(16|32|64)'
inexact="^[[:space:]]*(@!?%p[0-9]+[[:space:]]+)?(fma\.|mad\.[a-z.]*$real|div\.(approx|full)|(sqrt|rcp|rsqrt|ex2|lg2|sin|cos|tanh)\.approx|rsqrt\.|[a-z]+\.[a-z.]*ftz|(atom|red)\.[a-z0-9_.:]*$real)"

flags_without_fmad=
for flag in "$@"; do
    [ "$flag" = -fmad=false ] || flags_without_fmad="$flags_without_fmad $flag"
done

# The pattern finds what it is for, in a kernel made to have it all.
cat >"$work/inexact.cu" <<'CUDA'
__global__ void all(float *x, double *y)
{
    x[0] = x[0] * x[1] + x[2];
    y[0] = y[0] * y[1] + y[2];
    x[3] = __fdividef(x[4], x[5]);
    x[6] = __frsqrt_rn(x[7]) + rsqrtf(x[8]);
    x[9] = __expf(x[10]) + __logf(x[11]) + __sinf(x[12]) + __cosf(x[13]);
    x[14] = fmaf(x[15], x[16], x[17]);
    atomicAdd(x + 18, x[19]);
}
CUDA
ptx_of "$work/inexact.cu" "$work/inexact.ptx" $flags_without_fmad
for word in fma.rn.f32 fma.rn.f64 div.approx rsqrt.approx ex2.approx lg2.approx sin.approx cos.approx 'add.f32'; do
    grep -E "$inexact" "$work/inexact.ptx" | grep -q -F "$word" ||
        { echo "the check does not see $word in a kernel that has it:"; cat "$work/inexact.ptx"; exit 1; }
done

# Kernels that race are not meant to be exact: race_kernel adds to x by atomics, in whatever order.
ptx_of "$source/kernels/launch_cuda.cu" "$work/all.ptx" "$@"
awk '/\.entry/ { racing = /race_kernel/ } !racing' "$work/all.ptx" >"$work/exact.ptx"
entries=$(grep -c '\.entry' "$work/exact.ptx") || { echo "kernels/launch_cuda.cu has no kernel"; exit 77; }
if grep -nE "$inexact" "$work/exact.ptx" >"$work/found"; then
    echo "kernels/launch_cuda.cu, compiled with $*: $(wc -l <"$work/found") inexact instructions, the first of them:"
    head -20 "$work/found"
    exit 1
fi
ptx_of "$source/kernels/launch_cuda.cu" "$work/fused.ptx" $flags_without_fmad
fused=$(grep -cE "$inexact" "$work/fused.ptx") ||
    { echo "without -fmad=false nothing is fused: the check proves nothing"; exit 1; }
echo "$entries kernels, no inexact instruction; $fused of them without -fmad=false"
