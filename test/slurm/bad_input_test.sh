#!/usr/bin/env bash
# bad_input_test.sh CASE: what people get wrong, or what is broken: each says what was found and what to
# do. Run beside a cluster by slurm.sh.
set -euo pipefail
# shellcheck source=test/slurm/testing.sh
source "$(dirname "${BASH_SOURCE[0]}")/testing.sh" "$@"

# A manager outside of Slurm, where that is in the way.
manager_here() {
  mkdir -p "$SUBLET_MANAGER_DIR"
  sublet resource-manager --address-dir "$SUBLET_MANAGER_DIR" 2>manager.err &
  manager=$!
  await "the resource manager has written its address" test -s "$SUBLET_MANAGER_DIR/manager.address" || fail "$(<manager.err)"
}

test_no_manager() {
  export SUBLET_MANAGER_WAIT=1
  submit executor-manager
  failed_with "$job" 2
  expect_in "job-$job.out" "no resource manager has written its address to '$SUBLET_MANAGER_DIR/manager.address'" "sbatch resource-manager.sbatch"
  # Named, but nobody is there.
  SUBLET_MANAGER=tcp:c6:1 submit executor-manager
  failed_with "$job" 2
  expect_in "job-$job.out" "no resource manager answers" "tcp:c6:1" "SUBLET_MANAGER"
  # One that was killed leaves its address behind.
  manager_here
  kill -KILL "$manager"
  wait "$manager" 2>/dev/null || true
  submit executor-manager
  failed_with "$job" 2
  expect_in "job-$job.out" "no resource manager answers" "address file is stale" "(written on login, process $manager,"
  submit mpirun-bench -- hostname
  failed_with "$job" 2
  expect_in "job-$job.out" "no resource manager answers" "address file is stale" "sbatch resource-manager.sbatch"
}

test_no_preemption() {
  manager_here
  submit executor-manager --partition=normal
  await "an executor manager is there" are_up 1 || fail "no executor manager"
  expect_in "job-$job.out" "partition normal are not preempted (PreemptMode=OFF)" "PreemptMode=CANCEL"
  scancel "$job"
  scontrol update partitionname=harvest gracetime=0
  submit executor-manager
  await "an executor manager is there" grep -qs "(GraceTime=0)" "job-$job.out" || fail "no warning"
  scancel "$job"
  await_quiet
  kill "$manager"
  wait "$manager"
}

# A node that has died since the job began.
test_refused_step() {
  submit executor-manager --nodes=2 --nodelist=c[4-5]
  await_job "$job" RUNNING || fail "the job does not begin"
  kill_node 5
  manager_here
  await "the job has said so" grep -qs "node refuses" "job-$job.out" || fail "nothing is said of the node"
  start_node 5
  failed_with "$job" 2
  expect_in "job-$job.out" "c5" "node refuses the step" "scontrol show node"
  kill "$manager"
  wait "$manager"
}

test_too_few_cores() {
  make_portfolio
  SUBLET_SPARE_CORES=2 submit spare-cores -- hostname
  failed_with "$job" 2
  expect_in "job-$job.out" "2 cores on each node: too few for 1 rank(s) and 2 spare core(s)" "SUBLET_SPARE_CORES"
  submit own-executors -- black_scholes "$portfolio" --workers-per-rank 2
  await_job_end "$job" || fail "the job does not end"
  expect "the job" "$(job_state "$job")" FAILED
  expect_in "job-$job.out" "asked for 8 cores" "free are 4 cores on 2 nodes"
  for name in own-executors spare-cores mpirun-bench; do
    submit "$name"
    failed_with "$job" 2
    expect_in "job-$job.out" "which application? sbatch $name.sbatch PROGRAM"
  done
  nothing_left
}

test_short_time() {
  submit executor-manager --time=1
  failed_with "$job" 2
  expect_in "job-$job.out" "the job's time is 60 s and the notice 60 s" "sbatch --time="
  SUBLET_MANAGER_WAIT=0 SUBLET_NOTICE=10 submit executor-manager --time=1 --signal=TERM@10
  failed_with "$job" 2
  expect_in "job-$job.out" "no resource manager" # so far, then
}

test_no_munge() {
  # Without munged managers have to know each other by a key.
  export SUBLET_KEY_FILE=$PWD/key
  sublet key new "$SUBLET_KEY_FILE" >key.out || fail "no key can be made: $(<key.out)"
  submit executor-manager
  await "the job has begun" test -e "job-$job.out" || fail "the job does not begin"
  stop_munged
  manager_here
  await "the job has said so" grep -qs "munged does not answer on node c1.*systemctl status munge" "job-$job.out" ||
    fail "nothing is said of munge: $(<"job-$job.out")"
  # Slurm says it itself to those who submit.
  sbatch "$templates/executor-manager.sbatch" 2>submit.err && fail "sbatch works without munge"
  grep -qi munge submit.err || fail "sbatch does not speak of munge: $(<submit.err)"
  # The job's end is not awaited: Slurm tells the controller of it again only after half a minute.
  kill "$manager"
  wait "$manager"
}

"test_$1"
