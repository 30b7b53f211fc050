#!/usr/bin/env bash
# run_clean.sh COMMAND [ARGS]
#
# Runs a test's command in a room of its own: no manager and no configuration of the user or of another
# test is found there. Fails when the command fails, and when it leaves a process or a socket behind:
# every process it started is known by SUBLET_TEST_ROOM in its environment.
set -euo pipefail

patience=30 # seconds for what it started to end

room=$(mktemp -d "${TMPDIR:-/tmp}/sublet-test-XXXXXX")
trap 'rm -rf "$room"' EXIT
environment=(SUBLET_TEST_ROOM="$room" XDG_RUNTIME_DIR="$room" XDG_CONFIG_HOME="$room")
if ((EUID == 0)); then
  environment+=(OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1)
fi

pids_left() {
  local file
  for file in $(grep -lsz "^SUBLET_TEST_ROOM=$room\$" /proc/[0-9]*/environ || true); do
    file=${file#/proc/}
    echo "${file%/environ}"
  done
}

code=0
env -u SUBLET_MANAGER -u SUBLET_CONFIG "${environment[@]}" "$@" || code=$?

deadline=$((SECONDS + patience))
for pid in $(pids_left); do
  left=$((deadline - SECONDS))
  ((left > 0)) || break
  timeout "$left" tail --pid="$pid" --sleep-interval=0.02 -f /dev/null || break
done
pids=$(pids_left)
if [[ -n $pids ]]; then
  echo "left behind after $patience s:" >&2
  for pid in $pids; do
    printf '  %s %s\n' "$pid" "$(tr '\0' ' ' <"/proc/$pid/cmdline" || true)" >&2
  done
  # shellcheck disable=SC2086
  kill -KILL $pids 2>/dev/null || true
  code=1
fi
sockets=$(find "$room" -type s)
if [[ -n $sockets ]]; then
  echo "sockets left behind: $sockets" >&2
  code=1
fi
exit "$code"
