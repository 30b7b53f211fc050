#!/usr/bin/env bash
# Builds a consumer against the installed tree with find_package(Sublet), and runs it.
# usage: use_by_cmake.sh PREFIX CONSUMER WORK_DIR [OPTION...]     environment: CMAKE, CXX, USED, NOT_USED
set -euo pipefail
prefix=$1 consumer=$2 work=$3
shift 3
source_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/consumer

rm -rf "$work"
"$CMAKE" -G Ninja -S "$source_dir" -B "$work" -DCMAKE_PREFIX_PATH="$prefix" \
  -DCMAKE_CXX_COMPILER="$CXX" -DCONSUMER="$consumer" "$@" >"$work.log" 2>&1 || { cat "$work.log"; exit 1; }
"$CMAKE" --build "$work" >"$work.log" 2>&1 || { cat "$work.log"; exit 1; }
# It may start a private manager, the installed one.
"$(dirname "${BASH_SOURCE[0]}")/../support/run_clean.sh" "$work/$consumer"
# shellcheck source=test/install/check_libraries.sh
source "$(dirname "${BASH_SOURCE[0]}")/check_libraries.sh"
check_libraries "$work/$consumer"
