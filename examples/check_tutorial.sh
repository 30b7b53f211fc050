#!/usr/bin/env bash
# check_tutorial.sh ROOT DOCUMENT
#
# The code in DOCUMENT is the code of the examples: after a line <!-- FILE --> the next code block has
# to be a part of ROOT/FILE, line by line; a line "// ..." leaves some out.
set -euo pipefail

root=$1 document=$2
awk -v root="$root" -v document="$document" '
  function trim(line) { sub(/^[ \t]+/, "", line); sub(/[ \t]+$/, "", line); return line }
  function complain(text) { printf "%s:%d: %s\n", document, NR, text > "/dev/stderr"; bad = 1 }

  /^<!-- .* -->$/ {
    path = root "/" $2
    count = 0
    delete source
    while ((getline line < path) > 0) source[++count] = trim(line)
    close(path)
    if (count == 0) complain("there is no " $2)
    next
  }
  /^```/ {
    if (inside) { inside = 0; path = "" }
    else { inside = 1; at = 0; gap = 1; if (path != "") ++blocks }
    next
  }
  inside && path != "" {
    line = trim($0)
    if (line == "// ...") { gap = 1; next }
    if (gap) {
      do ++at; while (at <= count && source[at] != line)
      gap = 0
    } else {
      ++at
    }
    if (at > count || source[at] != line) {
      complain("not so in " path ": " line)
      gap = 1
      at = 0
    }
  }
  END {
    if (blocks == 0) complain("no code block of an example")
    exit bad
  }' "$document"
