#!/usr/bin/env bash
# Starts a real Slurm cluster on this machine, runs something in it, and stops it. See README.md; people
# call it as ./dev slurm.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
PATH=$PATH:/usr/sbin:/sbin # where Debian has slurmctld, for people too

# shellcheck source=test/slurm/lib.sh
source "$here/lib.sh"
# shellcheck source=test/support/command.sh
source "$cluster_root/test/support/command.sh"

usage() {
  cat <<'USAGE'
usage: ./dev slurm run -- COMMAND...
       ./dev slurm shell
       ./dev slurm test [CTEST ARGS]
       ./dev slurm bench --json FILE
       ./dev slurm check

  run    starts a Slurm cluster of 6 virtual nodes, runs COMMAND beside it, as on a login node, and stops
         the cluster. COMMAND's output and exit status come back. 77: there can be no cluster here;
         125: it did not come up.
  shell  a shell beside such a cluster: sinfo, sbatch, srun, salloc, mpirun and sublet work in it
  test   the tests labelled slurm, each in a cluster of its own
  bench  preemption and first results; figures in FILE
  check  starts a cluster and stops it: whether that works here

Nodes are c1 to c6, with 2 cores each (the machine's own, shared by all); partitions are normal and
harvest. All nodes see this machine's files, but have a /tmp and /dev/shm of their own: share files in
$SUBLET_SLURM_SHARED, or below the current directory. What is in the former is gone afterwards.
Several clusters may run at once. Nothing of one is left when it has ended, however it ended.

  SUBLET_SLURM_NODES=N     so many nodes, not 6
  SUBLET_SLURM_PATIENCE=S  seconds to wait for something before it counts as failed (60)
USAGE
}

# What a cluster needs, or the reason why there can be none.
need_tools() {
  local tool missing=()
  ((EUID == 0)) || cannot "only root can make the namespaces that a cluster's nodes live in, and this is" \
    "user $(id -un): run it as root (sudo ./dev slurm ...)"
  for tool in slurmctld slurmd srun munged munge unshare setpriv ip; do
    command -v "$tool" >/dev/null || missing+=("$tool")
  done
  ((${#missing[@]} == 0)) || cannot "not installed: ${missing[*]}. On Debian: apt-get install slurmctld slurmd" \
    "slurm-client munge iproute2 (or ./dev slurm check, which does it)"
  [[ -d $cluster ]] || cannot "there is no $cluster, Slurm's directory on Debian, to mount the cluster's own over"
  local why
  why=$("${namespaces[@]}" mount -t tmpfs cluster "$cluster" 2>&1) ||
    cannot "no namespaces can be made here ($why): in a container, allow it CAP_SYS_ADMIN"
}

namespaces=(setpriv --pdeathsig KILL unshare --mount --uts --ipc --pid --net --fork --kill-child=KILL
  --mount-proc --propagation private)

# in_cluster COMMAND...: runs it beside a cluster; its exit status is in $status. The cluster ends with the
# first process of its pid namespace, and that one with this script, whatever ends this.
in_cluster() {
  local child
  need_tools
  if [[ -t 0 ]]; then # A shell there must be able to have the terminal.
    status=0
    "${namespaces[@]}" "$here/slurm.sh" inside "$@" || status=$?
    return
  fi
  "${namespaces[@]}" "$here/slurm.sh" inside "$@" <&0 &
  child=$!
  trap 'kill -KILL "$child" 2>/dev/null; wait "$child"; exit 143' TERM
  trap 'kill -KILL "$child" 2>/dev/null; wait "$child"; exit 130' INT
  trap 'kill -KILL "$child" 2>/dev/null; wait "$child"; exit 129' HUP
  status=0
  wait "$child" || status=$?
  trap - TERM INT HUP
}

# The first process of the namespaces: starts the cluster, runs the command, and ends all by ending.
command_inside() {
  hostname login
  mount -t tmpfs -o mode=755 cluster "$cluster"
  mount -t tmpfs -o mode=1777 shm /dev/shm
  export SLURM_CONF=$cluster/etc/slurm.conf MUNGE_SOCKET=$cluster/munge/socket SUBLET_MUNGE_SOCKET=$cluster/munge/socket
  export SUBLET_SLURM_SHARED=$cluster_shared SUBLET_SLURM_BUILD=$cluster_build SUBLET_SLURM_CALLER=$PWD
  export PATH=$cluster_build/bin:$PATH
  # Ranks share cores: one that waits must leave its core to the one it waits for.
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_mpi_yield_when_idle=1
  # By its default, a tree, Slurm's PMIx lets ranks out of MPI_Init's fence before others are in it.
  export SLURM_PMIX_FENCE=ring
  # Neither a manager nor a job of the world outside has a part in this.
  unset SUBLET_MANAGER SUBLET_MANAGER_DIR SUBLET_NODE_NAME XDG_RUNTIME_DIR "${!SLURM_JOB@}"
  cluster_start
  "$@"
}

command_run() {
  [[ ${1:-} != -- ]] || shift
  (($#)) || die "run what? (./dev slurm run -- COMMAND...)"
  in_cluster "$@"
  exit "$status"
}

command_shell() {
  want_terminal "./dev slurm run -- bash SCRIPT"
  say "exit ends the shell and the cluster; sinfo shows the nodes"
  in_cluster "${SHELL:-/bin/bash}"
  exit "$status"
}

command_check() {
  in_cluster true
  exit "$status"
}

command_test() {
  [[ -e $cluster_build/CTestTestfile.cmake ]] || die "no tests in $cluster_build: ./dev build"
  exec ctest --test-dir "$cluster_build" -L '^slurm$' --no-tests=error --output-on-failure "$@"
}

command_bench() {
  local bench=$here/bench.sh
  take_json "$@"
  [[ -n $json && ${#rest[@]} == 0 ]] || die "bench wants --json FILE"
  in_cluster "$bench" --json "$json"
  exit "$status"
}

dispatch "run shell test bench check inside" "$@"
