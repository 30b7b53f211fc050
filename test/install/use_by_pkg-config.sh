#!/usr/bin/env bash
# Builds a consumer against the installed tree with pkg-config, and runs it.
# usage: use_by_pkg-config.sh PREFIX CONSUMER WORK_DIR     environment: CXX, LIBDIR
set -euo pipefail
prefix=$1 consumer=$2 work=$3
source_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/consumer
export PKG_CONFIG_PATH=$prefix/$LIBDIR/pkgconfig

rm -rf "$work"
mkdir -p "$work"
case $consumer in
  runtime) compiler=$CXX package=sublet ;;
  mpi) compiler=mpicxx package=sublet-mpi ;;
esac
read -ra flags <<<"$(pkg-config --cflags --libs "$package")"
# As the project's README says.
rpath=-Wl,-rpath,$(pkg-config --variable=libdir "$package")
"$compiler" -std=c++20 "$source_dir/$consumer.cpp" -o "$work/$consumer" "${flags[@]}" "$rpath"
env -u LD_LIBRARY_PATH "$work/$consumer"

if "$compiler" -std=c++17 -fsyntax-only "$source_dir/$consumer.cpp" "${flags[@]}" 2>"$work/errors"; then
  echo "the headers are compiled as C++17" >&2
  exit 1
fi
grep -q "Sublet's headers need C++20" "$work/errors"
