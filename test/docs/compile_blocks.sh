#!/usr/bin/env bash
# Compiles each block of one language of a page as a file of its own.
# usage: compile_blocks.sh PAGE LANGUAGE WORK_DIR COMPILER [FLAG...]     LANGUAGE: cpp, c or fortran
set -euo pipefail
page=$1 language=$2 work=$3
shift 3

case $language in
  cpp) suffix=cpp flags=(-std=c++20 -fsyntax-only) ;;
  c) suffix=c flags=(-std=c11 -Wpedantic -fsyntax-only) ;;
  fortran) suffix=f90 flags=(-std=f2018 -fsyntax-only "-J$work") ;;
esac

rm -rf "$work"
mkdir -p "$work"
awk -v work="$work" -v start="^\`\`\`$language\$" -v suffix="$suffix" '
  $0 ~ start { file = sprintf("%s/block_%d.%s", work, ++blocks, suffix); printf "" > file; next }
  /^```$/    { file = "" }
  file       { print > file }
' "$page"

blocks=("$work"/block_*."$suffix")
[[ -e ${blocks[0]} ]] || { echo "no $language block in $page" >&2; exit 1; }
for block in "${blocks[@]}"; do
  "$@" "${flags[@]}" -Wall -Wextra -Werror "$block"
done
echo "${#blocks[@]} blocks compile"
