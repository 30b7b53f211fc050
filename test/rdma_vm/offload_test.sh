#!/usr/bin/env bash
# offload_test.sh BIN: a resource manager and a client in one guest, the executor in another, joined by a
# cable that RDMA goes over. Skipped (77) where no guest can run.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
rdma=$here/rdma.sh
bin=$1

"$rdma" check

work=$(mktemp -d /tmp/sublet-rig-XXXXXX) # The guest must see it: not in /run or /dev/shm.
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
mkdir "$work/out"
chmod 777 "$work/out"

# By which the managers and the client know each other.
"$bin/sublet" key new "$work/key" >/dev/null

# Two guests that spin share the two cores of this machine: some calls are all there is time for, and
# everything else takes seconds.
status=0
# shellcheck disable=SC2016 # for the guests' shells
"$rdma" run2 --timeout 120 --out "$work/out" --env BIN="$bin" --env SUBLET_LOG=debug \
  --env AWAIT="$here/../support/await.sh" --env SUBLET_TIMEOUT_MS=60000 --env SUBLET_KEY_FILE="$work/key" \
  --first '
    "$AWAIT" 60 test -s "$SUBLET_RDMA_OUT/manager" || exit 1
    exec "$BIN/sublet" executor-manager --node-name first --listen tcp:10.1.0.1:0 \
      --manager "$(cat "$SUBLET_RDMA_OUT/manager")"' \
  --second '
    "$BIN/sublet" resource-manager --listen tcp:10.1.0.2:0 --address-file "$SUBLET_RDMA_OUT/manager" &
    "$AWAIT" 60 test -s "$SUBLET_RDMA_OUT/manager" || exit 1
    SUBLET_MANAGER=$(cat "$SUBLET_RDMA_OUT/manager")
    export SUBLET_MANAGER SUBLET_NODE_NAME=second
    node_is_up() { "$BIN/sublet" nodes --output json | grep -q "\"state\": \"up\""; }
    export -f node_is_up
    "$AWAIT" 60 bash -c node_is_up || exit 1
    "$BIN/hello"' \
  >"$work/stdout" 2>"$work/stderr" || status=$?

cat "$work/stdout"
if ((status != 0)) || ! grep -q "Hello, world" "$work/stdout" ||
  ! grep -q "on node first: verbs at" "$work/stderr"; then
  echo "offload_test: ended with $status; there must be a greeting, and the debug log must say verbs" >&2
  cat "$work/stderr" >&2
  exit 1
fi
