#!/usr/bin/env bash
# Sets up one host of a cluster: checks the shared folder, creates the environment, prepares the login shell.
#
#   cluster/setup/host.sh --shared /srv/regionstack [--nfs SERVER:/EXPORT] [--bucket s3://NAME] [--cloud aws]   every host
#   cluster/setup/host.sh --mark-shared       the head, afterwards: writes the cluster's mark into the shared folder
#   cluster/setup/host.sh --check-shared      a worker, afterwards: checks for the head's mark
#
# --shared: a folder that every host sees under this path, for pages, shards, runs and Horovod's wheel.
# --nfs: what to mount there if nothing is mounted yet. --bucket: only exported in the login shell. --cloud: aws or gcp,
# installs that cloud's SDK; a machine with NVIDIA cards then waits until its image has installed the driver, and workers
# watch for the notice that their machine will be reclaimed.
# A host whose login shell names an environment in VENV (on shared storage, in an image) keeps it. GPU=1 is the
# default where `nvidia-smi -L` lists a GPU. Safe to repeat; takes about a second where everything is ready.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
login=$HOME/.regionstack.sh
token=$HOME/.ray/auth_token
apt_packages="python3-venv gcc g++ make"
apt_wait_s=${APT_WAIT_S:-600}        # how long another program, such as unattended-upgrades, may hold apt's locks
driver_wait_s=${DRIVER_WAIT_S:-600}  # how long a cloud's image may take to install NVIDIA's driver at its first boot
pci=${PCI_DEVICES:-/sys/bus/pci/devices}

fail() { echo "error: $(hostname): $*" >&2; exit 2; }

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }

mount_nfs() {  # mount_nfs SOURCE FOLDER
    if mountpoint -q "$2"; then return; fi
    command -v mount.nfs >/dev/null || install_packages nfs-common
    as_root mkdir -p "$2"
    # No version: client and server agree on the newest that both have (EFS 4.1, Filestore's basic tiers 3).
    local reason
    reason=$(as_root mount -t nfs -o hard,timeo=600,retrans=2,noresvport "$1" "$2" 2>&1) ||
        fail "$1 cannot be mounted at $2 ($(last_line "$reason")); check the address, and that both sides allow NFS (TCP 2049)"
    as_root chown "$(id -u)" "$2" || true
}

last_line() { grep -v '^[[:space:]]*$' <<<"$1" | tail -n 1; }

install_packages() {  # waits for apt's locks; if it fails, says why and continues: what is missing is reported where it is needed
    local until=$((SECONDS + apt_wait_s)) output
    # apt's own time limit holds for dpkg's lock, not for the lock on the lists of packages.
    until output=$(as_root apt-get -qq update 2>&1); do
        grep -q "[Cc]ould not get lock\|Unable to lock" <<<"$output" && [ "$SECONDS" -lt "$until" ] || break
        sleep 2
    done
    output=$(as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o "DPkg::Lock::Timeout=$apt_wait_s" install -y "$@" 2>&1) ||
        echo "$(hostname): apt-get install $*: $(last_line "$output")" >&2
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
    install_packages $apt_packages
}

cards() {  # how many NVIDIA cards the PCI bus has; it knows them before there is a driver
    local device count=0
    for device in "$pci"/*; do
        if [ "$(cat "$device/vendor" 2>/dev/null)" = 0x10de ]; then
            case $(cat "$device/class" 2>/dev/null) in 0x0300* | 0x0302*) count=$((count + 1)) ;; esac
        fi
    done
    echo $count
}

# grep reads to the end: with pipefail, a reader that stops at the first line can make the pipeline fail by SIGPIPE.
listed() { { nvidia-smi -L 2>/dev/null || true; } | grep -c '^GPU' || true; }

wait_for_driver() {
    local wanted until=$((SECONDS + driver_wait_s))
    wanted=$(cards)
    while [ "$(listed)" -lt "$wanted" ]; do
        [ "$SECONDS" -lt "$until" ] ||
            fail "$wanted NVIDIA cards and the driver lists $(listed) after $driver_wait_s s; choose an image with the driver, or see /var/log/cloud-init-output.log"
        sleep 2
    done
}

write_login() {  # the environment of `ray submit`, `ray exec` and Ray's workers
    local venv=$1 shared=$2 bucket=$3 cloud=$4 line='. ~/.regionstack.sh'
    cat >"$login.new" <<EOF
# Written by $root/cluster/setup/host.sh on every set-up.
export REGIONSTACK_SHARED='$shared'
export REGIONSTACK_CACHE="\${REGIONSTACK_CACHE:-$shared/cache}"
export REGIONSTACK_BUCKET='$bucket'
export REGIONSTACK_CLOUD='$cloud'
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
    local shared="" nfs="" bucket="" cloud=""
    while [ $# -gt 0 ]; do
        case $1 in --shared | --nfs | --bucket | --cloud) ;; *) fail "$1: no such option of host.sh" ;; esac
        [ $# -gt 1 ] || fail "$1 needs a value"
        case $1 in
            --shared) shared=${2%/} ;;
            --nfs) nfs=$2 ;;
            --bucket) bucket=$2 ;;
            --cloud) cloud=$2 ;;
        esac
        shift 2
    done
    case $shared in /*) ;; *) fail "--shared needs an absolute path, is '$shared'" ;; esac
    case $cloud in "" | aws | gcp) ;; *) fail "--cloud $cloud: must be aws or gcp" ;; esac
    if [ -n "$nfs" ]; then mount_nfs "$nfs" "$shared"; fi
    check_writable "$shared"
    install_system_packages
    if [ -n "$cloud" ]; then wait_for_driver; export CLOUD=$cloud; fi
    if [ -z "${GPU+given}" ] && [ "$(listed)" -gt 0 ]; then export GPU=1; fi
    export VENV=${VENV:-$root/.venv} REGIONSTACK_CACHE=${REGIONSTACK_CACHE:-$shared/cache}
    # A machine that joins later takes the packages from the shared folder, not from the internet.
    export PIP_CACHE_DIR=${PIP_CACHE_DIR:-$REGIONSTACK_CACHE/pip}
    "$root/cluster/setup/environment.sh"
    write_login "$VENV" "$shared" "$bucket" "$cloud"
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
