#!/bin/bash
# Makes the root of a machine and becomes its first process: boot KIND DISK BIN. It runs in new
# namespaces, so that all it mounts goes with it. KIND is systemd or sysv.
set -e
kind=$1 disk=$2 bin=$3
mkdir -p "$disk/upper" "$disk/work" "$disk/root"
root=$disk/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$disk/upper,workdir=$disk/work" "$root"
mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for node in null zero full random urandom tty; do
	: >"$root/dev/$node"
	mount --bind "/dev/$node" "$root/dev/$node"
done
mkdir "$root/dev/shm" "$root/dev/pts"
ln -s /proc/self/fd "$root/dev/fd"
ln -s fd/0 "$root/dev/stdin"
ln -s fd/1 "$root/dev/stdout"
ln -s fd/2 "$root/dev/stderr"
mount -t tmpfs tmpfs "$root/dev/shm"
mkdir -p "$root/usr/local/bin"
mount --bind "$bin" "$root/usr/local/bin"
[ "$kind" != systemd ] || mount -t cgroup2 cgroup "$root/sys/fs/cgroup"
cd "$root"
pivot_root . mnt
umount -l /mnt
if [ ! -e /machine ]; then
	# The first boot. Of the real host's own services none is started here.
	rm -rf /etc/systemd/system/* /lib/systemd/system/*.target.wants /etc/rc?.d/*
	find /lib/systemd/system-generators -type f ! -name postfix-instance-generator -delete
	: >/etc/fstab
	/usr/local/bin/set-up || { echo set-up failed; exit 1; }
	: >/machine
	sync
fi
: >/run/machine
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
if [ "$kind" = systemd ]; then
	exec env -i container=namespaces /lib/systemd/systemd --system --unit=multi-user.target --log-target=null --show-status=0 </dev/null
fi
ip link set lo up
RUNLEVEL=2 PREVLEVEL=N runlevel=2 previous=N /etc/init.d/rc 2 </dev/null
: >/run/booted
while :; do
	sleep 1000 &
	wait
done
