#!/usr/bin/env bash
# node_leaves.sh SUBLET VANISHING_NODE MPIEXEC [ARGS] PROGRAM
#
# A node leaves when the job has been granted its cores and has claimed none of them: the ranks get
# workers on another node, and no core stays reserved for the first attempt.
# Run by run_clean.sh, which says where, and sees to it that nothing is left.
set -euo pipefail

sublet=$1 vanishing_node=$2
shift 2
room=$SUBLET_TEST_ROOM
export SUBLET_MANAGER=unix:$room/manager.sock
cores=4 # of the node that stays: as many as there are ranks

fail() {
  echo "node_leaves: $*" >&2
  exit 1
}

# await_nodes N: until so many nodes are listed.
await_nodes() {
  local deadline=$((SECONDS + 30))
  until [[ $("$sublet" nodes --output json 2>/dev/null | grep -c '"state": "up"') == "$1" ]]; do
    ((SECONDS < deadline)) || fail "not $1 nodes: $("$sublet" nodes)"
  done
}

"$sublet" resource-manager --listen "$SUBLET_MANAGER" &
managers=("$!")
trap 'kill -TERM "${managers[@]}"; wait "${managers[@]}" || true' EXIT
"$sublet" executor-manager --oversubscribe "$cores" --cores 1 &
managers+=("$!")
await_nodes 1
"$vanishing_node" "$SUBLET_MANAGER" >"$room/vanishing.out" &
vanishing=$!
await_nodes 2

"$@" || fail "the job fails"
wait "$vanishing" || fail "the node that was to leave has not been granted anything"
await_nodes 1
