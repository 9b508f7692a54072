#!/bin/sh
# Measures iterations on shaped links beside what `dither bench iteration --network` predicts, and writes a table in
# Markdown into FILE. R ranks under MPI, each in a network namespace of its own; a bridge joins them; each rank's link is
# shaped in both directions (tc tbf). The data are synthetic: ridge regression, d = 2^20, few sparse rows.
#
# The links are made to be what the model has: busy as long as there is something to send, and not faster for having been
# idle. So TCP's congestion control is reno, which keeps a queue (bbr, which estimates the rate and paces, leaves a slow
# link with two ways idle for up to half the time); and buckets hold a millisecond only, or a message that follows
# computation begins with credit and crosses faster than the line; less would cut packets so small that the cores decide.
# Usage: bench/network.sh FILE      as root: it makes network namespaces, and removes them in any case
#   RATES    Mbit/s, default "10 100 1000"
#   RANKS    default "2 4"
#   BUILD    build folder (default: build/release of the checkout); Open MPI
set -eu
[ $# = 1 ] || { sed -n '2,13s/^# \{0,1\}//p' "$0"; exit 2; }
[ "$(id -u)" = 0 ] || { echo "bench/network.sh makes network namespaces: run it as root" >&2; exit 1; }
for tool in ip tc mpirun unshare sysctl; do
    command -v $tool >/dev/null || { echo "bench/network.sh needs $tool (Debian: iproute2, util-linux, procps, openmpi-bin)" >&2; exit 1; }
done
# shellcheck source=scripts/lib.sh
. "$(dirname -- "$0")/../scripts/lib.sh"
case $1 in /*) out=$1 ;; *) out=$PWD/$1 ;; esac
cd "$root"
if [ -z "${BUILD:-}" ]; then
    need_build_tools
    install_missing
    configure release -DCMAKE_BUILD_TYPE=Release >/dev/null
    build release dither_command
    BUILD=$root/build/release
fi
dither=$BUILD/dither
work=$(mktemp -d)
chmod 755 "$work"
rates=${RATES:-10 100 1000} ranks=${RANKS:-2 4}
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
name=dither$$ # of the namespaces; interface names have 15 letters at most
bridge=dbr$$ net=10.213.77

clean_up() {
    for i in 1 2 3 4 5 6 7 8; do
        ip netns pids $name-$i 2>/dev/null | xargs -r kill 2>/dev/null || :
        ip netns del $name-$i 2>/dev/null || :
    done
    ip link del $bridge 2>/dev/null || :
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# set_up COUNT: namespaces 1 .. COUNT with addresses $net.1, ...; the bridge has $net.254, where mpirun is
set_up() {
    ip link add $bridge type bridge
    ip addr add $net.254/24 dev $bridge
    ip link set $bridge up
    i=0
    while [ $i -lt "$1" ]; do
        i=$((i + 1))
        ip netns add $name-$i
        ip link add dv$$-$i type veth peer name eth0 netns $name-$i
        ip link set dv$$-$i master $bridge up
        ip -n $name-$i addr add $net.$i/24 dev eth0
        ip -n $name-$i link set eth0 up
        ip -n $name-$i link set lo up
        ip netns exec $name-$i sysctl -qw net.ipv4.tcp_slow_start_after_idle=0 net.ipv4.tcp_congestion_control=reno
    done
}

# shape MBIT: both directions of every link; 0 for as fast as it goes. A packet that the host has yet to cut into frames
# is smaller than the bucket, or tbf cuts it, which costs more than 1 Gbit/s leaves; the queue is long enough that TCP
# loses nothing.
shape() {
    burst=$(($1 * 1000000 / 8 / 1000))
    [ "$burst" -ge 3100 ] || burst=3100 # two frames
    packet=$((burst * 3 / 4))
    [ "$1" != 0 ] && [ "$packet" -le 65536 ] || packet=65536
    i=0
    while [ $i -lt "$most" ]; do
        i=$((i + 1))
        tc -n $name-$i qdisc del dev eth0 root 2>/dev/null || :
        tc qdisc del dev dv$$-$i root 2>/dev/null || :
        ip -n $name-$i link set eth0 gso_max_size $packet
        ip link set dv$$-$i gso_max_size $packet
        [ "$1" != 0 ] || continue
        tc -n $name-$i qdisc add dev eth0 root tbf rate "$1mbit" burst "$burst" limit 16mb
        tc qdisc add dev dv$$-$i root tbf rate "$1mbit" burst "$burst" limit 16mb
    done
}

cat >"$work/agent" <<EOF
#!/bin/sh
# in place of ssh: HOST COMMAND...
i=\${1##*.}
shift
exec ip netns exec $name-\$i unshare --uts sh -c "hostname $name-\$i; \$*"
EOF
chmod 755 "$work/agent"

# on_ranks R COMMAND...: over TCP, on the shaped links. Rings, as the model has them; and plain sends (btl_tcp_flags 1):
# otherwise a large message waits for an answer that is queued behind what its receiver sends, and a link that could
# carry both directions at once carries one after the other. Ranks that wait leave the core to others.
on_ranks() {
    count=$1
    shift
    hosts=$net.1
    i=1
    while [ $i -lt "$count" ]; do i=$((i + 1)) hosts=$hosts,$net.$i; done
    mpirun --mca plm_rsh_agent "$work/agent" --mca plm_rsh_no_tree_spawn 1 --mca oob_tcp_if_include $net.0/24 \
        --mca btl_tcp_if_include $net.0/24 --mca btl tcp,self --mca pml ob1 --mca btl_tcp_flags 1 \
        --mca mpi_yield_when_idle 1 --mca coll_tuned_use_dynamic_rules 1 --mca coll_tuned_allreduce_algorithm 4 \
        --mca coll_tuned_allgatherv_algorithm 3 --bind-to none --host "$hosts" -n "$count" "$@"
}

# value KEY FILE: the last of that name
value() { sed -n "s/^ *\"$1\": \([^,]*\),\{0,1\}\$/\1/p" "$2" | tail -n 1; }

# One worker a rank; 1000 rows of 20 entries each.
make_data() {
    awk -v rows=$(($1 * 1000)) 'BEGIN {
        srand(1)
        for (r = 0; r < rows; r++) {
            line = sprintf("%.6f", 2 * rand() - 1)
            for (e = 0; e < 20; e++) line = line sprintf(" %d:%.6f", 1 + int((e + rand()) * 1048576 / 20), 2 * rand() - 1)
            print line
        }
    }' >"$work/data-$1"
}

most=0
for R in $ranks; do
    [ "$R" -le "$most" ] || most=$R
    make_data "$R"
done
set_up "$most"
shape 0

# an all-gather of a few bytes between two ranks: one message each way
on_ranks 2 "$dither" bench collective -b 64 -n 500 -w 100 --aggregate allgather --codec identity --device cpu \
    --json "$work/latency.json" >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
latency=$(value communicate_seconds "$work/latency.json" | awk '{ printf "%.0fus", 1e6 * $1 }')

# iteration R FILE OPTION...: one thread a rank
iteration() {
    count=$1 file=$2
    shift 2
    on_ranks "$count" "$dither" bench iteration "$work/data-$count" --loss least-squares --l2 1e-3 --features 1048576 \
        --workers "$count" --precision f32 --threads 1 --device cpu --evaluations 0 --json "$file" --force "$@" >"$work/log" 2>&1 ||
        { cat "$work/log" >&2; exit 1; }
}

: >"$work/rows"
for R in $ranks; do
    for way in "fp32 identity" "allgather identity" "allgather dither" "allreduce dither"; do
        aggregate=${way% *} codec=${way#* }
        set -- --aggregate "$aggregate" --codec "$codec" --levels 1
        for rate in $rates; do # computation measured on links that are not shaped
            shape 0
            iteration "$R" "$work/free.json" "$@" -n 50 --network "${rate}Mbit,$latency,ring"
            shape "$rate"
            iteration "$R" "$work/shaped.json" "$@" -n 3
            echo "$R $rate $aggregate $codec $(value link_bytes "$work/shaped.json") \
$(value iteration_seconds "$work/shaped.json") $(value predicted_iteration_seconds "$work/free.json") \
$(value communicate "$work/shaped.json")" | tee -a "$work/rows"
        done
    done
done

cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo 2>/dev/null | head -n 1)
commit=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)
git diff --quiet HEAD 2>/dev/null || commit="$commit with changes"
{
    echo "Measured by \`bench/network.sh\` on $(date -u +%Y-%m-%d), commit $commit."
    echo
    echo "- Processor: ${cpu:-$(uname -m)}, $(nproc) cores for all ranks; $(mpirun --version | head -n 1)"
    echo "- Links: veth pairs to one bridge, shaped by tbf in both directions; latency $latency (measured by MPI)"
    echo "- Data: synthetic ridge regression, d = 2^20, 1000 sparse rows and one worker a rank, VR-DIANA, float32"
    echo "- Load average at the end: $(cut -d' ' -f1-3 /proc/loadavg)"
    echo "- Predicted: what \`dither bench iteration --network RATE,$latency,ring\` says when it measures the same ranks on"
    echo "  links that are not shaped"
    echo
    echo "| R | Mbit/s | aggregate | codec | MB on a link | measured s | predicted s | error | speed-up over fp32 | of the ratio of bytes |"
    echo "|---|---|---|---|---|---|---|---|---|---|"
    awk '{
        key = $1 " " $2
        if ($3 == "fp32") { bytes[key] = $5; seconds[key] = $6 }
        error = $7 / $6 - 1
        printf "| %d | %d | %s | %s | %.3f | %.4f | %.4f | %+.0f %% | %.2f | %.2f |\n", $1, $2, $3,
            $4 == "dither" ? "dither, s = 1" : $4, $5 / 1e6, $6, $7, 100 * error, seconds[key] / $6,
            (seconds[key] / $6) / (bytes[key] / $5)
        sum += error < 0 ? -error : error
        if ((error < 0 ? -error : error) > worst) worst = error < 0 ? -error : error
    } END { printf "\nError of the prediction: mean %.0f %%, worst %.0f %%.\n", 100 * sum / NR, 100 * worst }' "$work/rows"
} >"$out"
echo "Written to $out after $(($(date +%s) - started)) s."
