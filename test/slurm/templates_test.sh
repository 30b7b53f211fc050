#!/usr/bin/env bash
# templates_test.sh CASE: the batch scripts of slurm/templates, run beside a cluster by slurm.sh.
set -euo pipefail
# shellcheck source=test/slurm/testing.sh
source "$(dirname "${BASH_SOURCE[0]}")/testing.sh" "$@"

# Slurm takes each as it stands, and the command prints it as it stands.
test_accepted() {
  local file name
  for file in "$templates"/*.sbatch; do
    name=$(basename "$file" .sbatch)
    sbatch --test-only "$file" program 2>test_only || fail "sbatch --test-only does not take $name: $(<test_only)"
    sublet slurm template "$name" | cmp - "$file" || fail "sublet slurm template $name prints something else"
    sublet slurm template | grep -qs "^$name .*[a-z]" || fail "sublet slurm template does not list $name"
  done
}

# A resource manager, executor managers that are preempted by a normal job, and an application that uses
# them from other nodes.
test_harvest() {
  local manager
  make_portfolio
  manager_job --nodelist=c6
  manager=$job
  submit executor-manager --array=1-2 --exclude=c[1-3],c6
  await "two executor managers are there" are_up 2 || fail "no executors"
  completed "$(sbatch --parsable --output=application.out --nodelist=c[1-2] --nodes=2 --ntasks-per-node=2 \
    --wrap "srun --mpi=pmix black_scholes '$portfolio' --offload-share 0.5 --steps 2 --json summary.json")"
  expect_in summary.json '"right": true' '"failed_calls": 0'
  expect "where workers are and how they are reached" "$(placement summary.json | cut -d' ' -f3 | sort | uniq -c | tr -s ' ')" " 4 tcp"

  # The nodes are wanted: told by Slurm, the executor managers leave.
  srun --partition=normal --nodes=2 --nodelist=c[4-5] --exclusive hostname >hosts || fail "the normal job does not run"
  expect "where the normal job ran" "$(sort hosts | tr '\n' ' ')" "c4 c5 "
  await "the executor managers have left" are_up 0 || fail "an executor manager is still there"
  # Slurm tells every process of the step, and it is the executor manager's to end the others.
  if grep -h "executor-manager.*error:" job-*.out; then fail "an executor manager did not end in order"; fi
  scancel "$manager"
  await_job_end "$manager" || fail "the resource manager does not end"
  await "the resource manager has removed its address" test ! -e "$SUBLET_MANAGER_DIR/manager.address" ||
    fail "the resource manager leaves its address"
  nothing_left
}

test_own_executors() {
  local launch
  make_portfolio
  for launch in "srun --het-group=0 --mpi=pmix" "mpirun --bind-to none"; do
    rm -f summary.json
    SUBLET_LAUNCH=$launch submit own-executors -- \
      black_scholes "$portfolio" --offload-share 0.5 --steps 2 --json summary.json
    completed "$job"
    expect_in summary.json '"right": true' '"failed_calls": 0'
    expect "the ranks' nodes" "$(placement summary.json | cut -d' ' -f1 | sort | uniq -c | tr -s ' \n' ' ')" " 2 c1 2 c2 "
    expect "the workers' nodes" "$(placement summary.json | cut -d' ' -f2 | sort | uniq -c | tr -s ' \n' ' ')" " 2 c3 2 c4 "
    expect "the transport" "$(placement summary.json | cut -d' ' -f3 | sort -u)" tcp
    nothing_left
    expect "what is left in the directory" "$(find . -name 'sublet-*')" ""
  done
}

test_spare_cores() {
  local launch
  make_portfolio
  for launch in "srun --overlap --mpi=pmix" "mpirun --bind-to core"; do
    rm -f summary.json
    SUBLET_LAUNCH=$launch submit spare-cores -- \
      black_scholes "$portfolio" --offload-share 0.5 --steps 2 --json summary.json
    completed "$job"
    expect_in summary.json '"right": true' '"failed_calls": 0'
    # Each rank has a worker on its own node's last core.
    expect "where ranks and workers are" "$(placement summary.json | sort | tr '\n' ';')" "c1 c1 shm;c2 c2 shm;"
    expect "the workers' cores" "$(grep '^          "cpuset"' summary.json | sort -u | tr -dc 0-9)" 1
    nothing_left
    expect "what is left in the directory" "$(find . -name 'sublet-*')" ""
  done
}

test_mpirun_bench() {
  make_portfolio
  manager_job --nodelist=c6
  submit executor-manager --array=1-2 --exclude=c[1-3],c6
  await "two executor managers are there" are_up 2 || fail "no executors"
  SUBLET_BENCH_RUNS=2 submit mpirun-bench --nodelist=c[1-2] -- \
    black_scholes "$portfolio" --offload-share 1 --steps 1 --json summary.json
  completed "$job"
  expect_in summary.json '"right": true'
  expect "lines of figures" "$(grep -c '^[12],[0-9]*\.[0-9]*,0,4,"c\[1-2\]"$' "sublet-bench-$job.csv")" 2
  scancel --user=root
  nothing_left
}

"test_$1"
