#!/usr/bin/env bash
# messages.sh SOURCE_TREE: each message that docs/troubleshooting.md explains is one of the program's.
# An entry is **`message`**; `…` stands for what differs. Of what is left, texts of the system and of
# several places may be part: one piece at least must be in a literal of the sources.
set -euo pipefail
root=$1
page=$root/docs/troubleshooting.md
shortest=10 # less says nothing of where it is from

# All sources in one line, with the literals that the compiler joins joined.
sources=$(find "$root/runtime" "$root/executor" "$root/manager" "$root/mpi_bindings" \
  -name '*.cpp' -o -name '*.hpp' | sort | xargs cat | tr '\n' ' ' | sed 's/" *"//g; s/\\"/"/g')
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

bad=0
while IFS= read -r message; do
  known=no
  while IFS= read -r part; do
    part=$(sed 's/^[[:space:]]*//; s/[[:space:]]*$//' <<<"$part")
    if ((${#part} >= shortest)) && [[ $sources == *"$part"* ]]; then known=yes; fi
  done <<<"${message//…/$'\n'}"
  if [[ $known == no ]]; then
    echo "no source has the message '$message'"
    bad=1
  fi
done <<<"$messages"
exit "$bad"
