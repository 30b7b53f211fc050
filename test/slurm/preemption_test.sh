#!/usr/bin/env bash
# preemption_test.sh CASE: nodes go while an MPI application uses their workers. Its results stay right,
# it ends by itself, and nothing is left over. Run beside a cluster by slurm.sh.
set -euo pipefail
# shellcheck source=test/slurm/testing.sh
source "$(dirname "${BASH_SOURCE[0]}")/testing.sh" "$@"

executors() { submit executor-manager --nodelist="$1"; }

# 4 ranks on c1 and c2, executors on c3 and c4, the resource manager on c6.
start() {
  make_portfolio
  manager_job --nodelist=c6
  executors c3
  on_c3=$job
  executors c4
  on_c4=$job
  await "two executor managers are there" are_up 2 || fail "no executors"
  application=$(sbatch --parsable --output=application.out --nodes=2 --nodelist=c[1-2] --ntasks-per-node=2 \
    --wrap "srun --mpi=pmix black_scholes '$portfolio' --offload-share 0.5 --steps 2 --until stop --json summary.json")
  await "the application has leased its workers" leased || fail "nothing is leased: $(<application.out)"
}
# A rank calls only once all have their workers.
leased() { sublet leases --output json | grep -q '"invocations": *[1-9]'; }

finish() {
  touch stop
  completed "$application"
  cat application.out
  expect_in summary.json '"right": true'
  await "all leases have ended" no_leases || fail "left over: $(sublet leases)"
  scancel --user=root
  nothing_left
}
no_leases() { [[ $(sublet leases --output json | tr -d ' \n') == '{"leases":[]}' ]]; }

# give_back NODE: a normal job wants it, and gets it.
give_back() {
  srun --partition=normal --nodelist="$1" --nodes=1 --ntasks=1 --exclusive --mpi=none true ||
    fail "the normal job does not run"
}

test_preemptions() {
  local i node
  start
  for ((i = 0; i < ${SUBLET_TEST_PREEMPTIONS:-20}; ++i)); do
    node=c$((3 + i % 2))
    give_back "$node"
    executors "$node"
    await "its executor manager is back" are_up 2 || fail "no executors after preemption $i"
    job_is "$application" RUNNING || fail "the application has ended: $(<application.out)"
  done
  if grep -h "executor-manager.*error:" job-*.out; then fail "an executor manager did not end in order"; fi
  finish
}

# By hand: Slurm tells the steps with scancel; `sublet drain` is Sublet's own way.
test_by_hand() {
  start
  scancel "$on_c3"
  await "its executor manager has left" are_up 1 || fail "the executor manager is still there"
  await_job_end "$on_c3" || fail "the job does not end"
  executors c3
  await "an executor manager is back" are_up 2 || fail "no executors"
  sublet drain c4 --time 3s
  completed "$on_c4"
  await "its executor manager has left" are_up 1 || fail "the executor manager is still there"
  finish
}

# Without a word: a node's power fails.
test_node_dies() {
  start
  kill_node 3
  await "the node is lost" are_up 1 || fail "the node is still there"
  start_node 3
  finish
}

# Slurm's controller is no part of a call's way.
test_controller() {
  start
  stop_controller
  start_controller
  await "the application runs on" job_is "$application" RUNNING || fail "the application does not run on"
  give_back c3
  await "one executor manager is left" are_up 1 || fail "the other one"
  finish
}

"test_$1"
