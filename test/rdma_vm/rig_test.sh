#!/usr/bin/env bash
# rig_test.sh run|faults|two_guests: the rig itself. Skipped (77) where no guest can run.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
rdma=$here/rdma.sh
await=$here/../support/await.sh

"$rdma" check

# shellcheck source=test/support/rig.sh
source "$here/../support/rig.sh"
chmod 755 "$work"
mkdir out scratch
chmod 777 out scratch

# ends PID: true once the process has ended, false when that takes too long.
ends() { timeout 30 tail --pid="$1" --sleep-interval=0.02 -f /dev/null; }

test_run() {
  cat >command.sh <<'TXT'
echo "out, $1"
echo "err" >&2
echo "again" >/dev/stderr
echo "pwd=$PWD user=$(id -un) memlock=$(ulimit -l) given=$GIVEN guest=$SUBLET_RDMA_GUEST"
cat host-file
touch scratch/vanishes
echo stays >"$SUBLET_RDMA_OUT/result"
setsid tail -f /dev/null & # must not hold up the end
exit 7
TXT
  echo "from the host" >host-file
  rig "$rdma" run --user nobody --memlock 64 --env "GIVEN=a 'b' \$c" --out out -- \
    bash command.sh "two  words"
  expect "the exit status" "$code" 7
  expect "standard output" "$(<stdout)" "out, two  words
pwd=$work user=nobody memlock=64 given=a 'b' \$c guest=1
from the host"
  expect "standard error" "$(<stderr)" $'err\nagain'
  expect "what the command wrote" "$(<out/result)" stays
  [[ ! -e scratch/vanishes ]] || fail "the guest writes into the host's files"
}

test_faults() {
  rig "$rdma" run --timeout 1 --out out -- tail -f /dev/null
  expect "the exit status of a command that hangs" "$code" 124
  [[ $(<stderr) == *"still running after 1 s"* ]] || fail "the time limit is not named"

  rig "$rdma" run --append rdinit=/missing --out out -- true
  expect "the exit status of a failed boot" "$code" 125
  [[ $(<stderr) == *"Kernel panic"*"the guest did not boot"* ]] || fail "the console is not shown"

  local signal run qemu room
  for signal in TERM KILL; do
    "$rdma" run --out out -- tail -f /dev/null >stdout 2>stderr &
    run=$!
    "$await" 120 pgrep -P "$run" -f qemu-system >/dev/null || fail "the run does not start QEMU"
    qemu=$(pgrep -P "$run" -f qemu-system)
    room=$(readlink "/proc/$qemu/cwd")
    kill "-$signal" "$run"
    ends "$run" || fail "the run outlives SIG$signal"
    wait "$run" 2>/dev/null || true
    ends "$qemu" || fail "QEMU outlives SIG$signal"
    # Nobody can tidy up after SIGKILL: the next run does it.
    [[ $signal == TERM ]] || "$rdma" check
    [[ ! -e $room ]] || fail "SIG$signal leaves $room behind"
  done
}

test_two_guests() {
  # shellcheck disable=SC2016 # for the guest's shell
  rig "$rdma" run2 --timeout 60 --out out --env AWAIT="$await" \
    --first '
      rping -s -a 10.1.0.1 -C 5 -P &
      "$AWAIT" 30 bash -c "rdma resource show cm_id | grep -q LISTEN" || exit 1
      touch "$SUBLET_RDMA_OUT/ready"
      echo listening
      wait' \
    --second '
      "$AWAIT" 30 test -e "$SUBLET_RDMA_OUT/ready" || exit 1
      rping -c -a sublet-first -C 5 || exit 1
      hostname; cat /proc/sys/kernel/random/boot_id; exit 9'
  expect "the exit status" "$code" 9
  [[ $(<stdout) == sublet-second$'\n'* ]] || fail "the output of the second is not there"
  [[ $(<stderr) == *"first: listening"* ]] || fail "the output of the first is not there"
}

"test_$1"
