#!/usr/bin/env bash
# check_run.sh RANKS SHARE BLACK_SCHOLES PORTFOLIO
#
# One run of black_scholes: it has to find all prices right, offload the share it was told to, and say
# so in its JSON; its timeline has to have a row for each rank. Run by run_clean.sh.
set -euo pipefail

ranks=$1 share=$2 program=$3 portfolio=$4
json=$SUBLET_TEST_ROOM/summary.json
timeline=$SUBLET_TEST_ROOM/timeline.json

mpirun --oversubscribe --bind-to none -n "$ranks" "$program" "$portfolio" --steps 3 --chunk 2048 \
  --offload-share "$share" --json "$json" --trace "$timeline"

expect() {
  grep -qF -- "$1" "$2" || {
    echo "check_run: no '$1' in $2:" >&2
    head -c 3000 "$2" >&2
    exit 1
  }
}
expect '"right": true' "$json"
expect '"failed_calls": 0' "$json"
case $share in
  auto) expect '"automatic": true' "$json" ;;
  0 | 1) expect "\"offload_share\": $share.0" "$json" ;;
  *) expect "\"offload_share\": $share" "$json" ;;
esac
for ((rank = 0; rank < ranks; ++rank)); do
  expect "\"rank $rank\"" "$timeline"
done
