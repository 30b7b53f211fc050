#!/usr/bin/env bash
# Runs in the guest: its RDMA device does what the transport will ask of it. No Sublet in here, so
# when this fails the rig is broken.
set -euo pipefail
address=10.0.2.15

fail() { echo "device_test: $*" >&2; exit 1; }

# await_listener: until someone listens for RDMA connections.
await_listener() {
  local tries
  for ((tries = 0; tries < 200; ++tries)); do
    [[ $(rdma resource show cm_id) != *LISTEN* ]] || return 0
    read -rt 0.05 <> <(:) || true
  done
  fail "the server does not listen"
}

rping -s -a "$address" -C 10 &
server=$!
await_listener
rping -c -a "$address" -C 10 || fail "rping failed"
wait "$server" || true # It reports being disconnected as a failure.

ib_write_lat -R -s 8 -n 200 >/dev/null &
server=$!
await_listener
ib_write_lat -R -s 8 -n 200 "$address" || fail "ib_write_lat failed"
wait "$server" || fail "ib_write_lat's server failed"

# What the tests rely on beyond the device.
[[ $(hostname) == sublet-guest ]] || fail "no host name"
unshare --user --map-root-user true || fail "no user namespaces"
[[ -w /dev/shm && -w /tmp ]] || fail "no place for temporary files"
