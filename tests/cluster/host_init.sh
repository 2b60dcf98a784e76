#!/usr/bin/env bash
# First process of a host of the rack (see rack.py): its own /tmp, /run, /srv, /dev/shm, home, /etc/hosts and name.
#   host_init.sh NAME FOLDER SHARED KEEP...
# FOLDER holds what stays when the host is killed: home/, etc-hosts, ssh/. KEEP: folders that stay visible.
set -euo pipefail
name=$1 folder=$2 shared=$3
shift 3
hidden="/run /srv /home /root /tmp"

mount --make-rprivate /
new=$(mktemp -d "$folder/new.XXXX")
for place in $hidden; do
    mkdir -p "$new$place"
    if [ "$place" = /root ]; then mount --bind "$folder/home" "$new/root"; else mount -t tmpfs tmpfs "$new$place"; fi
done
chmod 1777 "$new/tmp"
mkdir -p "$new/srv/regionstack" "$new/run/sshd"
mount --bind "$shared" "$new/srv/regionstack"
cp -r "$folder/ssh" "$new/run/ssh"
chmod 600 "$new"/run/ssh/host_key
for keep in "$@"; do
    for place in $hidden; do
        case $keep in
            "$place"/*) mkdir -p "$new$keep" && mount --bind "$keep" "$new$keep" ;;
        esac
    done
done
mount --bind "$folder/etc-hosts" /etc/hosts
mount -t tmpfs tmpfs /dev/shm
# By relative paths, since the folder itself disappears behind one of these.
cd "$new"
for place in $hidden; do mount --no-canonicalize --rbind ".$place" "$place"; done
cd /
hostname "$name"
ip link set lo up
/usr/sbin/sshd -D -e -f /run/ssh/sshd_config >>/run/ssh/log 2>&1 </dev/null &
wait
