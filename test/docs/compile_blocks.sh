#!/usr/bin/env bash
# Compiles each ```cpp block of a page as a file of its own.
# usage: compile_blocks.sh PAGE WORK_DIR [FLAG...]     environment: CXX
set -euo pipefail
page=$1 work=$2
shift 2

rm -rf "$work"
mkdir -p "$work"
awk -v work="$work" '
  /^```cpp$/ { file = sprintf("%s/block_%d.cpp", work, ++blocks); printf "" > file; next }
  /^```$/    { file = "" }
  file       { print > file }
' "$page"

blocks=("$work"/block_*.cpp)
[[ -e ${blocks[0]} ]] || { echo "no cpp block in $page" >&2; exit 1; }
for block in "${blocks[@]}"; do
  "$CXX" -std=c++20 -Wall -Wextra -Werror -fsyntax-only "$@" "$block"
done
echo "${#blocks[@]} blocks compile"
