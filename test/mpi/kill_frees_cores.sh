#!/usr/bin/env bash
# kill_frees_cores.sh SUBLET MPIEXEC [ARGS] VICTIM
#
# With managers that outlive the job: killing one of its ranks without warning, or sending it another
# signal ($SUBLET_TEST_SIGNAL; SIGUSR1 makes it call MPI_Abort), gives all its cores back.
# Run by run_clean.sh, which says where, and sees to it that nothing is left.
set -euo pipefail

sublet=$1
shift
room=$SUBLET_TEST_ROOM
export SUBLET_MANAGER=unix:$room/manager.sock
cores=8

fail() {
  echo "kill_frees_cores: $*" >&2
  exit 1
}

# await_free N: until so many cores are listed as free.
await_free() {
  local deadline=$((SECONDS + 30))
  until "$sublet" nodes --output json 2>/dev/null | grep -q "\"free_cores\": $1,"; do
    ((SECONDS < deadline)) || fail "not $1 cores free: $("$sublet" nodes --output json)"
  done
}

"$sublet" resource-manager --listen "$SUBLET_MANAGER" &
managers=("$!")
trap 'kill -TERM "${managers[@]}"; wait "${managers[@]}" || true' EXIT
"$sublet" executor-manager --oversubscribe "$cores" --cores 1 &
managers+=("$!")
await_free "$cores"

mkfifo "$room/ready"
"$@" "$room/ready" &
mpirun=$!
mapfile -t ranks < <(timeout 60 cat "$room/ready")
((${#ranks[@]} > 1)) || fail "the application did not start"
await_free $((cores - ${#ranks[@]}))

kill -"${SUBLET_TEST_SIGNAL:-KILL}" "${ranks[1]}"
timeout 30 tail --pid="$mpirun" --sleep-interval=0.02 -f /dev/null || fail "mpirun does not end"
if wait "$mpirun"; then fail "mpirun reports success though a rank was killed"; fi
await_free "$cores"
