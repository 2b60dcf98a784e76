#!/usr/bin/env bash
# The `run` section of cluster/skypilot.yaml, on every node: Ray on all of them, the driver on the first.
#
#   cluster/setup/skypilot_run.sh [OPTION]…      options of train-all; the configuration is $REGIONSTACK_CONFIG
#
# SkyPilot has a Ray of its own (port 6380), which `ray symmetric-run` takes for this one and which `ray stop` ends; so
# this one has other ports, and is ended by its process. COPY: a mounted bucket, to which one node copies its runs.
set -euo pipefail

home=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
node=$home/cluster/setup/ray_node.sh
shared=${REGIONSTACK_SHARED:?} copy=${COPY:-} port=${RAY_NODE_PORT:-10240}
address=$(head -n 1 <<<"$SKYPILOT_NODE_IPS")
case $REGIONSTACK_CONFIG in */*) ;; *.yaml) export REGIONSTACK_CONFIG=$home/$REGIONSTACK_CONFIG ;; esac

if [ "$SKYPILOT_NUM_NODES" = 1 ]; then
    RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
else  # through the shared folder, which only this user reads
    copy="" secret=$shared/.regionstack/token-${SKYPILOT_TASK_ID//[^A-Za-z0-9]/-}
    if [ "$SKYPILOT_NODE_RANK" = 0 ]; then
        mkdir -p "$shared/.regionstack"
        (umask 077 && od -An -N32 -tx1 /dev/urandom | tr -d ' \n' >"$secret.new" && mv "$secret.new" "$secret")
    fi
    for _ in $(seq 180); do [ -s "$secret" ] && break || sleep 1; done
    RAY_AUTH_TOKEN=$(cat "$secret")
fi
export RAY_AUTH_TOKEN

if [ "$SKYPILOT_NODE_RANK" != 0 ]; then exec "$node" worker "$address" "$port"; fi

save() { rsync -a --inplace --exclude=driver.lease --exclude='.*' "$shared/runs/" "$copy/runs/"; }

if [ -n "$copy" ]; then
    mkdir -p "$shared/runs" "$copy/runs"
    rsync -a "$copy/runs/" "$shared/runs/"
    [ -e "$shared/pages" ] || [ ! -d "$copy/pages" ] || ln -s "$copy/pages" "$shared/pages"
    (while sleep "${COPY_EVERY_S:-60}"; do save || echo "the runs could not be copied to $copy" >&2; done) &
    copier=$!
fi
"$node" head "$address" "$port" >"$shared/ray-head.log" 2>&1 &
ray=$!
"$node" train "$address" "$port" "$SKYPILOT_NUM_NODES" "$@" &
driver=$!
trap 'signaled=yes; kill -TERM "$driver" 2>/dev/null' TERM INT
status=0
until signaled=; status=0; wait "$driver" || status=$?; [ -z "$signaled" ]; do :; done
kill -TERM "$ray" 2>/dev/null || true
if [ -n "$copy" ]; then kill "$copier" 2>/dev/null || true; save; fi
exit "$status"
