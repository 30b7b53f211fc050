#!/usr/bin/env bash
# await.sh SECONDS COMMAND [ARGS]: runs COMMAND again and again until it succeeds. Says so and ends with 1
# when it has not after SECONDS.
set -uo pipefail
limit=$1
shift
deadline=$((SECONDS + limit))

# Between two looks: reading from a pipe into which nobody writes.
exec {never}<> <(:)
until "$@"; do
  ((SECONDS < deadline)) || {
    echo "await: waited $limit s in vain for: $*" >&2
    exit 1
  }
  read -r -t 0.05 -u "$never" || true
done
