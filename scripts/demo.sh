#!/bin/sh
# Trains VR-DIANA and what it is compared with on data/mushrooms, 12 workers, to a gap of 1e-12, and ends with a table
# and a picture. Installs what is missing, builds into build/release, writes into build/demo. Takes one or two
# minutes, most of them to compile.
set -eu
# shellcheck source=scripts/lib.sh
. "$(dirname -- "$0")/lib.sh"

need_build_tools
have gnuplot || need gnuplot-nox
install_missing

step "building"
cuda=OFF # its kernels take longest to compile, and nothing here needs a GPU
if have nvidia-smi && nvidia-smi -L >/dev/null 2>&1; then cuda=ON; fi
configure release -DCMAKE_BUILD_TYPE=Release -DDITHER_TESTS=OFF -DDITHER_CUDA=$cuda
build release dither_command
dither=$root/build/release/dither
out=$root/build/demo
mkdir -p "$out"

# value NAME KEY: of the summary of a run
value() { sed -n "s/^  \"$2\": \"\{0,1\}\([^\",]*\)\"\{0,1\},\{0,1\}\$/\1/p" "$out/$1.json"; }

# train NAME "title" OPTION...: on a terminal the program draws its progress itself
train() {
    name=$1 title=$2
    shift 2
    say "$title"
    say "  dither train data/mushrooms --l2 6e-4 --workers 12 --device cpu $*"
    (cd "$root" && "$dither" train data/mushrooms --l2 6e-4 --workers 12 --device cpu "$@" --trace "$out/$name.csv" \
        --summary "$out/$name.json" >"$out/$name.txt")
    awk -v gap="$(value "$name" gap)" -v k="$(value "$name" iterations)" -v t="$(value "$name" seconds)" \
        'BEGIN { printf "  gap %.1e after %d iterations, %.2f s\n", gap, k, t }'
}

step "training: logistic regression, 8124 rows, 112 features, 12 workers"
train vr_diana_lsvrg "VR-DIANA with L-SVRG: quantized differences, 1.6 bits a coordinate" \
    --method vr-diana --estimator lsvrg --target-gap 1e-12
train vr_diana_saga "VR-DIANA with SAGA" --method vr-diana --estimator saga --target-gap 1e-12

# The others may send half as much again as VR-DIANA needed; uncompressed L-SVRG goes on to the end.
messages=$(awk -v k="$(value vr_diana_lsvrg iterations)" 'BEGIN { printf "%d", 1.5 * k }')
gradients=$(awk -v b="$(value vr_diana_lsvrg uplink_bits)" -v d="$(value vr_diana_lsvrg features)" \
    'BEGIN { printf "%d", 1.5 * b / (64 * d) + 1 }')
train lsvrg "L-SVRG, uncompressed: 64 bits a coordinate" \
    --method vr-diana --estimator lsvrg --codec identity --target-gap 1e-12 --trace-every 50
train gd "Gradient descent, uncompressed" --method gd --iterations "$gradients"
train diana "DIANA with plain SGD: quantized differences, no variance reduction" --method diana --iterations "$messages"
train qsgd "QSGD: quantized gradients" --method qsgd --iterations "$messages"

gnuplot -c "$root/scripts/demo.gp" "$out" >"$out/gnuplot.log" 2>&1 || { cat "$out/gnuplot.log"; die "gnuplot failed"; }

step "gap to the optimum, and what it took"
row() {
    awk -v title="$2" -v k="$(value "$1" iterations)" -v e="$(value "$1" epochs)" -v gap="$(value "$1" gap)" \
        -v bits="$(value "$1" uplink_bits)" -v t="$(value "$1" seconds)" \
        'BEGIN { printf "%-24s %10d %8.0f %10.1e %12.1f %9.2f\n", title, k, e, gap, bits / 1e6, t }'
}
{
    printf '%-24s %10s %8s %10s %12s %9s\n' method iterations epochs gap Mbit/worker seconds
    row vr_diana_lsvrg "VR-DIANA (L-SVRG)"
    row vr_diana_saga "VR-DIANA (SAGA)"
    row lsvrg "L-SVRG, uncompressed"
    row gd "GD, uncompressed"
    row diana "DIANA-SGD"
    row qsgd "QSGD"
} | tee "$out/table.txt"
awk -v ours="$(value vr_diana_lsvrg uplink_bits)" -v theirs="$(value lsvrg uplink_bits)" -v diana="$(value diana gap)" \
    -v qsgd="$(value qsgd gap)" 'BEGIN {
        printf "\nVR-DIANA reached 1e-12 with %.0f times fewer bits than uncompressed L-SVRG.\n", theirs / ours
        printf "With half as many bits again, DIANA-SGD and QSGD hover at %.0e and %.0e.\n", diana, qsgd }'
say "Picture: build/demo/demo.svg, build/demo/demo.png; traces and summaries beside it. $(($(date +%s) - started)) s in all."
