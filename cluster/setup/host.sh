#!/usr/bin/env bash
# Set-up of one host of a cluster: the shared folder is checked, the environment made, the login shell prepared.
#
#   cluster/setup/host.sh --shared /srv/regionstack [--nfs SERVER:/EXPORT] [--bucket s3://NAME]   every host
#   cluster/setup/host.sh --mark-shared       the head, afterwards: leaves the cluster's mark in the shared folder
#   cluster/setup/host.sh --check-shared      a worker, afterwards: the head's mark must be there
#
# --shared: a folder that every host sees under this path; pages, shards, runs and Horovod's wheel lie in it.
# --nfs: what to mount there where nothing is mounted yet. --bucket: only made known to the login shell.
# A host whose login shell already names an environment in VENV (on shared storage, in an image) keeps it. GPU=1 is
# the default where `nvidia-smi -L` lists a GPU. Safe to repeat: where all is ready, it takes about a second.
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
        fail "$1 cannot be mounted at $2; is the address right, and do both sides let NFS (TCP 2049) through?"
    as_root chown "$(id -u)" "$2" || true
}

check_writable() {
    local probe
    [ -d "$1" ] || fail "$1, the shared folder, is not there; mount the shared storage at that path, or name another one with --shared in the cluster's YAML file"
    probe=$1/.written-by-$(hostname)-$$
    { echo x >"$probe" && rm "$probe"; } 2>/dev/null || fail "$1, the shared folder, cannot be written by $(id -un); give that user the right to"
}

install_system_packages() {  # images of clouds come without a compiler; where nobody may install, environment.sh says what is missing
    if python3 -c 'import ensurepip, venv' 2>/dev/null && command -v g++ make >/dev/null; then return; fi
    # shellcheck disable=SC2086
    { as_root apt-get -qq update && as_root apt-get -qq install -y $apt_packages; } >/dev/null 2>&1 || true
}

write_login() {  # what `ray submit`, `ray exec` and Ray's own workers find
    local venv=$1 shared=$2 bucket=$3 line='. ~/.regionstack.sh'
    cat >"$login.new" <<EOF
# Written by $root/cluster/setup/host.sh at every set-up.
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

mark() {  # named after the cluster's token, of which it gives nothing away
    [ -s "$token" ] || fail "$token is missing; on the machine that runs ray up: ray get-auth-token --generate"
    echo "$REGIONSTACK_SHARED/.regionstack/$(sha256sum <"$token" | cut -c1-16)"
}

set_up() {
    local shared="" nfs="" bucket=""
    while [ $# -gt 0 ]; do
        case $1 in --shared | --nfs | --bucket) ;; *) fail "$1: no such option of host.sh" ;; esac
        [ $# -gt 1 ] || fail "$1 wants a value"
        case $1 in
            --shared) shared=${2%/} ;;
            --nfs) nfs=$2 ;;
            --bucket) bucket=$2 ;;
        esac
        shift 2
    done
    case $shared in /*) ;; *) fail "--shared wants an absolute path, is '$shared'" ;; esac
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
        # What NFS remembers of a folder may be seconds old.
        for _ in $(seq 0 "${PATIENCE_S:-10}"); do
            if cat "$path" >/dev/null 2>&1; then exit 0; fi
            sleep 1
        done
        fail "$REGIONSTACK_SHARED is not the head's shared folder: the mark that the head left in it is not seen here; mount the same storage on every host"
        ;;
    *) set_up "$@" ;;
esac
