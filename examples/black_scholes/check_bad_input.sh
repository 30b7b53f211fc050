#!/usr/bin/env bash
# check_bad_input.sh BLACK_SCHOLES PORTFOLIO
#
# Portfolios and flags that are wrong: black_scholes has to end, with an error that says what is, once
# and not once per rank. (All that can be wrong with a portfolio: test/unit/examples.) Run by
# run_clean.sh.
set -euo pipefail

program=$1 portfolio=$2
cd "$SUBLET_TEST_ROOM"

# refuses TEXT ARGS...: the run fails and says TEXT, once.
refuses() {
  local text=$1 count
  shift
  if mpirun --oversubscribe --bind-to none -n 2 "$program" "$@" >out.txt 2>&1; then
    echo "check_bad_input: accepted: $*" >&2
    exit 1
  fi
  count=$(grep -cF -- "$text" out.txt || true)
  if ((count != 1)); then
    echo "check_bad_input: '$text' is there $count times, not once, for: $*" >&2
    cat out.txt >&2
    exit 1
  fi
}

cp "$portfolio" magic.bin
printf X | dd of=magic.bin conv=notrunc status=none
refuses "does not start with SUBLETBS" magic.bin

cp "$portfolio" short.bin
truncate --size=-1 short.bin
refuses "is cut short" short.bin

# A volatility of -infinity, in the middle of what the second rank reads.
cp "$portfolio" option.bin
printf '\0\0\0\0\0\0\360\377' | dd of=option.bin bs=1 seek=$((24 + 60000 * 40 + 24)) conv=notrunc status=none
refuses "option 60000 of the portfolio 'option.bin' is not usable: its volatility" option.bin

refuses "No such file or directory" nowhere.bin
refuses "--offload-share is '1.5'" "$portfolio" --offload-share 1.5
refuses "there is no flag --sublet-nonsense" "$portfolio" --sublet-nonsense 1
