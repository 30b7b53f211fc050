# shellcheck shell=bash
# For tests that run beside a cluster (slurm.sh run -- TEST CASE): sourced first. They work in the shared
# directory, and what they leave there is gone with the cluster.

# shellcheck source=test/slurm/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[[ -n ${SUBLET_SLURM_SHARED:-} ]] || die "runs beside a cluster: test/slurm/slurm.sh run -- $0 $*"
cd "$SUBLET_SLURM_SHARED" || exit 1
templates=$cluster_root/slurm/templates
export SUBLET_MANAGER_DIR=$SUBLET_SLURM_SHARED/managers
export SUBLET_MANAGER_CONFIG=/dev/null XDG_CONFIG_HOME=$SUBLET_SLURM_SHARED/none

fail() {
  say "$*"
  squeue >&2 || true
  cluster_logs
  say "failed: $*"
  exit 1
}

# expect WHAT HAVE WANT
expect() { [[ $2 == "$3" ]] || fail "$1 is '$2', not '$3'"; }
# expect_in FILE TEXT...: each text stands in it.
expect_in() {
  local text
  for text in "${@:2}"; do
    grep -qF -- "$text" "$1" || fail "'$text' is not in $1: $(<"$1")"
  done
}

# submit TEMPLATE [SBATCH OPTIONS] [-- PROGRAM ARGUMENTS]: the job's id is in $job, its output in job-$job.out.
submit() {
  local name=$1 options=()
  shift
  while (($#)) && [[ $1 != -- ]]; do options+=("$1"); shift; done
  [[ ${1:-} != -- ]] || shift
  # shellcheck disable=SC2034 # for the caller
  job=$(sbatch --parsable --output=job-%j.out "${options[@]}" "$templates/$name.sbatch" "$@") ||
    fail "sbatch does not take $name"
}

# completed JOB: it ends, and well.
completed() {
  await_job_end "$1" || fail "job $1 does not end"
  [[ $(job_state "$1") == COMPLETED ]] || fail "job $1 is $(job_state "$1"), exit code $(job_field "$1" ExitCode)"
}
# failed_with JOB CODE: it ends by itself with this exit code.
failed_with() {
  await_job_end "$1" || fail "job $1 does not end"
  expect "the exit code of job $1" "$(job_field "$1" ExitCode)" "$2:0"
}

nodes_up() { sublet nodes --timeout-ms 2000 --output json 2>/dev/null | grep -c '"state": *"up"'; }
are_up() { [[ $(nodes_up) == "$1" ]]; }

# manager_job [SBATCH OPTIONS]: the resource manager, as a job. SUBLET_MANAGER_DIR is where all find it.
manager_job() {
  submit resource-manager "$@"
  await "the resource manager has written its address" test -s "$SUBLET_MANAGER_DIR/manager.address" ||
    fail "no resource manager"
}

portfolio=$PWD/portfolio.bin
make_portfolio() { option_generator --output "$portfolio" --seed 7 --count 20000 >/dev/null; }

# placement JSON: of a run of black_scholes, a line "RANK'S_NODE WORKER'S_NODE TRANSPORT" for each worker.
placement() {
  awk '/^      "node":/ { rank = $2 } /^          "node":/ { worker = $2 }
    /^          "transport":/ { print rank, worker, $2 }' "$1" | tr -d '",'
}

# Every executor, manager and application of ours has ended. They are all in this pid namespace.
programs_left() {
  local process
  for process in /proc/[0-9]*; do
    case $(readlink "$process/exe" 2>/dev/null) in
      "$cluster_build"/*) printf '%s ' "${process#/proc/} $(tr '\0' ' ' <"$process/cmdline" 2>/dev/null);" ;;
    esac
  done
}
none_left() { [[ -z $(programs_left) ]]; }
nothing_left() {
  await_quiet || fail "jobs or nodes are not back"
  await "none of our processes is left" none_left || fail "left over: $(programs_left)"
}
