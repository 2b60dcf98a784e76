#!/usr/bin/env bash
# A run on Slurm: Ray on all nodes of the job, the driver on the first. Submit it in a folder that all nodes share; all
# options are those of `regionstack train-all`, and relative paths start in that folder. Step by step: docs/slurm.md.
#
#   sbatch --nodes=2 --gpus-per-node=4 --time=8:00:00 cluster/slurm.sh --config my.yaml
#   sbatch --nodes=4 --partition=cpu cluster/slurm.sh --config my.yaml
#   scancel --batch --signal=USR1 JOB       saves and ends; the same sbatch resumes
#
# Before the time limit Slurm signals this script: the run saves, and the job is requeued and resumes. So does a job whose
# node fails. REGIONSTACK_HOME: the checkout (default: the folder of sbatch). VENV: the environment (default: its .venv).
#SBATCH --job-name=regionstack
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --signal=B:TERM@180
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=regionstack-%j.log
set -euo pipefail

STOPPED=75
home=${REGIONSTACK_HOME:-$SLURM_SUBMIT_DIR}
node=$home/cluster/setup/ray_node.sh
[ -x "$node" ] || { echo "error: $node is missing; run sbatch in the checkout, or set REGIONSTACK_HOME" >&2; exit 2; }
export PATH=${VENV:-$home/.venv}/bin:$PATH PYTHONPATH=$home${PYTHONPATH:+:$PYTHONPATH}
command -v ray >/dev/null || { echo "error: no ray in ${VENV:-$home/.venv}; make env there, or set VENV" >&2; exit 2; }

hosts=$(scontrol show hostnames "$SLURM_JOB_NODELIST")
first=${hosts%%$'\n'*}
address=$(getent ahostsv4 "$first" | awk 'NR == 1 { print $1 }')
# Jobs that share a node, by an allocation without --exclusive, have ports of their own.
port=$((10240 + SLURM_JOB_ID % 2000 * 10))
RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
export RAY_AUTH_TOKEN

echo "job $SLURM_JOB_ID, start $((${SLURM_RESTART_COUNT:-0} + 1)): $SLURM_JOB_NUM_NODES nodes ($SLURM_JOB_NODELIST)"
# shellcheck disable=SC2016
srun --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 --cpu-bind=none --kill-on-bad-exit=0 --wait=0 \
    --output="regionstack-$SLURM_JOB_ID-ray-%n.log" bash -c '
    export REGIONSTACK_NODE_CPUS=$SLURM_CPUS_ON_NODE
    if [ "$SLURM_NODEID" = 0 ]; then role=head; else role=worker; fi
    exec "$0" "$role" "$@"' "$node" "$address" "$port" &
ray=$!

# The driver is no step: a signal to a step reaches Ray as well, which then cannot save.
"$node" train "$address" "$port" "$SLURM_JOB_NUM_NODES" "$@" &
driver=$! requeue=
trap 'signaled=yes requeue=yes; kill -TERM "$driver" 2>/dev/null' TERM
trap 'signaled=yes requeue=; kill -TERM "$driver" 2>/dev/null' USR1
until signaled=; status=0; wait "$driver" || status=$?; [ -z "$signaled" ]; do :; done
trap '' TERM USR1

kill -TERM "$ray" 2>/dev/null || true
timeout -k 5 60 tail --pid="$ray" -f /dev/null || kill -KILL "$ray" 2>/dev/null || true
case $status in "$STOPPED" | 130 | 143) ;; *) requeue= ;; esac  # 130 and 143: signaled before there was a job to save
# A job that somebody canceled is not running anymore, and stays canceled.
if [ -n "$requeue" ] && [ "$(squeue -h -j "$SLURM_JOB_ID" -o %T)" = RUNNING ]; then
    echo "the job is requeued, and will resume"
    scontrol requeue "$SLURM_JOB_ID" || echo "it cannot be requeued; run the same sbatch again to resume"
fi
exit "$status"
