#!/usr/bin/env bash
# demo.sh BUILD_DIR
#
# The whole of Sublet on this machine: a resource manager, an executor manager, and an MPI application
# that leases workers from them and prices a million options, in turns alone and together with the
# workers. Called by `./dev demo`. Stops what it starts, also when something fails.
set -euo pipefail

build=$(cd "${1:?usage: demo.sh BUILD_DIR}" && pwd -P)
options=1000000
cores=$(nproc)
# A worker for each rank: two and two where there are four cores. With fewer, one rank leaves one free.
ranks=$((cores < 4 ? 1 : 2))
patience=20 # seconds for a daemon to come up, and to end

say() { printf '\033[1m==> %s\033[0m\n' "$*"; }
[[ -t 1 ]] || say() { printf '==> %s\n' "$*"; }
die() {
  printf 'demo: %s\n' "$*" >&2
  exit 1
}

room=$(mktemp -d "${TMPDIR:-/tmp}/sublet-demo-XXXXXX")
# Every process started from here carries the room's name; that is how the last check finds them.
export SUBLET_DEMO_ROOM=$room
export SUBLET_MANAGER=unix:$room/manager.sock
# Neither the user's configuration nor a manager that already runs has a part in this.
export XDG_CONFIG_HOME=$room XDG_RUNTIME_DIR=$room SUBLET_MANAGER_CONFIG=$room/manager.conf
: >"$SUBLET_MANAGER_CONFIG"
unset SUBLET_CONFIG
if ((EUID == 0)); then
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
daemons=()
failed=
exec {never}<> <(:) # nobody writes into it: reading from it pauses between two looks

# start_daemon NAME ARGS...: in the background, its output in a file.
start_daemon() {
  local name=$1
  shift
  "$build/bin/sublet" "$name" "$@" >"$room/$name.log" 2>&1 &
  daemons+=("$!")
}

# ends PID: true once the process has ended, false when that takes too long.
ends() { timeout "$patience" tail --pid="$1" --sleep-interval=0.02 -f /dev/null; }

stop_daemons() {
  local i pid
  for ((i = ${#daemons[@]} - 1; i >= 0; --i)); do
    pid=${daemons[i]}
    if ! kill -TERM "$pid" 2>/dev/null; then
      echo "demo: a manager (process $pid) has ended before it was asked to" >&2
      failed=1
      continue
    fi
    if ! ends "$pid"; then
      echo "demo: process $pid did not end when asked to; killing it" >&2
      kill -KILL "$pid" 2>/dev/null || true
    fi
    wait "$pid" 2>/dev/null || true
  done
  daemons=()
}

# Processes that carry the room's name, this script and its own helpers aside.
left_behind() {
  local file pid
  for file in $(env -u SUBLET_DEMO_ROOM grep -lsz "^SUBLET_DEMO_ROOM=$room\$" /proc/[0-9]*/environ); do
    pid=${file#/proc/}
    echo "${pid%/environ}"
  done
}

clean_up() {
  local code=$? pid
  trap - EXIT INT TERM
  stop_daemons
  [[ -z $failed || $code != 0 ]] || code=1
  if ((code != 0)); then
    for log in "$room"/*.log; do
      [[ -s $log ]] || continue
      echo "demo: the last lines of ${log##*/}:" >&2
      tail -n 20 "$log" >&2
    done
  fi
  for pid in $(left_behind); do
    [[ $pid != "$$" ]] || continue
    if ! ends "$pid"; then
      echo "demo: left behind and killed: $(tr '\0' ' ' <"/proc/$pid/cmdline")" >&2
      kill -KILL "$pid" 2>/dev/null || true
      code=1
    fi
  done
  if [[ -n $(find "$room" -type s) ]]; then
    echo "demo: sockets left behind: $(find "$room" -type s)" >&2
    code=1
  fi
  rm -rf "$room"
  ((code != 0)) || say "Everything that was started has ended; nothing is left."
  exit "$code"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# waits until the executor manager has joined: the node is listed.
await_node() {
  local deadline=$((SECONDS + patience)) pid
  until "$build/bin/sublet" nodes --output json 2>"$room/nodes.log" | grep -q '"state": *"up"'; do
    for pid in "${daemons[@]}"; do
      kill -0 "$pid" 2>/dev/null || die "a manager has ended already"
    done
    ((SECONDS < deadline)) || die "no node has joined within $patience s"
    read -r -t 0.05 -u "$never" || true
  done
}

# The processors that are left when mpirun has given each rank a core, as a list; empty when there are
# not enough for a core for each worker, too.
idle_processors() {
  local allowed
  allowed=$(sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' /proc/self/status)
  lscpu -p=CPU,CORE,SOCKET | grep -v '^#' | sort -t, -k3n -k2n -k1n |
    awk -F, -v ranks="$ranks" -v allowed="$allowed" '
      BEGIN {
        n = split(allowed, parts, ",")
        for (i = 1; i <= n; ++i) {
          m = split(parts[i], ends, "-")
          for (cpu = ends[1] + 0; cpu <= ends[m] + 0; ++cpu) mine[cpu]
        }
      }
      !($1 in mine) { next }
      !(($3, $2) in order) { order[$3, $2] = cores++ }
      order[$3, $2] >= ranks { list = list (list == "" ? "" : ",") $1 }
      END { if (cores >= 2 * ranks) print list }'
}

for program in sublet option_generator black_scholes; do
  [[ -x $build/bin/$program ]] || die "$build/bin/$program is missing: build first (./dev build)"
done

say "A portfolio of options, written to disk"
"$build/bin/option_generator" --output "$room/portfolio.bin" --seed 2024 --count "$options" |
  sed "s|$room/||"

say "A resource manager, and an executor manager that offers cores of this machine"
idle=$(idle_processors)
offer=()
if [[ -n $idle ]]; then
  offer=(--cpuset "$idle")
elif ((cores < ranks)); then
  offer=(--oversubscribe "$ranks")
fi
start_daemon resource-manager --listen "$SUBLET_MANAGER"
start_daemon executor-manager --manager "$SUBLET_MANAGER" "${offer[@]}"
await_node
"$build/bin/sublet" nodes

who="$ranks ranks, a leased worker for each"
((ranks > 1)) || who="1 rank, a leased worker for it"
say "An MPI application ($who): it prices each step alone and offloading, in turns"
binding=(--bind-to core)
if ((cores < ranks)); then binding=(--bind-to none); fi
mpirun --oversubscribe "${binding[@]}" -n "$ranks" "$build/bin/black_scholes" \
  "$room/portfolio.bin" --offload-share auto --steps 20 \
  --trace "$build/demo-timeline.json" --json "$build/demo-summary.json"
grep -q '"right": true' "$build/demo-summary.json" || die "the prices are wrong"
