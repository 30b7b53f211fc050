#!/usr/bin/env bash
# Builds the first example as a project of its own against the installed tree, and runs it: the private
# manager and the executor that answer it are the installed ones.
# usage: use_example.sh PREFIX EXAMPLES WORK_DIR     environment: CMAKE, CXX
set -euo pipefail
prefix=$1 examples=$2 work=$3

rm -rf "$work"
"$CMAKE" -G Ninja -S "$examples" -B "$work" -DCMAKE_PREFIX_PATH="$prefix" \
  -DCMAKE_CXX_COMPILER="$CXX" >"$work.log" 2>&1 || { cat "$work.log"; exit 1; }
"$CMAKE" --build "$work" --target hello >"$work.log" 2>&1 || { cat "$work.log"; exit 1; }

support=$(cd "$(dirname "${BASH_SOURCE[0]}")/../support" && pwd)
"$support/run_clean.sh" "$work/bin/hello"
