#!/bin/bash
# systemd as PID 1 of a Debian root, in namespaces of its own: the program behind systemd-container.ts.
#
#   systemd-container.sh outside CGROUP ROOT PLACE
#
# CGROUP is a cgroup2 group made for it, ROOT an unpacked Debian that is only read, PLACE a folder on a file system
# that can hold overlay uppers: the machine's disk is PLACE/disk, its state tree PLACE/state.
set -euo pipefail
stage=$1 cgroup=$2 root=$3 place=$4

if [[ $stage == outside ]]; then
  echo $BASHPID >"$cgroup/cgroup.procs"
  exec unshare --mount --propagation private --pid --ipc --uts --net --cgroup --fork --kill-child=SIGKILL \
    -- "${BASH_SOURCE[0]}" inside "$cgroup" "$root" "$place"
fi

# After a kill the kernel still lets go of the last life; with an index it refuses a disk that is in use.
disk="lowerdir=$root,upperdir=$place/disk,workdir=$place/work,index=on"
for try in {1..200}; do
  mount -t overlay machine -o "$disk" "$place/mnt" 2>"$place/said" && break
  ((try < 200)) || { cat "$place/said"; exit 1; }
  sleep 0.05
done
cd "$place/mnt"
mount -t proc -o nosuid,nodev,noexec proc proc
# Only this network namespace makes the mount possible; nothing in it may be written.
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs sys
mount -t tmpfs -o mode=755,nosuid,nodev run run
mount -t tmpfs -o mode=1777,nosuid,nodev tmp tmp

# Nodes of its own, never bind mounts of the host's: systemd changes mode and owner of its console.
mount -t tmpfs -o mode=755,nosuid dev dev
node() { mknod -m "$2" "dev/$1" "$3" "$4" "$5"; }
node null 666 c 1 3
node zero 666 c 1 5
node full 666 c 1 7
node random 666 c 1 8
node urandom 666 c 1 9
node tty 666 c 5 0
node console 600 c 1 3
node loop-control 660 c 10 237
for i in {0..63}; do node "loop$i" 660 b 7 "$i"; done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
mount -t tmpfs -o mode=1777,nosuid,nodev shm dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd

# What is not of a namespace can be read but not set.
for knob in proc/sys proc/sysrq-trigger proc/irq proc/bus; do
  [[ -e $knob ]] || continue
  mount --bind "$knob" "$knob"
  mount -o remount,bind,ro,nosuid,nodev,noexec "$knob"
done
# Users may mount a /proc of their own only where one without such covers exists. Nobody reaches this one: it is hidden.
mkdir -p run/host/proc
mount -t proc -o nosuid,nodev,noexec proc run/host/proc
mount -t tmpfs -o mode=755,ro,nosuid,nodev,noexec hidden run/host
mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 sys/fs/cgroup

# The state tree is no overlay: it can hold the uppers of slots, as a disk of its own would.
mkdir -p var/lib/persona
[[ ! -d $place/state ]] || mount --bind "$place/state" var/lib/persona

mkdir -p .host
pivot_root . .host
umount -l /.host
rmdir /.host
# Without the rights to set the clock, load modules, touch ports or the audit of the host.
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb \
  setpriv --bounding-set=-sys_module,-sys_rawio,-sys_time,-syslog,-wake_alarm,-block_suspend,-audit_control,-audit_read,-mac_admin,-mac_override,-sys_pacct,-sys_boot \
  /lib/systemd/systemd --system --log-target=journal --show-status=no systemd.unit=multi-user.target
