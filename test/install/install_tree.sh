#!/usr/bin/env bash
# Installs the build tree into a fresh prefix and looks whether all of it came.
# usage: install_tree.sh CMAKE BUILD_DIR PREFIX [mpi]     environment: LIBDIR
set -euo pipefail
cmake=$1 build=$2 prefix=$3 mpi=${4:-}

rm -rf "$prefix"
"$cmake" --install "$build" --prefix "$prefix" >/dev/null

wanted=(
  include/sublet/sublet.hpp include/sublet/version.hpp include/sublet/function.hpp
  include/sublet/function_abi.h
  "$LIBDIR/libsublet.so" "$LIBDIR/pkgconfig/sublet.pc"
  "$LIBDIR/cmake/Sublet/SubletConfig.cmake" "$LIBDIR/cmake/Sublet/SubletConfigVersion.cmake"
  bin/sublet libexec/sublet/sublet-executor
)
if [[ $mpi == mpi ]]; then
  wanted+=(include/sublet/mpi.hpp "$LIBDIR/pkgconfig/sublet-mpi.pc")
fi
status=0
for file in "${wanted[@]}"; do
  if [[ ! -e $prefix/$file ]]; then
    echo "not installed: $file" >&2
    status=1
  fi
done

# Nothing installed may point back into the build tree.
if leaks=$(grep -rIl -e "$build" "$prefix"); then
  printf 'mentions the build tree: %s\n' "$leaks" >&2
  status=1
fi
exit $status
