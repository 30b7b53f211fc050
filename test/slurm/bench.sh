#!/usr/bin/env bash
# bench.sh --json FILE: what giving nodes back costs those who get them, and how soon an executor gives
# its first result, beside what Slurm itself takes, in turns. Run in a cluster by slurm.sh bench.
set -euo pipefail
# shellcheck source=test/slurm/testing.sh
source "$(dirname "${BASH_SOURCE[0]}")/testing.sh" "$@"

json=$2
preemptions=${SUBLET_BENCH_PREEMPTIONS:-20}
starts=${SUBLET_BENCH_STARTS:-11}

now() { date +%s%N; }
# median FILE: of the numbers in it, in seconds with 3 places (they are nanoseconds).
median() { sort -n "$1" | awk '{ v[NR] = $1 } END { printf "%.3f\n", (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2e9 }'; }
refusals() { grep -c "refused" "job-$job.out" || true; }
more_refusals() { (($(refusals) > before)); }
# Of all leases that have not ended; the caller has one worker.
leased_node() { sublet leases --output json | sed -n 's/^ *"\(c[0-9]*\)",\{0,1\}$/\1/p' | sort -u | paste -sd' '; }
moved() { [[ $(leased_node) == c[34] && $(leased_node) != "$node" ]]; }
running() { squeue --noheader --states=RUNNING --name="$1" | grep -q .; }

# start_normal NODE FILE: from the submission of a normal job to its first moment on NODE.
start_normal() {
  local from
  from=$(now)
  echo $(($(srun --partition=normal --nodelist="$1" --nodes=1 --ntasks=1 --exclusive --mpi=none date +%s%N) - from)) >>"$2"
}

# ---- First result of a call on a new executor, and srun hostname, in turns --------------------------
manager_job --nodelist=c6
for ((i = 0; i < starts; ++i)); do
  rm -f first stop
  from=$(now)
  srun --nodelist=c3 --nodes=1 --ntasks=1 --mpi=none hostname >/dev/null
  echo $(($(now) - from)) >>srun.ns

  before=$(refusals)
  slurm_caller --until stop --first first &
  caller=$!
  await "the caller asks" more_refusals || fail "the caller does not ask"
  from=$(now)
  srun --nodelist=c3 --nodes=1 --ntasks=1 --cpus-per-task=2 --mpi=none sublet executor-manager 2>>executor.err &
  executor=$!
  await "the first result is there" test -s first || fail "no result: $(<executor.err)"
  echo $(($(<first) - from)) >>first.ns
  touch stop
  wait "$caller"
  sublet drain c3 --time 2s >/dev/null
  wait "$executor"
done

# ---- A normal job's start when it preempts an executor in use, and an idle job, in turns -------------
rm -f stop
submit executor-manager --nodelist=c3
submit executor-manager --nodelist=c4
await "two executor managers are there" are_up 2 || fail "no executors"
srun --nodelist=c1 --nodes=1 --ntasks=1 --mpi=none slurm_caller --until stop --first called --json calls.json &
caller=$!
await "calls are under way" test -s called || fail "no calls"
for ((i = 0; i < preemptions; ++i)); do
  sbatch --parsable --job-name=sleeper --output=/dev/null --partition=harvest --nodelist=c5 --exclusive \
    --signal=B:TERM@60 --time=60 --wrap "exec tail -f /dev/null" >/dev/null
  await "the sleeper runs" running sleeper || fail "no sleeper"
  start_normal c5 sleep_start.ns

  # Only a node in use counts: the caller's one worker must be there, and on the other one afterwards.
  node=$(leased_node)
  [[ $node == c[34] ]] || fail "the caller's worker is on '$node' before preemption $i"
  start_normal "$node" executor_start.ns
  await "the caller has a worker elsewhere" moved || fail "the caller is still on '$(leased_node)'"
  submit executor-manager --nodelist="$node"
  await "the executor manager is back" are_up 2 || fail "no executors after preemption $i"
done
touch stop
wait "$caller" || fail "the caller has failed"

count() { sed -n "s/.*\"$1\":\([0-9]*\).*/\1/p" calls.json; }
sleep_start=$(median sleep_start.ns)
executor_start=$(median executor_start.ns)
srun_s=$(median srun.ns)
first_s=$(median first.ns)
cat >"$json" <<JSON
{"benchmark":"slurm","preemptions":$preemptions,"calls":$(count calls),"calls_right":$(count right),
 "calls_wrong":$(count wrong),"calls_lost":$(count lost),"calls_without_worker":$(count no_worker),
 "calls_without_end":$(count without_end),
 "normal_start_p50_s":$executor_start,"normal_start_sleep_p50_s":$sleep_start,
 "normal_start_extra_p50_s":$(awk "BEGIN { printf \"%.3f\", $executor_start - $sleep_start }"),
 "first_result_p50_s":$first_s,"srun_hostname_p50_s":$srun_s,
 "first_result_over_srun":$(awk "BEGIN { printf \"%.2f\", $first_s / $srun_s }")}
JSON
cat "$json"
scancel --user=root
nothing_left
