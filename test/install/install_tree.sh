#!/usr/bin/env bash
# Installs the build tree into a fresh prefix and looks whether all of it came.
# usage: install_tree.sh CMAKE BUILD_DIR PREFIX FILE...     the files that must be there
set -euo pipefail
cmake=$1 build=$2 prefix=$3
shift 3

rm -rf "$prefix"
"$cmake" --install "$build" --prefix "$prefix" >/dev/null

status=0
for file in "$@"; do
  if [[ ! -e $prefix/$file ]]; then
    echo "not installed: $file" >&2
    status=1
  fi
done

# Nothing installed may point back into the build tree. The prefix is in it, and units name that.
if leaks=$(grep -rIl -e "$build" --exclude='sublet-*.service' "$prefix"); then
  printf 'mentions the build tree: %s\n' "$leaks" >&2
  status=1
fi
exit $status
