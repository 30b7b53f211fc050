#!/usr/bin/env bash
# example.sh BUILD_DIR NAME [--real]: runs an example with two ranks, on small input or on a real one.
# example.sh list: the names.
set -euo pipefail

# NAME PROGRAM SMALL_ARGS | REAL_ARGS
examples() {
  cat <<'TXT'
heat heat 200 50            | 4000 200
lammps lammps_analysis 5 30 | 10 600
slab slab 300000            | 50000000
TXT
}

if [[ ${1:-} == list ]]; then
  examples | cut -d' ' -f1
  exit
fi
build=${1:?usage: example.sh BUILD_DIR NAME [--real]} name=${2:?usage: example.sh BUILD_DIR NAME [--real]}
line=$(examples | grep "^$name ") || {
  printf 'example.sh: there is no example %s, but: %s\n' "$name" "$(examples | cut -d' ' -f1 | paste -sd' ')" >&2
  exit 2
}
read -r _ program small <<<"${line%%|*}"
case ${3:-} in
  '') arguments=$small ;;
  --real) arguments=${line##*|} ;;
  *) echo "example.sh: unknown option $3" >&2 && exit 2 ;;
esac
[[ -x $build/bin/$program ]] || {
  echo "example.sh: $name was not built: a package that it needs is missing (./dev packages)" >&2
  exit 1
}
# Fewer cores than ranks and workers will do: it shows how, and how fast where there are enough.
export SUBLET_PRIVATE_OVERSUBSCRIBE=${SUBLET_PRIVATE_OVERSUBSCRIBE:-2}
# shellcheck disable=SC2086 # words
exec mpirun.openmpi --oversubscribe --bind-to none -n 2 "$build/bin/$program" $arguments
