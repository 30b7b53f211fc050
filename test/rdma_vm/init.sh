#!/bin/busybox sh
# shellcheck shell=dash
# The guest's first process, in the initramfs that kernel.sh packs.
#
# PROTOCOL with guest.sh, over the 9p share "job" (a directory of the host that only this run uses):
#   guest.conf   host → guest   sh assignments: name, address, out (a path), tty, rows, columns, hosts,
#                               wait_for_go, go_limit (seconds)
#   command.sh   host → guest   what to run, for bash
#   booted       guest → host   the device is up; made before anything else runs
#   go           host → guest   awaited after "booted" if guest.conf says wait_for_go=1, for go_limit
#   out, err     guest → host   what the command writes, as it comes
#   status       guest → host   the command's exit status; the guest then switches itself off
# A guest that goes off without "status" has failed; why is on its console.
#
# The host's root file system, read only over 9p, is the lower layer of the guest's root; what the
# command writes goes to a tmpfs above it, except below $out, which is shared.
# shellcheck disable=SC2154 # guest.conf sets them

export PATH=/bin
/bin/busybox --install -s /bin

power_off() {
  sync
  echo o >/proc/sysrq-trigger
  sleep 60 # tidy-allow: until the power is off
}

fail() {
  echo "sublet-rdma: $*" >/dev/console
  power_off
}

share() { # TAG PLACE OPTIONS
  mount -t 9p -o "trans=virtio,version=9p2000.L,msize=262144,$3" "$1" "$2" || fail "cannot mount the share $1"
}

uptime_s() {
  read -r uptime _ </proc/uptime
  echo "${uptime%.*}"
}

# No event of the host's files reaches a guest over 9p, so it looks again and again; between two looks it
# reads from a pipe into which nobody writes.
await_go() {
  mkfifo /never
  exec 3<>/never
  deadline=$(($(uptime_s) + go_limit))
  until [ -e /job/go ]; do
    [ "$(uptime_s)" -lt "$deadline" ] || fail "the host has not said go within $go_limit s"
    # shellcheck disable=SC3045 # busybox knows read -t
    read -r -t 0.05 _ <&3 || true
  done
  exec 3<&-
}

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
echo 1 >/proc/sys/kernel/sysrq

while read -r module; do
  insmod "/modules/$module" || fail "cannot load the module $module"
done </modules/order

share job /job cache=none
# shellcheck disable=SC1091,SC2154
. /job/guest.conf

# cache=loose: nobody changes these files meanwhile, or it does not matter.
share host /lower ro,cache=loose
mount -t tmpfs -o mode=755,size=90% tmpfs /upper
mkdir /upper/files /upper/work
mount -t overlay -o lowerdir=/lower,upperdir=/upper/files,workdir=/upper/work overlay /root ||
  fail "cannot mount the root file system"
mount -t proc proc /root/proc
mount -t sysfs sysfs /root/sys
mount -t devtmpfs devtmpfs /root/dev
mkdir -p /root/dev/pts /root/dev/shm
ln -s /proc/self/fd /root/dev/fd
ln -s /proc/self/fd/0 /root/dev/stdin
ln -s /proc/self/fd/1 /root/dev/stdout
ln -s /proc/self/fd/2 /root/dev/stderr
mount -t devpts -o mode=620,ptmxmode=666 devpts /root/dev/pts
mount -t tmpfs -o mode=1777 tmpfs /root/dev/shm
mount -t tmpfs -o mode=755 tmpfs /root/run
mkdir -p "/root$out"
share out "/root$out" cache=none

# The root becomes that of the mount namespace, or no program could make a user namespace. This
# shell keeps the old one: absolute paths lead into the initramfs, and "." is the new root.
cd /root || fail "no root"
mount -o move . / || fail "cannot change the root"

hostname "$name"
printf '127.0.0.1 localhost\n::1 localhost\n%s' "$hosts" >etc/hosts
ip link set lo up
ip addr add "$address" dev eth0 || fail "cannot set the address"
ip link set eth0 up
chroot . rdma link add rxe0 type rxe netdev eth0 || fail "cannot add the RDMA device"
[ "$(cat /sys/class/infiniband/rxe0/ports/1/state)" = "4: ACTIVE" ] || fail "the RDMA port is down"

mkdir run/sublet-rdma
cp /job/command.sh run/sublet-rdma/command.sh
: >/job/booted
[ "$wait_for_go" = 0 ] || await_go

if [ -n "$tty" ]; then
  stty -F "/dev/$tty" rows "$rows" columns "$columns"
  setsid -c chroot . /bin/bash /run/sublet-rdma/command.sh <>"/dev/$tty" >&0 2>&1
  status=$?
else
  # Through pipes, because programs may open /dev/stdout anew, which would cut a file.
  mkfifo -m 666 /out_pipe /err_pipe
  cat /out_pipe >/job/out &
  out_pid=$!
  cat /err_pipe >/job/err &
  err_pid=$!
  setsid chroot . /bin/bash /run/sublet-rdma/command.sh </dev/null >/out_pipe 2>/err_pipe
  status=$?
  # What it leaves behind would keep the pipes open.
  for process in /proc/[0-9]*; do
    pid=${process#/proc/}
    case $pid in
      1 | "$out_pid" | "$err_pid") ;;
      *) [ -z "$(readlink "$process/exe")" ] || kill -KILL "$pid" ;;
    esac
  done 2>/dev/null
  wait "$out_pid" "$err_pid"
fi
echo "$status" >/job/status
power_off
