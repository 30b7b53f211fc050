#!/usr/bin/env bash
# fuzz.sh BUILD SECONDS [TARGET...]: so many seconds of each fuzz target (of all), as many side by side as
# there are cores. A crash leaves its input in BUILD/found/TARGET. Ends with 77 where no fuzzer is built.
# SUBLET_FUZZ_SEED=N: the same mutations each time, as far as they get.
set -euo pipefail

build=$1
seconds=$2
shift 2
folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
program=$build/bin/sublet_fuzz
if [[ ! -x $program ]]; then
  echo "fuzz: $program is not built (it needs clang with libFuzzer: ./dev fuzz)"
  exit 77
fi
if (($# == 0)); then
  for target in "$folder"/corpus/*; do set -- "$@" "${target##*/}"; done
fi

# run_one TARGET: mutates what is good, and what has been found before. The corpus that grows meanwhile is
# kept beside the build, for the next run.
run_one() {
  local target=$1 grown=$build/corpus/$1 found=$build/found/$1 seeds
  seeds=$(mktemp -d)
  # shellcheck disable=SC2064 # now, for this folder
  trap "rm -rf '$seeds'" EXIT
  mkdir -p "$grown" "$found"
  export SUBLET_FUZZ_TARGET=$target
  SUBLET_FUZZ_SEEDS=$seeds "$program"
  # Children, leaks and other signals are libFuzzer's business; a second of one input is too long.
  if "$program" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=65536 \
    -print_final_stats=1 -seed="${SUBLET_FUZZ_SEED:-0}" -artifact_prefix="$found/" "$grown" "$folder/corpus/$target" "$seeds" \
    >"$seeds/log" 2>&1; then
    grep -E 'stat::number_of_executed_units' "$seeds/log" | sed "s|^stat::|fuzz: $target |"
  else
    tail -n 60 "$seeds/log"
    echo "fuzz: $target has found something: see $found; test/fuzz/README.md says what to do"
    return 1
  fi
}

failed=0
running=0
for target; do
  [[ -d $folder/corpus/$target ]] || { echo "fuzz: there is no target '$target'"; exit 2; }
  if ((running == $(nproc))); then
    wait -n || failed=1
    running=$((running - 1))
  fi
  (run_one "$target") &
  running=$((running + 1))
done
while ((running-- > 0)); do wait -n || failed=1; done
exit "$failed"
