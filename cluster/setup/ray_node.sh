#!/usr/bin/env bash
# One node of a Ray that lives as long as one job of a batch system (Slurm, SkyPilot). Needs no root and no sshd.
#
#   cluster/setup/ray_node.sh head   ADDRESS PORT                  starts the head, and blocks
#   cluster/setup/ray_node.sh worker ADDRESS PORT                  joins the head as soon as it answers, and blocks
#   cluster/setup/ray_node.sh train  ADDRESS PORT NODES [OPTION]…  trains there with the options of train-all
#
# ADDRESS: the head's IPv4 address. PORT: the first of ten that the job has for itself on each of its nodes.
# RAY_AUTH_TOKEN (64 hexadecimal digits), the same for all three, keeps other users of these nodes out.
# REGIONSTACK_NODE_CPUS: cores of this node that Ray may use (default: those that Ray finds).
set -euo pipefail

role=$1 address=$2 port=$3
shift 3
export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
: "${RAY_AUTH_TOKEN:?}"

answers() { (exec 3<>"/dev/tcp/$address/$port") 2>/dev/null; }

wait_for_head() {
    for _ in $(seq "${HEAD_WAIT_S:-180}"); do
        if answers; then return; fi
        sleep 1
    done
    echo "error: $(hostname): Ray's head does not answer at $address:$port" >&2
    exit 2
}

ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -Hn)" || true
# Worker ports are left to the kernel, and the dashboard is off: both have fixed numbers otherwise. The temporary folder
# is the job's own, since /tmp/ray may belong to another user, and short, since paths of sockets have 107 characters.
own=(--block --disable-usage-stats --object-store-memory=268435456 --min-worker-port=0 --max-worker-port=0
    --dashboard-agent-listen-port=$((port + 2)) --dashboard-agent-grpc-port=$((port + 3)))
if [ -n "${REGIONSTACK_NODE_CPUS:-}" ]; then own+=(--num-cpus="$REGIONSTACK_NODE_CPUS"); fi

case $role in
    head)
        exec ray start --head --node-ip-address="$address" --port="$port" --ray-client-server-port=$((port + 1)) \
            --include-dashboard=false --temp-dir="/tmp/regionstack-$(id -u)-$port" "${own[@]}"
        ;;
    worker)
        wait_for_head
        exec ray start --address="$address:$port" "${own[@]}"
        ;;
    train)
        export REGIONSTACK_HOSTS=$1 RAY_ADDRESS=$address:$port
        shift
        wait_for_head
        exec python -m launch.train_all "$@"
        ;;
    *)
        echo "error: $role: not head, worker or train" >&2
        exit 2
        ;;
esac
