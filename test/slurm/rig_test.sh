#!/usr/bin/env bash
# rig_test.sh CASE: the cluster itself: comes up, leaves nothing, says what is wrong. Skipped (77) where
# there can be none.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
script=$here/slurm.sh

"$script" check

# shellcheck source=test/slurm/lib.sh
source "$here/lib.sh"
# shellcheck source=test/support/rig.sh
source "$here/../support/rig.sh"
# Every process of a cluster that this test starts carries it.
export SUBLET_RIG_TEST=$work

# run ARGS: slurm.sh, as rig does.
run() { rig "$script" "$@"; }
# A child that nobody has waited for yet has ended all the same.
ended() { [[ $(ps -o stat= -p "$1") != [^Z]* ]]; }

# Processes of our clusters, this script and its own helpers aside.
processes_left() {
  local file
  for file in $(env -u SUBLET_RIG_TEST grep -lsz "^SUBLET_RIG_TEST=$work\$" /proc/[0-9]*/environ); do
    file=${file#/proc/}
    file=${file%/environ}
    [[ $(ps -o comm= -p "$file") != rig_test.sh ]] || continue
    echo "$file"
  done
}
no_process() { [[ -z $(processes_left) ]]; }
# The mounts seen here, Slurm's directory and the network's interfaces.
world() {
  cat /proc/self/mountinfo
  find "$cluster" /dev/shm -path '*[sS]lurm*'
  ls /sys/class/net
}
nothing_left() {
  await "no process of the cluster is left" no_process || fail "left: $(ps -o pid,args -p "$(processes_left | paste -sd,)")"
  world | diff before - >difference || fail "left behind: $(<difference)"
}

test_start() {
  run run -- bash -c '
    sinfo -h -o "%P %D %T" && srun -N6 hostname | sort && srun -N2 -n4 --mpi=pmix printenv PMIX_RANK | sort
    salloc --nodelist=c[1-2] --ntasks-per-node=1 mpirun --bind-to none hostname | sort
    echo err >&2
    exit 7'
  expect "the exit status" "$code" 7
  expect "what it says" "$(<stdout)" "normal* 6 idle
harvest 6 idle
$(printf 'c%d\n' 1 2 3 4 5 6)
$(printf '%d\n' 0 1 2 3)
c1
c2"
  # Each node has its own name, /tmp and /dev/shm, and sees the others' names and the shared files.
  # shellcheck disable=SC2016 # for the nodes' shells
  run run -- bash -c '
    cd "$SUBLET_SLURM_SHARED"
    srun --nodelist=c[1-2] bash -c "touch /tmp/mine-\$(hostname) /dev/shm/mine-\$(hostname) shared-\$(hostname)"
    srun --nodelist=c[1-2] bash -c "ls /tmp /dev/shm | grep mine | sort -u; getent hosts c6" | sort
    ls shared-*'
  expect "what the nodes see" "$(tr -s ' ' <stdout)" "10.77.0.6 c6
10.77.0.6 c6
mine-c1
mine-c2
shared-c1
shared-c2"
  nothing_left
}

# Two at once, as when two tests run.
test_beside() {
  local first
  "$script" run -- srun -N6 hostname >first 2>&1 &
  first=$!
  run run -- srun -N6 hostname
  expect "the second's exit status" "$code" 0
  await "the first has ended" ended "$first" || fail "the first does not end: $(<first)"
  wait "$first" || fail "the first fails: $(<first)"
  expect "nodes of the first" "$(sort first)" "$(sort stdout)"
  nothing_left
}

# However it ends.
test_killed() {
  local signal pid
  for signal in TERM INT KILL; do
    : >stdout
    # With the default handling of INT, which background jobs of a script ignore.
    env --default-signal=INT "$script" run -- bash -c 'srun -N2 tail -f /dev/null & srun -N6 --overlap true && echo up; wait' \
      >stdout 2>stderr </dev/null &
    pid=$!
    await "the cluster is up" grep -q up stdout || fail "the cluster does not come up"
    [[ $(processes_left | wc -l) -gt 12 ]] || fail "this test does not see the cluster's processes"
    kill "-$signal" "$pid"
    await "SIG$signal has ended it" ended "$pid" || fail "SIG$signal does not end it"
    wait "$pid" 2>/dev/null && fail "it reports success after SIG$signal"
    nothing_left
  done
}

# A part that does not start: the others are stopped, and it is named.
test_faults() {
  local part want
  mkdir bin
  for part in munged slurmctld slurmd; do
    rm -f bin/*
    printf '#!/bin/sh\necho "%s is broken" >&2\nexit 1\n' "$part" >"bin/$part"
    chmod +x "bin/$part"
    want=125
    [[ $part != munged ]] || want=77
    SUBLET_SLURM_PATIENCE=1 PATH=$work/bin:$PATH run run -- true
    expect "the exit status without $part" "$code" "$want"
    grep -q "$part is broken" stderr || fail "what $part said is not shown"
    nothing_left
  done
  setpriv --reuid nobody --clear-groups "$script" check 2>stderr && fail "works without root"
  grep -q "only root .*sudo" stderr || fail "does not say that it wants root"
  run frobnicate
  expect "the exit status of a wrong command" "$code" 2
  run bench
  expect "the exit status of a benchmark without a file" "$code" 125
  grep -q "bench wants --json FILE" stderr || fail "does not say that a benchmark wants a file"
}

# A node that dies and comes back; daemons that are stopped and started: what other tests build on.
test_nodes() {
  # shellcheck disable=SC2016 # for the shell beside the cluster
  run run -- bash -ec '
    source "$0/lib.sh"
    cd "$SUBLET_SLURM_SHARED"
    job=$(sbatch --parsable -N1 --nodelist=c3 --wrap "touch begun; exec tail -f /dev/null")
    await "the job has begun" test -e begun
    [[ $(node_processes 3 | wc -l) -ge 3 ]]
    kill_node 3
    ! pgrep -x tail
    start_node 3
    scancel $job
    await_quiet
    stop_controller; start_controller; await_quiet
    stop_munged; ! srun hostname 2>without; start_munged
    srun -N6 true' "$here"
  expect "the exit status" "$code" 0
  nothing_left
}

world >before
"test_$1"
