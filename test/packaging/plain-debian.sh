#!/bin/bash
# A Debian without a service manager, in namespaces of its own: the program behind plain-debian.ts.
#
#   plain-debian.sh outside ROOT PLACE SIZE
#
# ROOT is an unpacked Debian that is only read; its disk is a file system of SIZE in memory, mounted at PLACE.
set -euo pipefail
stage=$1 root=$2 place=$3 size=$4

if [[ $stage == outside ]]; then
  exec unshare --mount --propagation private --pid --ipc --uts --net --fork --kill-child=SIGKILL \
    -- "${BASH_SOURCE[0]}" inside "$root" "$place" "$size"
fi

mount -t tmpfs -o "size=$size,mode=755" disk "$place"
cd "$place"
mkdir disk work mnt
mount -t overlay machine -o "lowerdir=$root,upperdir=$place/disk,workdir=$place/work" mnt
cd mnt
mount -t proc -o nosuid,nodev,noexec proc proc
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs sys
mount -t tmpfs -o mode=755,nosuid,nodev run run
mount -t tmpfs -o mode=1777,nosuid,nodev tmp tmp
# Nodes of its own, never those of the host.
mount -t tmpfs -o mode=755,nosuid dev dev
node() { mknod -m "$2" "dev/$1" "$3" "$4" "$5"; }
node null 666 c 1 3
node zero 666 c 1 5
node random 666 c 1 8
node urandom 666 c 1 9
node tty 666 c 5 0
node loop-control 660 c 10 237
for i in {0..63}; do node "loop$i" 660 b 7 "$i"; done
ln -s /proc/self/fd dev/fd
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys

mkdir .host
pivot_root . .host
umount -l /.host
rmdir /.host
echo ready
# As an init does: children of whoever ended are taken over and reaped.
while :; do sleep 1d & wait || true; done
