# shellcheck shell=bash
# The parts of a Slurm cluster on this machine, and waiting for what happens in it. Sourced by slurm.sh,
# which starts one, and by tests and benchmarks that run in one (slurm.sh run -- SCRIPT).
#
# The whole cluster lives in namespaces of its own (mount, pid, network, ...), so nothing of it can
# outlive them, and nothing meets another cluster. Its directory is a file system in memory, mounted
# there over Slurm's own. Each virtual node has a mount and a UTS namespace more: its own name, /tmp
# and /dev/shm.

cluster_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
cluster_build=${SUBLET_SLURM_BUILD:-$cluster_root/build/dev} # whose tests and programs
cluster=/var/lib/slurm              # Exists wherever Slurm is installed.
cluster_shared=$cluster/shared      # What all nodes see under the same name, as a parallel file system.
cluster_caller=${SUBLET_SLURM_CALLER:-$PWD} # Where somebody works; nodes see it even in /tmp.
cluster_nodes=${SUBLET_SLURM_NODES:-6}
cluster_cpus=2                      # of each node; all share the machine's own
cluster_patience=${SUBLET_SLURM_PATIENCE:-60} # seconds for what takes less than one when all is well

say() { printf 'slurm: %s\n' "$*" >&2; }
# What cannot work here is no failure of the tests: tests that end with 77 are skipped.
cannot() { say "$*"; exit 77; }
die() { say "$*"; exit 125; }

# The poll interval of all waits: reading from a pipe into which nobody writes.
exec {cluster_never}<> <(:)
pause() { read -r -t 0.05 -u "$cluster_never" || true; }

# await WHAT COMMAND...: until COMMAND succeeds; false, and says so, when that takes too long.
await() {
  local what=$1 deadline=$((SECONDS + cluster_patience))
  shift
  until "$@"; do
    if ((SECONDS >= deadline)); then
      say "waited $cluster_patience s in vain until $what"
      return 1
    fi
    pause
  done
}

# ---- The daemons ----------------------------------------------------------------------------------

# alive FILE: whether the process named in the pid file lives. The file may go at any moment.
alive() {
  local pid
  pid=$(cat "$1" 2>/dev/null) && [[ -n $pid ]] && kill -0 "$pid" 2>/dev/null
}
gone() { ! alive "$1"; }

cluster_address() { echo "10.77.0.$1"; } # of node number $1

# Slurm's daemons use loopback; Open MPI needs another interface.
cluster_network() {
  ip link set lo up
  ip link add sublet0 type veth peer name sublet1
  ip link set sublet0 up
  ip link set sublet1 up
  ip addr add 10.77.0.254/24 dev sublet0
  local i
  for ((i = 1; i <= cluster_nodes; ++i)); do ip addr add "$(cluster_address "$i")/24" dev sublet0; done
}

cluster_files() {
  mkdir -p "$cluster"/{etc,log,spool,state,run,munge}
  install -d -m 1777 "$cluster_shared"
  chmod 700 "$cluster/munge"
  head -c 1024 /dev/urandom >"$cluster/munge/key"
  chmod 400 "$cluster/munge/key"
  local i
  for ((i = 1; i <= cluster_nodes; ++i)); do mkdir "$cluster/spool/c$i"; done
  {
    printf '127.0.0.1 localhost\n10.77.0.254 login\n'
    for ((i = 1; i <= cluster_nodes; ++i)); do echo "$(cluster_address "$i") c$i"; done
  } >"$cluster/etc/hosts"
  : >"$cluster/etc/plugstack.conf"
  cat >"$cluster/etc/slurm.conf" <<CONF
ClusterName=sublet
SlurmctldHost=login(127.0.0.1)
SlurmctldPort=6817
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$cluster/munge/socket
StateSaveLocation=$cluster/state
SlurmctldPidFile=$cluster/run/slurmctld.pid
SlurmctldLogFile=$cluster/log/slurmctld.log
SlurmctldDebug=error
SlurmdDebug=error
SlurmdSpoolDir=$cluster/spool/%n
SlurmdPidFile=$cluster/run/%n.pid
SlurmdLogFile=$cluster/log/%n.log
TmpFS=/tmp
MailProg=/bin/true
PlugStackConfig=$cluster/etc/plugstack.conf
ProctrackType=proctrack/linuxproc
TaskPlugin=task/affinity
MpiDefault=none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=1,bf_interval=1
SlurmctldParameters=preempt_send_user_signal
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=1
MessageTimeout=3
ReturnToService=2
SlurmdTimeout=30
SlurmdParameters=config_overrides
CONF
  for ((i = 1; i <= cluster_nodes; ++i)); do
    echo "NodeName=c$i NodeAddr=$(cluster_address "$i") Port=$((6818 + i)) CPUs=$cluster_cpus Sockets=1" \
      "CoresPerSocket=$cluster_cpus ThreadsPerCore=1 RealMemory=2000 State=UNKNOWN"
  done >>"$cluster/etc/slurm.conf"
  cat >>"$cluster/etc/slurm.conf" <<CONF
PartitionName=normal Nodes=c[1-$cluster_nodes] Default=YES MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
PartitionName=harvest Nodes=c[1-$cluster_nodes] MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=CANCEL GraceTime=10
CONF
}

start_munged() {
  local dir=$cluster/munge
  munged --force --key-file="$dir/key" --socket="$dir/socket" --pid-file="$dir/pid" --log-file="$dir/log" \
    --seed-file="$dir/seed" --num-threads=2 &>"$cluster/log/munged.log" &&
    await "munged answers" munge -n -S "$dir/socket" -o /dev/null
}

stop_munged() {
  kill "$(<"$cluster/munge/pid")"
  await "munged has ended" gone "$cluster/munge/pid"
}

start_controller() {
  slurmctld -f "$cluster/etc/slurm.conf" &>>"$cluster/log/slurmctld.err" &&
    await "slurmctld answers" eval 'scontrol ping 2>/dev/null | grep -q "is UP"'
}

stop_controller() {
  kill "$(<"$cluster/run/slurmctld.pid")"
  await "slurmctld has ended" gone "$cluster/run/slurmctld.pid"
}

# start_node N: in namespaces of its own. /dev/shm and /tmp are not seen by others; what lies in /tmp and
# must be seen (the programs under test and the caller's directory) is bound back.
start_node() {
  # shellcheck disable=SC2016 # for the shell in the namespaces
  unshare --mount --uts --propagation unchanged bash -ec '
    node=$1 staging=$2; shift 2
    hostname "$node"
    mkdir -p "$staging"
    mount -t tmpfs -o mode=1777 "tmp-$node" "$staging"
    for directory in "$@"; do
      [[ $directory == /tmp/* ]] || continue
      mkdir -p "$staging/${directory#/tmp/}"
      mount --rbind "$directory" "$staging/${directory#/tmp/}"
    done
    mount --rbind "$staging" /tmp
    mount -t tmpfs -o mode=1777 "shm-$node" /dev/shm
    exec slurmd -f "$SLURM_CONF" -N "$node"' \
    bash "c$1" "$cluster/spool/tmp-c$1" "$cluster_root" "$cluster_build" "$cluster_caller" \
    &>>"$cluster/log/c$1.err" || {
    say "the slurmd of node c$1 does not start: $(tail -n 3 "$cluster/log/c$1.err" "$cluster/log/c$1.log" 2>&1)"
    return 1
  }
}

# node_processes N: the ids of all that runs on node N, its slurmd first.
node_processes() {
  local daemon namespace process
  daemon=$(<"$cluster/run/c$1.pid")
  namespace=$(readlink "/proc/$daemon/ns/mnt") || return 0
  echo "$daemon"
  for process in /proc/[0-9]*; do
    if [[ $(readlink "$process/ns/mnt" 2>/dev/null) == "$namespace" && $process != "/proc/$daemon" ]]; then
      echo "${process#/proc/}"
    fi
  done
}

# kill_node N: as if its power had failed: every process on it is killed, daemons and tasks. start_node
# brings it back.
kill_node() {
  local processes
  mapfile -t processes < <(node_processes "$1")
  kill -KILL "${processes[@]}" 2>/dev/null || true
  await "node c$1 is dead" gone "$cluster/run/c$1.pid"
}

nodes_idle() { [[ $(sinfo -h -N -p normal -t idle -o %N 2>/dev/null | wc -l) == "$cluster_nodes" ]]; }

# All of it; true when every node is idle.
cluster_start() {
  local i
  cluster_network || die "the cluster's network cannot be made: see above"
  cluster_files
  mount --bind "$cluster/etc/hosts" /etc/hosts
  start_munged || cannot "munged does not start here: $(tail -n 3 "$cluster/log/munged.log" "$cluster/munge/log" 2>&1);" \
    "Slurm cannot do without it. Is the package munge whole? (dpkg --verify munge)"
  start_controller || {
    cluster_logs
    die "slurmctld does not start: see above"
  }
  for ((i = 1; i <= cluster_nodes; ++i)); do start_node "$i" & done
  wait
  await "all $cluster_nodes nodes are idle" nodes_idle || {
    sinfo -N -l >&2
    cluster_logs
    die "the nodes do not come up: see above"
  }
}

# The ends of all logs, on stderr: when something has failed.
cluster_logs() {
  local log
  for log in "$cluster"/log/* "$cluster"/shared/*.out; do
    [[ -s $log ]] || continue
    printf -- '--- the end of %s:\n' "${log##*/}" >&2
    tail -n 15 "$log" >&2
  done
}

# ---- Jobs -----------------------------------------------------------------------------------------

# job_field ID NAME: a field of scontrol's, for instance JobState, ExitCode, NodeList, StartTime.
job_field() { scontrol -o show job "$1" 2>/dev/null | tr ' ' '\n' | sed -n "s/^$2=//p" | head -n 1; }
job_state() { job_field "$1" JobState; }
job_is() { # ID STATE...
  local state is
  is=$(job_state "$1")
  for state in "${@:2}"; do [[ $is != "$state" ]] || return 0; done
  return 1
}
# await_job ID STATE...: until it is in one of these states.
await_job() {
  await "job $1 is ${*:2}" job_is "$@" || { say "it is $(job_state "$1") ($(job_field "$1" Reason))"; return 1; }
}
await_job_end() { await_job "$1" COMPLETED FAILED CANCELLED TIMEOUT PREEMPTED NODE_FAIL OUT_OF_MEMORY; }
no_jobs() { [[ -z $(squeue -h 2>/dev/null) ]]; }
# No job, and every node as at the start.
await_quiet() { await "all jobs have gone" no_jobs && await "all nodes are idle" nodes_idle; }
