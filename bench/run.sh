#!/bin/sh
# Measures what bench/README.md describes and writes a table in Markdown, with the machine's description, into FILE.
# Usage: bench/run.sh FILE
#   PEERS_DIR   folder with vrdiana_numpy.py and sklearn_peer.py; without it their rows are left out
#   EXTRA_DATA  folder with w8a.gz; without it a5a takes its place
#   PYTHON      a Python with NumPy, SciPy and scikit-learn (default: the first of python3, /usr/bin/python3)
#   BUILD       build folder (default: build/release of the checkout)
set -eu
[ $# = 1 ] || { sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 2; }
# shellcheck source=scripts/lib.sh
. "$(dirname -- "$0")/../scripts/lib.sh"
case $1 in /*) out=$1 ;; *) out=$PWD/$1 ;; esac
rounds=5
cd "$root"
if [ -z "${BUILD:-}" ]; then
    need_build_tools
    install_missing
    configure release -DCMAKE_BUILD_TYPE=Release -DDITHER_TESTS=OFF >/dev/null
    build release bench
    BUILD=$root/build/release
fi
dither=$BUILD/dither
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
load() { cut -d' ' -f1-3 /proc/loadavg 2>/dev/null || echo unknown; }
load_before=$(load)

median() { sort -g "$1" | awk '{ v[NR] = $1 } END { if (NR) printf "%.4g\n", NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.3g", a / b }'; }
row() { say "| $1 | $2 | $3 |" | tee -a "$work/table"; }
skip() { say "(left out: $*)"; }

# train OPTION...: seconds and iterations of a run on one thread unless told otherwise, evaluated at its ends only
train() {
    "$dither" train --device cpu --reference none --trace-every 1000000000 --quiet --summary "$work/run.json" "$@"
    seconds=$(sed -n 's/^  "seconds": \(.*\),$/\1/p' "$work/run.json")
    iterations=$(sed -n 's/^  "iterations": \(.*\),$/\1/p' "$work/run.json")
}

for PYTHON in ${PYTHON:-python3 /usr/bin/python3} none; do
    [ "$PYTHON" != none ] || break
    "$PYTHON" -c 'import numpy, scipy, sklearn' 2>/dev/null && break
done
peers=''
if [ -z "${PEERS_DIR:-}" ]; then
    skip "the rows beside NumPy and scikit-learn: PEERS_DIR is not set"
elif [ "$PYTHON" = none ]; then
    skip "the rows beside NumPy and scikit-learn: no Python with NumPy, SciPy and scikit-learn"
else
    peers=yes
fi
# peer SCRIPT ARGUMENT...: on one thread
peer() {
    script=$PEERS_DIR/$1.py
    shift
    env OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 "$PYTHON" "$script" "$@"
}

say "| what | measured | wanted |" >"$work/table"
say "|---|---|---|" >>"$work/table"

# 1. the codec's passes beside copies of memory: each run is a median of 7, here the median of 3 runs
for _ in 1 2 3; do
    "$dither" bench codec -b 256M --codec dither --wire fixed --levels 7 --block 2048 --json "$work/codec.json" --force >/dev/null
    cat "$work/codec.json" >>"$work/codec"
done
for pass in encode step; do
    sed -n "s/^ *\"${pass}_share\": \([^,]*\),\{0,1\}\$/\1/p" "$work/codec" >"$work/ratio"
    sed -n "s/^ *\"${pass}_seconds\": \([^,]*\),\{0,1\}\$/\1/p" "$work/codec" | awk '{ print 2 ^ 26 / $1 / 1e9 }' >"$work/rate"
    case $pass in encode) wanted=0.45 name=encode ;; *) wanted=0.7 name=decode+step ;; esac
    row "$name, f32, d = 2^26, block 2048, s = 7, p = inf, one core: share of memcpy's bandwidth" \
        "$(median "$work/ratio") ($(median "$work/rate") Gcoord/s)" ">= $wanted"
done

# 2. iterations a second beside NumPy, alternating
i=0
while [ -n "$peers" ] && [ $i -lt $rounds ]; do
    i=$((i + 1))
    peer vrdiana_numpy data/mushrooms 112 6e-4 vr-diana 5000 0.5 1 inf 12 $i |
        sed -n 's/^per iteration \(.*\) us$/\1/p' >>"$work/numpy"
    train data/mushrooms --l2 6e-4 --threads 1 --iterations 100000 --seed $i
    awk -v t="$seconds" -v k="$iterations" 'BEGIN { print 1e6 * t / k }' >>"$work/ours"
done
if [ -n "$peers" ]; then
    row "VR-DIANA iteration on mushrooms, n = 12, s = 1, p = inf, one thread, beside vrdiana_numpy.py" \
        "$(median "$work/ours") us, NumPy $(median "$work/numpy") us: $(ratio "$(median "$work/numpy")" "$(median "$work/ours")") times" ">= 50 times"
fi

# 3. seconds to a gap of 1e-12 beside scikit-learn's SAGA, alternating
to_gap() {
    data=data/$1
    shift
    "$dither" train "$data" --device cpu --target-gap 1e-12 --threads 1 --quiet --summary "$work/run.json" "$@"
    sed -n 's/^  "seconds": \(.*\),$/\1/p' "$work/run.json"
}
i=0
while [ $i -lt $rounds ]; do
    i=$((i + 1))
    if [ -n "$peers" ]; then # it ends with an error where data/ has no w8a.gz: its lines before that count
        peer sklearn_peer data 2>/dev/null >>"$work/sklearn" || :
    fi
    to_gap mushrooms --l2 6e-4 >>"$work/gap_mushrooms"
    to_gap a5a --l2 5e-4 --features 123 >>"$work/gap_a5a"
done
for name in mushrooms a5a; do
    ours=$(median "$work/gap_$name")
    shown="$ours s"
    if [ -n "$peers" ]; then
        awk -v name="$name" '$1 == name && $2 == "saga" { print $5 }' "$work/sklearn" >"$work/saga"
        theirs=$(median "$work/saga")
        gap=$(awk -v name="$name" '$1 == name && $2 == "saga" { print $4; exit }' "$work/sklearn")
        shown="$shown, scikit-learn $theirs s (gap $gap): $(ratio "$ours" "$theirs") times"
    fi
    case $name in mushrooms) wanted='<= 15 times' l2=6e-4 ;; *) wanted='' l2=5e-4 ;; esac
    row "seconds to a gap of 1e-12 on $name, l2 = $l2, n = 12, one thread, beside scikit-learn's SAGA" "$shown" "$wanted"
done

# 4. reading LIBSVM text
for _ in 1 2 3; do "$BUILD/bench/bench_parse" data/mushrooms data/a5a >>"$work/parse"; done
for name in mushrooms a5a; do
    sed -n "s/^[^:]*$name: parse \([0-9.]*\) MB.*/\1/p" "$work/parse" >"$work/rate"
    row "parsing $name, one core" "$(median "$work/rate") MB/s" ">= 200 MB/s"
done

# 5. two threads beside one, alternating
large=data/a5a name=a5a
if [ -n "${EXTRA_DATA:-}" ] && [ -f "$EXTRA_DATA/w8a.gz" ]; then
    large=$EXTRA_DATA/w8a.gz name=w8a
else
    skip "w8a: EXTRA_DATA is not set or has no w8a.gz; a5a in its place"
fi
i=0
while [ $i -lt $rounds ]; do
    i=$((i + 1))
    for threads in 1 2; do
        train "$large" --batch 32 --threads $threads --iterations 4000
        say "$seconds" >>"$work/threads$threads"
    done
done
row "two threads beside one, $name, n = 12, batch 32" \
    "$(ratio "$(median "$work/threads1")" "$(median "$work/threads2")") times ($(median "$work/threads1") s, $(median "$work/threads2") s)" ">= 1.6 times on w8a"

# 6. dense data's full gradients by a library, alternating: gradient descent on a synthetic set of MNIST's shape
if ! command -v python3 >/dev/null; then
    skip "dense products: no python3, which makes their data"
elif "$dither" info | grep -q '^  cblas  *--dense-math'; then
    python3 scripts/synthetic.py dense 7000 784 1 >"$work/dense"
    for precision in f64 f32; do
        i=0
        while [ $i -lt $rounds ]; do
            i=$((i + 1))
            for math in exact blas; do
                train "$work/dense" --method gd --precision $precision --threads 1 --iterations 50 --dense-math $math
                awk -v t="$seconds" -v k="$iterations" 'BEGIN { print 1e3 * t / k }' >>"$work/dense_$precision$math"
            done
        done
        row "full gradient of 7000 dense rows of 784 (synthetic), $precision, one thread: --dense-math exact beside blas" \
            "$(ratio "$(median "$work/dense_${precision}exact")" "$(median "$work/dense_${precision}blas")") times ($(median "$work/dense_${precision}exact") ms, $(median "$work/dense_${precision}blas") ms)" ""
    done
else
    skip "dense products: this build has no CBLAS"
fi

# the machine
cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo 2>/dev/null | head -n 1)
memory=$(awk '/^MemTotal/ { printf "%.0f GB", $2 / 1e6 }' /proc/meminfo 2>/dev/null || echo '?')
isa=$(grep -qw avx512vl /proc/cpuinfo 2>/dev/null && echo AVX-512 || { grep -qw avx2 /proc/cpuinfo 2>/dev/null && echo AVX2; } || echo 'neither AVX2 nor AVX-512')
gpu=$(nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | head -n 1) || gpu=''
system=$(sed -n 's/^PRETTY_NAME="\(.*\)"$/\1/p' /etc/os-release 2>/dev/null || :)
commit=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)
git diff --quiet HEAD 2>/dev/null || commit="$commit with changes"
{
    say "Measured by \`bench/run.sh\` on $(date -u +%Y-%m-%d), commit $commit."
    say
    say "- Processor: ${cpu:-$(uname -m)}, $jobs cores to use, $isa; $memory of memory; GPU: ${gpu:-none}"
    say "- System: ${system:-$(uname -s)}, $("$dither" info | head -n 1)"
    say "- Load average before and after: $load_before; $(load)"
    say
    cat "$work/table"
} >"$out"
say "Written to $out after $(($(date +%s) - started)) s."
