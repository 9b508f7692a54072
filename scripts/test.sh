#!/bin/sh
# Builds with gcc, with clang as a shared library, with AddressSanitizer and UBSan with every kernel's lanes reversed,
# and with nothing but a C compiler and make; runs every test in the first three and compares the bits that all four
# train. Installs what is missing. Builds into build/release, build/clang, build/sanitize, build/bare.
set -eu
# shellcheck source=scripts/lib.sh
. "$(dirname -- "$0")/lib.sh"

need_build_tools
missing="$missing$useful" useful='' # the tests try all that can be built
have clang || need clang
have_header cmocka.h || need libcmocka-dev
have_header cblas.h || need libopenblas-dev # --dense-math blas
have_header Random123/philox.h || need librandom123-dev
have c++ || need g++
have_header boost/context/fiber.hpp && [ -n "$(find /usr/lib* -name 'libboost_context.so' 2>/dev/null | head -n 1)" ] || need libboost-context-dev # emulated GPUs
have pkg-config || need pkg-config
have mpicc || need libopenmpi-dev
have mpirun || need openmpi-bin
have mpicc.mpich || need libmpich-dev # the ranks' test runs with both
have mpirun.mpich || need mpich
have make || need make
have python3 || need python3
have gnuplot || need gnuplot-nox
install_missing

failed=''

# run_tests FOLDER: goes on after a failure, so that one run shows them all
run_tests() {
    step "tests of build/$1"
    (cd "$root/build/$1" && ctest -j "$jobs" --output-on-failure --timeout 600) >"$root/build/$1/tests.log" 2>&1 ||
        failed="$failed $1"
    grep -vE '^ +Start +[0-9]+:' "$root/build/$1/tests.log"
}

step "build/release: the system's compiler"
configure release -DCMAKE_BUILD_TYPE=Release -DDITHER_TESTS=ON -DDITHER_CUDA=ON # compiled where there is a toolkit
build release all
run_tests release

step "build/clang: clang, shared library"
configure clang -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_COMPILER=clang -DBUILD_SHARED_LIBS=ON -DDITHER_CUDA=OFF -DDITHER_MPI=OFF
build clang all
run_tests clang

step "build/sanitize: AddressSanitizer, UBSan, lanes reversed"
configure sanitize -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS_DEBUG='-g -O1' -DDITHER_SANITIZE=address,undefined \
    -DDITHER_REVERSE_LANES=ON -DDITHER_CUDA=OFF -DDITHER_MPI=OFF -DDITHER_ISAS=OFF
build sanitize all
run_tests sanitize

step "build/bare: a C compiler, make and libc, nothing else, not optimized"
off=''
for package in ZLIB BZip2 LibLZMA MPI CUDAToolkit; do off="$off -DCMAKE_DISABLE_FIND_PACKAGE_$package=ON"; done
generator='Unix Makefiles'
# shellcheck disable=SC2086 # a list of words
configure bare -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS_DEBUG=-O0 -DDITHER_CUDA=OFF \
    -DDITHER_TESTS=OFF $off
build bare dither_command

# hashes FOLDER: of x, h and every h_i after some iterations
hashes() {
    while read -r options; do
        # shellcheck disable=SC2086 # a list of words
        (cd "$root" && "build/$1/dither" train data/a5a --reference none --quiet --summary /dev/stdout $options) |
            sed -n 's/^  "state_hash": "\(.*\)",$/\1/p'
    done <<'OPTIONS'
--iterations 2000
--iterations 2000 --estimator saga --codec natural --batch 3 --precision f32
--iterations 50 --method diana --estimator full --norm 2 --levels 7 --block 50 --prox l1:1e-3
--iterations 2000 --loss least-squares --labels auto --codec randk --workers 7 --gamma x0.1 --shuffle 1
OPTIONS
}
step "the same bits from every build"
hashes release >"$root/build/hashes"
tr '\n' ' ' <"$root/build/hashes"
say
[ "$(grep -cE '^[0-9a-f]{16}$' "$root/build/hashes")" = 4 ] || failed="$failed hashes-of-release"
for folder in clang sanitize bare; do
    hashes "$folder" | cmp - "$root/build/hashes" || failed="$failed hashes-of-$folder"
done

step "summary"
for folder in release clang sanitize; do
    say "build/$folder: $(grep -E 'tests passed|No tests' "$root/build/$folder/tests.log")"
done
[ -z "$failed" ] || die "failed:$failed"
say "all passed, $(($(date +%s) - started)) s"
