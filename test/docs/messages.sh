#!/usr/bin/env bash
# messages.sh SOURCE_TREE: each message that docs/troubleshooting.md explains is one of the program's.
# An entry is **`message`**; `…` stands for what differs. Of what is left, texts of the system and of
# several places may be part: one piece at least must be in a literal of the sources.
set -euo pipefail
root=$1
page=$root/docs/troubleshooting.md
shortest=10 # less says nothing of where it is from

# All sources in one line, with the literals that the compiler joins joined.
sources=$(mktemp)
trap 'rm -f "$sources"' EXIT
find "$root/runtime" "$root/executor" "$root/manager" "$root/mpi_bindings" \
  -name '*.cpp' -o -name '*.hpp' | sort | xargs cat | tr '\n' ' ' | sed 's/" *"//g; s/\\"/"/g' >"$sources"
echo >>"$sources" # the end of its one line
mark='**`'
messages=$(awk -v mark="$mark" '{
  while ((at = index($0, mark)) > 0) {
    $0 = substr($0, at + length(mark))
    end = index($0, "`**")
    if (end == 0) break
    print substr($0, 1, end - 1)
    $0 = substr($0, end + 3)
  }
}' "$page")
[[ -n $messages ]] || { echo "$page explains no message"; exit 1; }

# In one process: a fork for each part of each message takes a loaded machine a minute.
awk -v shortest="$shortest" '
  NR == FNR { sources = $0; next }
  {
    known = 0
    count = split($0, parts, "…")
    for (i = 1; i <= count; ++i) {
      gsub(/^[[:space:]]+|[[:space:]]+$/, "", parts[i])
      if (length(parts[i]) >= shortest && index(sources, parts[i]) > 0) known = 1
    }
    if (!known) {
      print "no source has the message \047" $0 "\047"
      bad = 1
    }
  }
  END { exit bad }' "$sources" <(printf '%s\n' "$messages")
