#!/usr/bin/env bash
# exported_names.sh LIBRARY EXPECTED: LIBRARY exports the names that EXPECTED lists, one a line, and no
# others. Names of the libraries it uses could clash with other versions of these in the application.
set -euo pipefail
library=$1 expected=$2

# Without parameters: how a type is written differs between compilers.
exported=$(nm --dynamic --defined-only --demangle "$library" |
  sed -E 's/^[0-9a-f]* +[A-Za-z] //; s/\[abi:[^]]*\]//; s/\(.*//' | LC_ALL=C sort -u)
difference=$(diff <(LC_ALL=C sort -u "$expected") - <<<"$exported") || {
  echo "exported_names: ${library##*/} does not export what ${expected##*/} lists" >&2
  echo "(< listed only: SUBLET_API is missing; > exported only: hide it, or list it when it is public):" >&2
  echo "$difference" >&2
  exit 1
}
