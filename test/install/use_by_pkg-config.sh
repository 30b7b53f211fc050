#!/usr/bin/env bash
# Builds a consumer against the installed tree with pkg-config, and runs it.
# usage: use_by_pkg-config.sh PREFIX CONSUMER WORK_DIR [COMPILER PACKAGE]
# environment: CXX, LIBDIR, USED, NOT_USED
set -euo pipefail
prefix=$1 consumer=$2 work=$3
source_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/consumer
export PKG_CONFIG_PATH=$prefix/$LIBDIR/pkgconfig

rm -rf "$work"
mkdir -p "$work"
case $consumer in
  runtime) compiler=$CXX package=sublet source=runtime.cpp standard=c++20 ;;
  single_source) compiler=$CXX package=sublet source=single_source.cpp standard=c++20 ;;
  mpi) compiler=mpicxx package=sublet-mpi source=mpi.cpp standard=c++20 ;;
  c) compiler=gcc package=sublet source=c.c standard=c11 ;;
  c_mpi) compiler=mpicc package=sublet-mpi source=c_mpi.c standard=c11 ;;
  fortran) compiler=gfortran package=sublet-f08 source=fortran.f90 standard=f2018 ;;
esac
compiler=${4:-$compiler} package=${5:-$package}
read -ra flags <<<"$(pkg-config --cflags --libs "$package")"
# As the project's README says.
rpath=-Wl,-rpath,$(pkg-config --variable=libdir "$package")
"$compiler" -std="$standard" "$source_dir/$source" -o "$work/$consumer" "${flags[@]}" "$rpath"
# It may start a private manager, the installed one.
env -u LD_LIBRARY_PATH "$(dirname "${BASH_SOURCE[0]}")/../support/run_clean.sh" "$work/$consumer"
# shellcheck source=test/install/check_libraries.sh
source "$(dirname "${BASH_SOURCE[0]}")/check_libraries.sh"
check_libraries "$work/$consumer"

[[ $standard == c++20 ]] || exit 0
if "$compiler" -std=c++17 -fsyntax-only "$source_dir/$source" "${flags[@]}" 2>"$work/errors"; then
  echo "the headers are compiled as C++17" >&2
  exit 1
fi
grep -q "Sublet's headers need C++20" "$work/errors"
