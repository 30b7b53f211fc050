#!/usr/bin/env bash
# check.sh COMPILER WORK_DIR FLAG...: the public headers compile in a program without a warning, and each
# bad_*.cpp beside this file fails to, with the text of its first line in what the compiler says.
set -euo pipefail
compiler=$1 work=$2
shift 2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
mkdir -p "$work"
"$compiler" -std=c++20 -fsyntax-only -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror "$@" "$here/good.cpp"
bad=0
for source in "$here"/bad_*.cpp; do
  text=$(sed -n '1s|^// ||p' "$source")
  said=$work/$(basename "$source").txt
  if "$compiler" -std=c++20 -fsyntax-only "$@" "$source" >"$said" 2>&1; then
    echo "$(basename "$source") compiles"
    bad=1
  elif ! grep -qF "$text" "$said"; then
    echo "$(basename "$source"): '$text' is not in what the compiler says:"
    head -n 20 "$said"
    bad=1
  fi
done
exit "$bad"
