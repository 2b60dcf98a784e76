#!/usr/bin/env bash
# Sets up one host of a cluster: checks the shared folder, creates the environment, prepares the login shell.
#
#   cluster/setup/host.sh --shared /srv/regionstack [--nfs SERVER:/EXPORT] [--bucket s3://NAME]   every host
#   cluster/setup/host.sh --mark-shared       the head, afterwards: writes the cluster's mark into the shared folder
#   cluster/setup/host.sh --check-shared      a worker, afterwards: checks for the head's mark
#
# --shared: a folder that every host sees under this path, for pages, shards, runs and Horovod's wheel.
# --nfs: what to mount there if nothing is mounted yet. --bucket: only exported in the login shell.
# A host whose login shell names an environment in VENV (on shared storage, in an image) keeps it. GPU=1 is the
# default where `nvidia-smi -L` lists a GPU. Safe to repeat; takes about a second where everything is ready.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
login=$HOME/.regionstack.sh
token=$HOME/.ray/auth_token
apt_packages="python3-venv gcc g++ make"

fail() { echo "error: $(hostname): $*" >&2; exit 2; }

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }

mount_nfs() {  # mount_nfs SOURCE FOLDER
    if mountpoint -q "$2"; then return; fi
    command -v mount.nfs4 >/dev/null || { as_root apt-get -qq update && as_root apt-get -qq install -y nfs-common; } >/dev/null
    as_root mkdir -p "$2" && as_root mount -t nfs4 -o nfsvers=4.1,hard,timeo=600,retrans=2 "$1" "$2" ||
        fail "$1 cannot be mounted at $2; check the address, and that both sides allow NFS (TCP 2049)"
    as_root chown "$(id -u)" "$2" || true
}

check_writable() {
    local probe
    [ -d "$1" ] || fail "$1, the shared folder, does not exist; mount the shared storage at that path, or change --shared in the cluster YAML file"
    probe=$1/.written-by-$(hostname)-$$
    { echo x >"$probe" && rm "$probe"; } 2>/dev/null || fail "$1, the shared folder, cannot be written by $(id -un); give that user write access"
}

install_system_packages() {  # cloud images lack a compiler; without root access, environment.sh reports what is missing
    if python3 -c 'import ensurepip, venv' 2>/dev/null && command -v g++ make >/dev/null; then return; fi
    # shellcheck disable=SC2086
    { as_root apt-get -qq update && as_root apt-get -qq install -y $apt_packages; } >/dev/null 2>&1 || true
}

write_login() {  # the environment of `ray submit`, `ray exec` and Ray's workers
    local venv=$1 shared=$2 bucket=$3 line='. ~/.regionstack.sh'
    cat >"$login.new" <<EOF
# Written by $root/cluster/setup/host.sh on every set-up.
export REGIONSTACK_SHARED='$shared'
export REGIONSTACK_CACHE="\${REGIONSTACK_CACHE:-$shared/cache}"
export REGIONSTACK_BUCKET='$bucket'
export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
export VENV='$venv'
export PYTHONPATH='$root'
case ":\$PATH:" in *":$venv/bin:"*) ;; *) export PATH='$venv/bin':"\$PATH" ;; esac
EOF
    mv "$login.new" "$login"
    grep -qxF "$line" ~/.bashrc 2>/dev/null || echo "$line" >>~/.bashrc
}

mark() {  # its name is a hash of the cluster's token, and reveals nothing of it
    [ -s "$token" ] || fail "$token is missing; on the machine that runs ray up: ray get-auth-token --generate"
    echo "$REGIONSTACK_SHARED/.regionstack/$(sha256sum <"$token" | cut -c1-16)"
}

set_up() {
    local shared="" nfs="" bucket=""
    while [ $# -gt 0 ]; do
        case $1 in --shared | --nfs | --bucket) ;; *) fail "$1: no such option of host.sh" ;; esac
        [ $# -gt 1 ] || fail "$1 needs a value"
        case $1 in
            --shared) shared=${2%/} ;;
            --nfs) nfs=$2 ;;
            --bucket) bucket=$2 ;;
        esac
        shift 2
    done
    case $shared in /*) ;; *) fail "--shared needs an absolute path, is '$shared'" ;; esac
    if [ -n "$nfs" ]; then mount_nfs "$nfs" "$shared"; fi
    check_writable "$shared"
    install_system_packages
    if [ -z "${GPU+given}" ] && nvidia-smi -L 2>/dev/null | grep -q .; then export GPU=1; fi
    export VENV=${VENV:-$root/.venv} REGIONSTACK_CACHE=${REGIONSTACK_CACHE:-$shared/cache}
    "$root/cluster/setup/environment.sh"
    write_login "$VENV" "$shared" "$bucket"
    chmod 600 "$token" 2>/dev/null || true
}

case ${1:-} in
    --mark-shared)
        path=$(mark)
        mkdir -p "$(dirname "$path")" && hostname >"$path"
        ;;
    --check-shared)
        path=$(mark)
        # NFS may cache a folder's listing for some seconds.
        for _ in $(seq 0 "${PATIENCE_S:-10}"); do
            if cat "$path" >/dev/null 2>&1; then exit 0; fi
            sleep 1
        done
        fail "$REGIONSTACK_SHARED is not the head's shared folder: the head's mark is missing in it; mount the same storage on every host"
        ;;
    *) set_up "$@" ;;
esac
