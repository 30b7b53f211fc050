#!/usr/bin/env bash
# kill_rank.sh RANK MPIEXEC [ARGS] VICTIM
#
# Kills one rank of a running, offloading MPI application without warning, or sends it another signal
# ($SUBLET_TEST_SIGNAL; SIGUSR1 makes it call MPI_Abort). The job has to end, and
# with it every executor and manager, every abstract socket and every memfd they had. Run by
# run_clean.sh, which says where.
set -euo pipefail

victim=$1
shift
room=$SUBLET_TEST_ROOM

fail() {
  echo "kill_rank: $*" >&2
  exit 1
}

pids_of_room() {
  local file
  for file in $(grep -lsz "^SUBLET_TEST_ROOM=$room\$" /proc/[0-9]*/environ || true); do
    file=${file#/proc/}
    echo "${file%/environ}"
  done
}

# Names of the abstract sockets that the given processes have open.
abstract_sockets() {
  local inodes
  inodes=$(for pid in "$@"; do
    find "/proc/$pid/fd" -lname 'socket:*' -printf '%l\n' 2>/dev/null || true
  done | tr -dc '0-9\n' | sort -u)
  awk -v inodes="$inodes" 'BEGIN { n = split(inodes, list, "\n"); for (i = 1; i <= n; ++i) own[list[i]] }
    ($7 in own) && $8 ~ /^@/ { print $8 }' /proc/net/unix | sort -u
}

mkfifo "$room/ready"
"$@" "$room/ready" &
mpirun=$!
# Line N is the process id of rank N.
mapfile -t ranks < <(timeout 60 cat "$room/ready")
((${#ranks[@]} > victim)) || fail "the application did not start"

# Not this script's own processes: those of the job and what the ranks have started.
mapfile -t all < <(pids_of_room | grep -vxF -e $$ -e "$BASHPID")
mapfile -t sockets < <(abstract_sockets "${all[@]}")
executors=$(for pid in "${all[@]}"; do cat "/proc/$pid/comm" 2>/dev/null || true; done)
[[ $executors == *sublet* ]] || fail "no manager or executor runs, so there is nothing to look at"
((${#sockets[@]} > 0)) || fail "the executors listen nowhere, so there is nothing to look at"

kill -"${SUBLET_TEST_SIGNAL:-KILL}" "${ranks[victim]}"

timeout 30 tail --pid="$mpirun" --sleep-interval=0.02 -f /dev/null || fail "mpirun does not end"
if wait "$mpirun"; then fail "mpirun reports success though rank $victim was killed"; fi

for pid in "${all[@]}"; do
  timeout 30 tail --pid="$pid" --sleep-interval=0.02 -f /dev/null ||
    fail "still running: $(tr '\0' ' ' <"/proc/$pid/cmdline")"
done
for name in "${sockets[@]}"; do
  if grep -qF "$name" /proc/net/unix; then fail "the abstract socket $name is still there"; fi
done
