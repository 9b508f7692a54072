# What demo.sh and test.sh share: find the tools, install what is missing, configure, build. Sourced, not run.
# shellcheck shell=sh

LC_ALL=C
export LC_ALL
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
jobs=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
started=$(date +%s)

say() { printf '%s\n' "$*"; }
step() { printf '\n== %s (after %d s)\n' "$*" "$(($(date +%s) - started))"; }
die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

have() { command -v "$1" >/dev/null 2>&1; }
have_header() { have cc && echo "#include <$1>" | cc -E - >/dev/null 2>&1; }

missing='' # packages without which the script can't do its work
useful=''  # packages that it can do without
need() { missing="$missing $*"; }
like() { useful="$useful $*"; }

# What every build needs: a C compiler with libc's headers, CMake, ninja or make. Reading .gz, .bz2 and .xz files needs
# their libraries.
need_build_tools() {
    have_header stdio.h || need gcc libc6-dev
    have cmake || need cmake
    have ninja || have make || need ninja-build
    have_header zlib.h || like zlib1g-dev
    have_header bzlib.h || like libbz2-dev
    have_header lzma.h || like liblzma-dev
}

# Words before apt-get that make it root's; fails if there are none.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        echo 'env DEBIAN_FRONTEND=noninteractive'
    elif have sudo && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
        echo 'sudo env DEBIAN_FRONTEND=noninteractive'
    else
        return 1
    fi
}

# apt_install PACKAGE...: with the lists of packages that are there, or else with new ones
# shellcheck disable=SC2086 # $prefix is a list of words
apt_install() {
    prefix=$(as_root) || return 1
    $prefix apt-get install -y --no-install-recommends "$@" >/dev/null 2>&1 ||
        { $prefix apt-get update -q && $prefix apt-get install -y --no-install-recommends "$@"; }
}

# Nothing is installed, and no network is used, when all is there.
# shellcheck disable=SC2086 # lists of words
install_missing() {
    [ -n "$missing$useful" ] || return 0
    if have apt-get && as_root >/dev/null; then
        step "installing$missing$useful"
        if apt_install $missing $useful; then return 0; fi
        [ -z "$missing" ] || die "apt-get could not install$missing$useful; its messages are above"
    fi
    [ -z "$missing" ] || die "these Debian packages, or what they are called elsewhere, are missing:$missing
Neither root nor sudo is at hand to install them. This does it, run by root:

    apt-get update && apt-get install -y --no-install-recommends$missing$useful
"
    say "note: going on without$useful"
}

# configure FOLDER OPTION...: FOLDER is under build/. One left by another checkout or generator is begun anew.
generator='' # set to ask for one
configure() {
    folder=$root/build/$1
    shift
    if [ -z "$generator" ]; then
        if have ninja; then generator=Ninja; else generator='Unix Makefiles'; fi
    fi
    cache=$folder/CMakeCache.txt
    if [ -f "$cache" ] && ! { grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$root" "$cache" &&
        grep -qxF "CMAKE_GENERATOR:INTERNAL=$generator" "$cache"; }; then
        rm -rf "$folder"
    fi
    mkdir -p "$folder"
    cmake -S "$root" -B "$folder" -G "$generator" "$@" >"$folder/configure.log" 2>&1 ||
        { cat "$folder/configure.log"; die "configuring $folder failed"; }
    grep -E '^-- (dither [0-9]|  (found|absent))' "$folder/configure.log" | sed 's/^-- //'
}

# build FOLDER TARGET: shows the compiler's words only if it has a complaint
build() {
    folder=$root/build/$1
    cmake --build "$folder" --target "$2" -j "$jobs" >"$folder/build.log" 2>&1 ||
        { tail -n 60 "$folder/build.log"; die "building $folder failed; all of it is in $folder/build.log"; }
    if grep -A 12 'warning:' "$folder/build.log"; then say "(a warning, in build/$1)"; fi
}
