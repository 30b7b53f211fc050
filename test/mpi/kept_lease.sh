#!/usr/bin/env bash
# kept_lease.sh SUBLET PARTS COMMAND [ARGS]
#
# Runs COMMAND, the ranks of an MPI job, in a lease of so many parts that `sublet lease` keeps: each rank gets a
# part of it, and the resource manager grants nothing else.
# Run by run_clean.sh, which says where, and sees to it that nothing is left.
set -euo pipefail

sublet=$1 parts=$2
shift 2
room=$SUBLET_TEST_ROOM
here=${BASH_SOURCE[0]%/*}
unset SUBLET_MANAGER_DIR
export SUBLET_ALLOW_PRIVATE=false XDG_RUNTIME_DIR=$room
chmod 700 "$room"

managers=()
trap 'kill -TERM "${managers[@]}"; wait "${managers[@]}" || true' EXIT
"$sublet" resource-manager --listen "unix:$room/manager" --address-file "$room/address" &
managers+=("$!")
bash "$here/../support/await.sh" 30 test -s "$room/address"
SUBLET_MANAGER=$(<"$room/address")
export SUBLET_MANAGER
# As many as the lease is to have: there is none left for a second one.
"$sublet" executor-manager --listen "unix:$room/node" --address-file "$room/n1" --node-name n1 \
  --cores 1 --oversubscribe "$parts" &
managers+=("$!")
bash "$here/../support/await.sh" 30 test -s "$room/n1"
"$sublet" lease --cores 1 --parts "$parts" --wait 30s --file "$room/lease" -- "$@"
