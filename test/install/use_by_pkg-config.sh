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
"$compiler" -std=c++20 "$source_dir/$consumer.cpp" -o "$work/$consumer" "${flags[@]}"
LD_LIBRARY_PATH=$prefix/$LIBDIR "$work/$consumer"
