#!/bin/sh
# HogWild! with more and more threads: seconds of training and the gap reached, beside one thread. Prints a table in
# Markdown; medians of five seeds, taken in turns.
# Usage: bench/hogwild.sh DATA [EPOCHS [THREADS...]]       default: 200 epochs; 1 2 4
#   BUILD  folder with the program (default: build of the checkout)
set -eu
[ $# -ge 1 ] || { sed -n '2,5s/^# \{0,1\}//p' "$0"; exit 2; }
root=$(cd "$(dirname -- "$0")/.." && pwd)
data=$1 epochs=${2:-200}
[ $# -le 2 ] && set -- "$data" "$epochs" 1 2 4
shift 2
dither=${BUILD:-$root/build}/dither
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
median() { sort -g "$1" | sed -n 3p; }
field() { sed -n "s/^  \"$1\": \(.*\),\$/\1/p" "$work/run.json"; }

gamma=$("$dither" train "$data" --method hogwild --workers 1 --iterations 0 --reference none --summary /dev/stdout --quiet |
    sed -n 's/^  "gamma": \(.*\),$/\1/p')
for seed in 1 2 3 4 5; do
    for threads in "$@"; do
        for stores in atomic plain; do
            [ $stores = plain ] && flag=--plain-stores || flag=
            "$dither" train "$data" --method hogwild --workers "$threads" --gamma "$gamma" --seed $seed --epochs "$epochs" $flag \
                --trace-every 1000000000 --quiet --summary "$work/run.json"
            field seconds >>"$work/seconds-$threads-$stores"
            field gap >>"$work/gap-$threads-$stores"
        done
    done
done
echo "| threads | additions | seconds | speed-up | gap |"
echo "|---|---|---|---|---|"
for stores in atomic plain; do
    alone=$(median "$work/seconds-$1-$stores")
    for threads in "$@"; do
        seconds=$(median "$work/seconds-$threads-$stores")
        printf '| %s | %s | %s | %s | %s |\n' "$threads" $stores "$(printf %.3g "$seconds")" \
            "$(awk -v a="$alone" -v b="$seconds" 'BEGIN { printf "%.2f", a / b }')" \
            "$(printf %.3g "$(median "$work/gap-$threads-$stores")")"
    done
done
