#!/usr/bin/env bash
# Runs commands on a real RDMA driver, in a virtual machine made of this host's own file system.
# See README.md; people call it as ./dev rdma.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
root=$(cd "$here/../.." && pwd -P)
cache=$root/build/rdma_vm
build=${SUBLET_RDMA_BUILD:-$root/build/dev} # whose tests and programs
PATH=$PATH:/usr/sbin:/sbin # where Debian has depmod, for people too

usage() {
  cat <<'TXT'
usage: ./dev rdma run [OPTIONS] -- COMMAND...
       ./dev rdma run2 [OPTIONS] --first COMMAND --second COMMAND
       ./dev rdma shell [OPTIONS]
       ./dev rdma test [CTEST ARGS]
       ./dev rdma bench --json FILE

  run    boots a guest that has the RDMA device rxe0 (Soft-RoCE, address 10.0.2.15) and this host's files, and
         runs COMMAND in it, in this directory. Its output and exit status come back.
         125: the guest failed; 124: the time limit.
  run2   boots two guests joined by a network, 10.1.0.1 ("first") and 10.1.0.2 ("second"), and runs a
         shell command in each. The second's end ends the first; its exit status counts.
  shell  a shell in a guest

  --env NAME[=VALUE]  sets or passes an environment variable
  --user NAME         runs the command as this user, not as root
  --memlock KIB       its locked-memory limit (root has none)
  --out DIR           what the command writes below this directory stays (build/rdma_vm/out); all else it
                      writes is gone with the guest. The command finds the name in SUBLET_RDMA_OUT
  --timeout SECONDS   ends it, once booted, after this time (300)
  --memory SIZE       of the guest (2G)
  --smp N             its processors (2)
  --append ARGS       more arguments for its kernel

Results of test and bench are in build/rdma_vm/out, too. How to try a program of your own: docs/how-to/rdma.md.
TXT
}

say() { printf 'rdma: %s\n' "$*" >&2; }
die() { say "$*"; exit 125; }
# What can run no guest at all is no failure of the tests: "check" says so by 77.
cannot=125
unavailable() { say "$*"; exit "$cannot"; }

# shellcheck source=test/support/command.sh
source "$root/test/support/command.sh"
# shellcheck source=test/rdma_vm/kernel.sh
source "$here/kernel.sh"
# shellcheck source=test/rdma_vm/guest.sh
source "$here/guest.sh"

# What an option sets, or what start_guest wants to know.
environment=() user='' memlock='' out=$cache/out timeout=300 memory=2G smp=2 append=''
first='' second='' tty='' serial=() network=() hosts='' address='' wait_for_go=0

# parse_options ARGS...: what is no option is in $rest.
parse_options() {
  rest=()
  while (($#)); do
    case $1 in
      --env | --user | --memlock | --out | --timeout | --memory | --smp | --append | --first | --second)
        (($# >= 2)) || die "$1 wants a value"
        ;;&
      --env)
        if [[ $2 == *=* ]]; then
          environment+=("$2")
        elif [[ -v $2 ]]; then
          environment+=("$2=${!2}")
        fi
        shift
        ;;
      --user) user=$2; shift ;;
      --memlock) memlock=$2; shift ;;
      --out) out=$2; shift ;;
      --timeout) timeout=$2; shift ;;
      --memory) memory=$2; shift ;;
      --smp) smp=$2; shift ;;
      --append) append=$2; shift ;;
      --first) first=$2; shift ;;
      --second) second=$2; shift ;;
      --help | -h) usage; exit 0 ;;
      --) shift; rest=("$@"); break ;;
      -*) die "no such option: $1 (see ./dev rdma help)" ;;
      *) rest=("$@"); break ;;
    esac
    shift
  done
  if [[ -n $user ]]; then id -u "$user" >/dev/null || die "--user: no such user"; fi
  [[ $timeout =~ ^[0-9]+$ ]] || die "--timeout wants whole seconds, not '$timeout'"
  mkdir -p "$out" && out=$(cd "$out" && pwd -P)
}

# Gets ready for guests; one process at a time.
prepare() {
  need_tools
  mkdir -p "$cache" 2>/dev/null || true
  [[ -w $cache ]] || die "cannot write into $cache"
  exec 8>"$cache/.lock"
  flock 8
  prepare_kernel
  make_room
  exec 8>&-
}

# One guest, alone: its device talks to itself.
alone() {
  network=(-nic "user,model=virtio-net-pci,restrict=on")
  address=10.0.2.15/24
  hosts=$'10.0.2.15 sublet-guest\n'
}

# run_alone COMMAND...
run_alone() {
  prepare
  alone
  start_guest guest "$@"
  await_boot guest
  follow guest
  await_end guest
}

command_run() {
  parse_options "$@"
  ((${#rest[@]})) || die "run what? (./dev rdma run -- COMMAND...)"
  run_alone "${rest[@]}"
  exit "$status"
}

command_run2() {
  parse_options "$@"
  [[ -n $first && -n $second && ${#rest[@]} == 0 ]] ||
    die "run2 wants --first COMMAND and --second COMMAND, each one word for the shell"
  prepare
  wait_for_go=1
  hosts=$'10.1.0.1 sublet-first\n10.1.0.2 sublet-second\n'
  local device=virtio-net-pci,netdev=net,mac=52:54:00:12:34
  address=10.1.0.1/24
  network=(-netdev "stream,id=net,server=on,addr.type=unix,addr.path=net" -device "$device:01")
  start_guest first bash -c "$first"
  local deadline=$((SECONDS + boot_limit))
  until [[ -S $room/net ]]; do
    kill -0 "${guest_pid[first]}" 2>/dev/null || fail_boot first "the first guest did not start"
    ((SECONDS < deadline)) || fail_boot first "the first guest did not start within $boot_limit s"
    pause
  done
  address=10.1.0.2/24
  network=(-netdev "stream,id=net,server=off,addr.type=unix,addr.path=net" -device "$device:02")
  start_guest second bash -c "$second"
  await_boot first
  await_boot second
  : >"$room/first/job/go"
  : >"$room/second/job/go"
  follow_aside first
  follow second
  await_end second
  kill -TERM "${guest_pid[first]}" 2>/dev/null || true
  wait "$aside" || true
  exit "$status"
}

command_shell() {
  parse_options "$@"
  want_terminal "./dev rdma run -- bash SCRIPT"
  ((${#rest[@]})) || rest=("${SHELL:-/bin/bash}")
  exec 7<&0
  terminal_settings=$(stty -g <&7)
  timeout=1000000
  prepare
  alone
  tty=ttyS1
  serial=(-chardev "stdio,id=tty,signal=off" -serial chardev:tty)
  say "booting; exit ends the shell and the guest"
  start_guest guest "${rest[@]}"
  await_boot guest
  await_end guest
  exit "$status"
}

# The tests labelled rdma_guest, which ctest lists only in a guest, in one boot.
command_test() {
  timeout=1500
  parse_options --
  [[ -e $build/CTestTestfile.cmake ]] || die "no tests in $build: ./dev build"
  # Nobody else uses the guest's network.
  environment+=(SUBLET_TEST_CUT_LINK=1)
  # ctest asks new test programs for their tests: here, where that is quick.
  SUBLET_RDMA_GUEST=1 ctest --test-dir "$build" -N -L rdma_guest >/dev/null
  run_alone ctest --test-dir "$build" -L rdma_guest --no-tests=error --output-on-failure \
    --output-junit "$out/rdma_guest.xml" "$@"
  exit "$status"
}

# One file with the reports of both modes' latency and of connecting. ARGS go to the latencies.
command_bench() {
  take_json "$@"
  ((${#rest[@]})) || rest=(--sizes "8,4096,65536")
  set -- "${rest[@]}"
  timeout=900
  parse_options --
  [[ -x $build/bin/sublet ]] || die "no $build/bin/sublet: ./dev build"
  : "${json:=$out/latency-verbs.json}"
  # shellcheck disable=SC2016 # for the guest's shell to expand
  run_alone bash -c 'sublet=$1; shift; code=0
    for mode in hot warm; do
      "$sublet" bench latency --transport verbs --mode "$mode" \
        --json "$SUBLET_RDMA_OUT/latency-verbs-$mode.json" "$@" || code=$?
    done
    "$sublet" bench connect --transport verbs --json "$SUBLET_RDMA_OUT/connect-verbs.json" || code=$?
    exit "$code"' bash "$build/bin/sublet" "$@"
  ((status == 0)) || exit "$status"
  {
    printf '{"benchmark":"latency","transport":"verbs","reports":[\n'
    cat "$out/latency-verbs-hot.json"
    printf ',\n'
    cat "$out/latency-verbs-warm.json"
    printf ',\n'
    cat "$out/connect-verbs.json"
    printf ']}\n'
  } >"$json"
}

# Whether guests can run here: fetches what is missing; says why not.
command_check() {
  cannot=77
  prepare
}

dispatch "run run2 shell test bench check" "$@"
