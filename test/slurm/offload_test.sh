#!/usr/bin/env bash
# offload_test.sh CASE: MPI jobs and executors on virtual nodes: who is where, and how they reach each
# other. Run beside a cluster by slurm.sh.
set -euo pipefail
# shellcheck source=test/slurm/testing.sh
source "$(dirname "${BASH_SOURCE[0]}")/testing.sh" "$@"

# An executor manager offers the cores of its step and no other, under the name of its node.
test_cpuset() {
  manager_job --nodelist=c6
  # Another job has the node's first core.
  sbatch --nodelist=c3 --ntasks=1 --wrap "touch first_core; exec tail -f /dev/null" >/dev/null
  await "another job has begun" test -e first_core || fail "no other job"
  srun --nodelist=c3 --nodes=1 --ntasks=1 sublet executor-manager 2>one.err &
  await "an executor manager is there" are_up 1 || fail "no executor manager: $(<one.err)"
  sublet nodes --output json >nodes.json
  expect_in nodes.json '"name": "c3"' '"cores": 1,' '"cpuset": "1"'
  srun --exclusive --nodelist=c4 --nodes=1 --ntasks=1 --cpus-per-task=2 sublet executor-manager 2>two.err &
  await "two executor managers are there" are_up 2 || fail "no second executor manager: $(<two.err)"
  sublet nodes --output json >nodes.json
  expect_in nodes.json '"name": "c4"' '"cores": 2,' '"cpuset": "0-1"'
  scancel --user=root
  nothing_left
  wait
}

# 4 ranks on 2 nodes have workers on these and on 2 others: by shm on their own node, by tcp elsewhere.
offload() { # LAUNCHER...
  make_portfolio
  manager_job --nodelist=c6
  export AWAIT=$cluster_root/test/support/await.sh
  cat >job.sh <<'JOB'
#!/bin/bash
srun --overlap --mpi=none --ntasks=4 --ntasks-per-node=1 --cpus-per-task=2 sublet executor-manager &
four_up() { [[ $(sublet nodes --output json | grep -c '"state": *"up"') == 4 ]]; }
export -f four_up
"$AWAIT" 60 bash -c four_up || exit 1
"$@" black_scholes portfolio.bin --workers-per-rank 2 --offload-share 0.5 --steps 2 --json summary.json
code=$?
scancel --signal=TERM "$SLURM_JOB_ID.0"
wait
exit $code
JOB
  job=$(sbatch --parsable --output=job-%j.out --nodes=4 --nodelist=c[1-4] --ntasks-per-node=2 --exclusive job.sh "$@")
  completed "$job"
  expect_in summary.json '"right": true' '"failed_calls": 0'
  placement summary.json >places
  cat places
  expect "the ranks' nodes" "$(cut -d' ' -f1 places | sort | uniq -c | tr -s ' \n' ' ')" " 4 c1 4 c2 "
  expect "the workers' nodes" "$(cut -d' ' -f2 places | sort | uniq -c | tr -s ' \n' ' ')" " 2 c1 2 c2 2 c3 2 c4 "
  expect "how workers on the same node are reached" "$(awk '$1 == $2 { print $3 }' places | sort -u)" shm
  expect "how workers on other nodes are reached" "$(awk '$1 != $2 { print $3 }' places | sort -u)" tcp
  scancel --user=root
  nothing_left
}

test_srun() { offload srun --overlap --mpi=pmix --nodes=2 --nodelist=c[1-2] --ntasks=4 --cpu-bind=none; }
test_mpirun() { SLURM_OVERLAP=1 offload mpirun --bind-to none --host c1:2,c2:2 -n 4; }

"test_$1"
