#!/usr/bin/env bash
# check_refused.sh PROGRAM TEXT ARGS...: the program refuses these arguments, and says TEXT.
set -euo pipefail
program=$1 text=$2
shift 2
if said=$("$program" "$@" 2>&1); then
  echo "check_refused: $program $* does not fail" >&2
  exit 1
fi
[[ $said == *"$text"* ]] || { echo "check_refused: '$text' is not in: $said" >&2; exit 1; }
