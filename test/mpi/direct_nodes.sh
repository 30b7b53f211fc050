#!/usr/bin/env bash
# direct_nodes.sh SUBLET COMMAND [ARGS]
#
# Runs COMMAND where there is no resource manager: two executor managers lease by themselves, to who has a
# key that he shares with them. SUBLET_EXECUTORS names them, one in a file as rFaaS has it.
# Run by run_clean.sh, which says where, and sees to it that nothing is left.
set -euo pipefail

sublet=$1
shift
room=$SUBLET_TEST_ROOM
here=${BASH_SOURCE[0]%/*}
unset SUBLET_MANAGER SUBLET_MANAGER_DIR
export SUBLET_KEY_FILE=$room/key SUBLET_ALLOW_PRIVATE=false
"$sublet" key new "$SUBLET_KEY_FILE" >"$room/key.out"

managers=()
trap 'kill -TERM "${managers[@]}"; wait "${managers[@]}" || true' EXIT
entries=
for name in n1 n2; do
  "$sublet" executor-manager --skip-resource-manager --listen tcp:127.0.0.1:0 --node-name "$name" \
    --address-file "$room/$name" --cores 1 --oversubscribe 4 &
  managers+=("$!")
  bash "$here/../support/await.sh" 30 test -s "$room/$name"
  address=$(<"$room/$name")
  entries+="${entries:+,}{\"address\":\"127.0.0.1\",\"port\":${address##*:},\"cores\":4}"
done
printf '{"executors":[%s]}\n' "$entries" >"$room/executors_database.json"
export SUBLET_EXECUTORS=$room/executors_database.json
"$@"
