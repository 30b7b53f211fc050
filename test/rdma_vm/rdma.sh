#!/usr/bin/env bash
# Runs commands on a real RDMA driver, in a virtual machine made of this host's own file system.
# See README.md; people call it as ./dev rdma.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
root=$(cd "$here/../.." && pwd -P)
cache=$root/build/rdma_vm
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
TXT
}

say() { printf 'rdma: %s\n' "$*" >&2; }
die() { say "$*"; exit 125; }

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

# One guest, alone: its device talks to itself.
alone() {
  network=(-nic "user,model=virtio-net-pci,restrict=on")
  address=10.0.2.15/24
  hosts=$'10.0.2.15 sublet-guest\n'
}

command_run() {
  parse_options "$@"
  ((${#rest[@]})) || die "run what? (./dev rdma run -- COMMAND...)"
  prepare_kernel
  make_room
  alone
  start_guest guest "${rest[@]}"
  await_boot guest
  follow guest
  await_end guest
  exit "$status"
}

command=${1:-help}
(($# == 0)) || shift
case $command in
  run) "command_$command" "$@" ;;
  help | -h | --help) usage ;;
  *)
    say "no such command: $command"
    usage >&2
    exit 2
    ;;
esac
