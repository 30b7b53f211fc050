#!/usr/bin/env bash
# dashboard.sh BUILD [SECONDS]: a resource manager with a page, six nodes and three users who lease and call,
# until Ctrl-C or for so long. Run it as ./dev dashboard.
set -euo pipefail
build=$1
seconds=${2:-}
directory=$(mktemp -d "${TMPDIR:-/tmp}/sublet-dashboard.XXXXXX")
chmod 0755 "$directory"
pids=()

end() {
  trap - EXIT INT TERM
  ((${#pids[@]} == 0)) || kill "${pids[@]}" 2>/dev/null || true
  wait || true
  rm -rf "$directory"
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

start() {
  local name=$1
  shift
  "$@" >"$directory/$name.log" 2>&1 </dev/null &
  pids+=($!)
}

# await FILE WHAT: until the file is there and has something in it.
await() {
  local left=300
  until [[ -s $1 ]]; do
    ((left-- > 0)) || { cat "$directory"/*.log >&2; echo "dashboard: $2 does not start" >&2; exit 1; }
    read -rt 0.1 <> <(:) || true
  done
}

export XDG_RUNTIME_DIR=$directory SUBLET_LOG=info SUBLET_MANAGER_CONFIG=/dev/null
mkdir -m 0755 "$directory/run"
(umask 077 && head -c 32 /dev/urandom | base64 >"$directory/token")
start resource-manager "$build/bin/sublet" resource-manager --listen "unix:$directory/run/manager.sock" \
  --address-file "$directory/address" --state-dir "$directory/state" --http 127.0.0.1:0 \
  --http-token-file "$directory/token" --http-address-file "$directory/page"
await "$directory/address" "the resource manager"
SUBLET_MANAGER=$(<"$directory/address")
export SUBLET_MANAGER
for node in 1 2 3 4 5 6; do
  SUBLET_NODE_NAME=node$node start "node$node" "$build/bin/sublet" executor-manager --node-name "node$node" \
    --cores 1 --oversubscribe 16 --memory 1GiB
done
users=('' '' '')
((EUID != 0)) || users=(61001 61002 61003)
for i in 0 1 2; do
  # shellcheck disable=SC2086 # no user: no word
  SUBLET_NODE_NAME=login start "user$i" "$build/bin/dashboard_load" "$build/lib/libload_functions.so" \
    "$i" ${users[i]}
done

printf 'The page:  %s\nThe token: %s\n' "$(<"$directory/page")" "$(<"$directory/token")"
echo 'Ctrl-C ends it.'
if [[ -n $seconds ]]; then
  read -rt "$seconds" <> <(:) || true
else
  wait "${pids[0]}"
fi
