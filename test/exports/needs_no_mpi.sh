#!/usr/bin/env bash
# needs_no_mpi.sh FILE...: none of these programs and libraries loads a library of MPI or refers to its names.
set -euo pipefail

bad=0
for file in "$@"; do
  libraries=$(readelf --dynamic "$file" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
  [[ $libraries == *libc.so* ]] || { echo "$file: readelf names no library" >&2; exit 1; }
  if grep -E 'mpi|open-(rte|pal)' <<<"$libraries"; then
    echo "needed by $file" >&2
    bad=1
  fi
  if nm --dynamic --undefined-only "$file" | grep -E ' P?MPI_'; then
    echo "undefined in $file" >&2
    bad=1
  fi
done
exit "$bad"
