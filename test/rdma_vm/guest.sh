# shellcheck shell=bash
# Starts and awaits guests. Sourced by rdma.sh.
# shellcheck disable=SC2034,SC2154 # what rdma.sh has set and what it reads
#
# STATES of a guest, seen by the files in its directory (see init.sh): starting → booted → status.
# LIMITS: boot_limit seconds to "booted", $timeout seconds from then to "status". Every process started
# here dies with this shell, however that ends; what then stays in $cache/run is removed by the next run.

boot_limit=120

# make_room: $room, a directory of this run only, locked as long as this shell lives.
make_room() {
  local old
  mkdir -p "$cache/run"
  for old in "$cache"/run/*; do
    [[ -e $old/.lock ]] || continue
    if flock -n "$old/.lock" true; then rm -rf "$old"; fi
  done
  room=$(mktemp -d "$cache/run/XXXXXX")
  exec 9>"$room/.lock"
  flock 9
  mkfifo "$room/never"
  exec 6<>"$room/never"
  trap 'end_run $?' EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
}

# Between two looks at something; unlike sleep no process, and signals end it.
pause() { read -r -t 0.05 -u 6 || true; }

processes=() # all that this shell has started and has to end

end_run() {
  trap '' HUP INT TERM
  if ((${#processes[@]})); then
    kill -KILL "${processes[@]}" 2>/dev/null || true
    wait "${processes[@]}" 2>/dev/null || true
  fi
  [[ -z ${terminal_settings:-} ]] || stty "$terminal_settings" <&7 || true
  rm -rf "$room"
  exit "$1"
}

# start COMMAND...: in the background, ending with this shell. Its process id is in $!. It has this
# function's standard input, for which the shell has to be asked.
start() {
  setpriv --pdeathsig KILL -- "$@" <&0 6>&- 9>&- &
  processes+=($!)
}

# write_command DIR COMMAND...: the script that the guest runs. Uses: environment, user, memlock, out.
write_command() {
  local dir=$1 name entry home
  shift
  {
    # What Linux gives to its first process is less than what people have.
    echo 'ulimit -Hn 1048576; ulimit -Sn 1024'
    [[ -z $memlock ]] || printf 'ulimit -l %q || exit 125\n' "$memlock"
    for name in $(compgen -e); do
      case $name in
        SUBLET_MANAGER | SUBLET_CONFIG | SUBLET_TEST_ROOM) ;; # of the host's own managers
        PATH | HOME | SHELL | LANG | LC_* | TZ | TERM | LD_LIBRARY_PATH | OMPI_* | \
          SUBLET_* | CTEST_* | GTEST_* | *SAN_OPTIONS) printf 'export %s=%q\n' "$name" "${!name}" ;;
      esac
    done
    printf 'export SUBLET_RDMA_GUEST=1 SUBLET_RDMA_OUT=%q\n' "$out"
    if [[ -n $user ]]; then
      home=$(getent passwd "$user" | cut -d: -f6)
      printf 'export USER=%q LOGNAME=%q HOME=%q\n' "$user" "$user" "$home"
    else
      echo 'export USER=root LOGNAME=root'
      echo 'export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1'
    fi
    for entry in "${environment[@]}"; do printf 'export %q\n' "$entry"; done
    printf 'cd %q || exit 125\n' "$PWD"
    echo -n 'exec '
    [[ -z $user ]] || printf 'setpriv --reuid=%q --regid=%q --init-groups ' "$user" "$(id -g "$user")"
    printf '%q ' "$@"
    echo
  } >"$dir/command.sh"
}

# start_guest NAME COMMAND...: its directory is $room/NAME, its QEMU's process id ${guest_pid[NAME]}.
# Uses: address, hosts, network (an array of QEMU's arguments), serial (likewise), wait_for_go, memory,
# smp, append, and what write_command does.
declare -A guest_pid
start_guest() {
  local name=$1 dir=$room/$1 rows=24 columns=80
  shift
  mkdir -p "$dir/job" "$out"
  [[ -z $tty ]] || read -r rows columns < <(stty size <&7)
  write_command "$dir/job" "$@"
  {
    printf '%s=%q\n' name "sublet-$name" address "$address" out "$out" tty "$tty" \
      rows "$rows" columns "$columns" wait_for_go "$wait_for_go" go_limit "$boot_limit"
    # For a shell that knows no $'...'.
    printf "hosts='%s'\n" "$hosts"
  } >"$dir/job/guest.conf"
  : >"$dir/job/out"
  : >"$dir/job/err"

  local share=security_model=none,multidevs=remap
  local qemu=(qemu-system-x86_64 -name "sublet-$name" -nodefaults -no-user-config -no-reboot
    -display none -vga none -accel "tcg,thread=multi" -cpu max -smp "$smp" -m "$memory"
    -kernel "$cache/kernel/vmlinuz" -initrd "$cache/initramfs.gz"
    -append "console=ttyS0 loglevel=6 panic=-1 $append"
    -serial "file:${dir//,/,,}/console" "${serial[@]}"
    -fsdev "local,id=host,path=/,readonly=on,$share" -device "virtio-9p-pci,fsdev=host,mount_tag=host"
    -fsdev "local,id=job,path=${dir//,/,,}/job,$share" -device "virtio-9p-pci,fsdev=job,mount_tag=job"
    -fsdev "local,id=out,path=${out//,/,,},$share" -device "virtio-9p-pci,fsdev=out,mount_tag=out"
    "${network[@]}")
  # In the room, so that the name of a socket there is short enough for one.
  pushd "$room" >/dev/null || exit
  if [[ -n $tty ]]; then
    start "${qemu[@]}" <&7 2>"$dir/qemu"
  else
    start "${qemu[@]}" </dev/null >"$dir/qemu" 2>&1
  fi
  guest_pid[$name]=$!
  popd >/dev/null || exit
}

# fail_boot NAME WHY
fail_boot() {
  local dir=$room/$1
  {
    echo "--- the end of the guest's console:"
    tr -d "\r" 2>/dev/null <"$dir/console" | tail -n 25
    if [[ -s $dir/qemu ]]; then
      echo "--- QEMU says:"
      tail -n 5 "$dir/qemu"
    fi
    echo "---"
  } >&2 || true
  say "$2"
  exit 125
}

# await_boot NAME
await_boot() {
  local deadline=$((SECONDS + boot_limit))
  until [[ -e $room/$1/job/booted ]]; do
    kill -0 "${guest_pid[$1]}" 2>/dev/null || fail_boot "$1" "the guest did not boot"
    ((SECONDS < deadline)) || fail_boot "$1" "the guest did not boot within $boot_limit s"
    pause
  done
}

# follow NAME: shows what the command writes, as it comes. The process ids are in $followers.
followers=()
follow() {
  local dir=$room/$1/job pid=${guest_pid[$1]}
  start tail -q -c +1 -s 0.05 -f --pid="$pid" "$dir/out" 2>/dev/null
  followers+=($!)
  start tail -q -c +1 -s 0.05 -f --pid="$pid" "$dir/err" >&2 2>/dev/null
  followers+=($!)
}

# follow_aside NAME: the same, but for the guest that does not count: all to standard error, marked.
follow_aside() {
  local dir=$room/$1/job
  # shellcheck disable=SC2016 # for that shell to expand
  start bash -c 'tail -q -n +1 -s 0.05 -f --pid="$1" "$2" "$3" 2>/dev/null | sed -u "s/^/$0: /" >&2' \
    "$1" "${guest_pid[$1]}" "$dir/out" "$dir/err"
  aside=$!
}

# await_end NAME: until the guest is off; its command's exit status is then in $status.
await_end() {
  local name=$1 follower deadline=$((SECONDS + timeout))
  while kill -0 "${guest_pid[$name]}" 2>/dev/null; do
    ((SECONDS < deadline)) || {
      say "still running after $timeout s (--timeout), so ended"
      exit 124
    }
    for follower in "${followers[@]}"; do
      # It outlives the guest, unless the reader of our output has gone.
      kill -0 "$follower" 2>/dev/null || ! kill -0 "${guest_pid[$name]}" 2>/dev/null || exit 141
    done
    pause
  done
  ((${#followers[@]} == 0)) || wait "${followers[@]}" || true
  [[ -s $room/$name/job/status ]] || fail_boot "$name" "the guest went off before the command had ended"
  status=$(<"$room/$name/job/status")
}
