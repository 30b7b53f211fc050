#!/usr/bin/env bash
# Does what docs/how-to/openmp.md says, with a private manager.
# usage: run_openmp.sh PAGE WORK_DIR LIBRARY_DIR COMPILER [FLAG...]
set -euo pipefail
page=$1 work=$2 library=$3
shift 3
(($(nproc) >= 2)) || { echo "a worker of two cores needs two"; exit 77; }

rm -rf "$work"
mkdir -p "$work/run"
awk -v work="$work" '
  /^```cpp$/ { file = sprintf("%s/block_%d.cpp", work, ++blocks); printf "" > file; next }
  /^```$/    { file = "" }
  file       { print > file }
' "$page"
mv "$work/block_1.cpp" "$work/sum.cpp"
command=$(grep '^    g++ .* sum.cpp' "$page")
read -ra words <<<"$command"
cd "$work"
compiler=$1
shift
"$compiler" "${words[@]:1}" "$@" -Wall -Wextra -Werror
"$compiler" -std=c++20 -Wall -Wextra -Werror block_2.cpp "$@" -o program \
  "-L$library" "-Wl,-rpath,$library" -lsublet

said=$(env -u SUBLET_MANAGER -u SUBLET_MANAGER_DIR XDG_RUNTIME_DIR="$work/run" \
  XDG_CONFIG_HOME="$work/run" OMP_NUM_THREADS=1 timeout 60 ./program)
echo "$said"
[[ $said =~ ^3\.32834e\+08\ on\ cores\ [0-9]+[-,][0-9]+$ ]]
