#!/usr/bin/env bash
# compare.sh BUILD_DIR MPI [PAIRS]: the rows of `./dev mpi-bench compare`, a line of JSON each, on standard
# output. MPI is openmpi or mpich. PAIRS, for tests, is how often each two things are compared at most. Leaves
# neither processes nor files, also when something fails or takes too long.
set -euo pipefail

build=${1:?usage: compare.sh BUILD_DIR MPI [PAIRS]} mpi=${2:?usage: compare.sh BUILD_DIR MPI [PAIRS]}
[[ -z ${3:-} ]] || export SUBLET_COMPARE_PAIRS=$3
patience=${SUBLET_COMPARE_SECONDS:-60} # for each part
compare=$build/bin/sublet-mpi-compare-$mpi

die() {
  printf 'compare.sh: %s\n' "$*" >&2
  exit 1
}

# What ranks share of memory and files is theirs alone and goes with this script: Open MPI leaves it behind
# when a job is ended from outside.
memory=$(mktemp -d /dev/shm/sublet-compare-XXXXXX)
files=$(mktemp -d "${TMPDIR:-/tmp}/sublet-compare-XXXXXX")
# MPICH has no such choice: of its files, those that no process uses.
mpich_files() { find /dev/shm -maxdepth 1 -name 'mpich_shar_tmp*' -user "$(id -un)" 2>/dev/null || true; }
before=$(mpich_files)
clean_up() {
  rm -rf "$memory" "$files"
  local file
  for file in $(mpich_files); do
    [[ $before == *"$file"* ]] || grep -qsF "$file" /proc/[0-9]*/maps || rm -f "$file"
  done
}
trap clean_up EXIT
export TMPDIR=$files
case $mpi in
  openmpi)
    export OMPI_MCA_btl_vader_backing_directory=$memory OMPI_MCA_osc_sm_backing_directory=$memory
    launch=("${SUBLET_MPIEXEC:-mpirun.openmpi}" --oversubscribe --bind-to none --mca mpi_yield_when_idle)
    alone=(0) shared=(1)
    ;;
  mpich)
    launch=("${SUBLET_MPIEXEC:-mpirun.mpich}" -launcher fork -bind-to none)
    alone=() shared=()
    ;;
  *) die "MPI is openmpi or mpich, not '$mpi'" ;;
esac

# part NAME TRIES COMMAND...: a part of the rows, which is written when it is whole. A part that takes too long
# is tried again, so many times in all.
part() {
  local name=$1 tries=$2 code rows
  shift 2
  while ((tries-- > 0)); do
    code=0
    rows=$(timeout -k 5 "$patience" "$@") || code=$?
    ((code == 124 || code == 137)) || break
    echo "compare.sh: the comparison of $name took over $patience s" >&2
  done
  ((code == 0)) || die "the comparison of $name failed ($code)"
  [[ -z $rows ]] || printf '%s\n' "$rows"
}

# The first and the last core there is.
cpus=$(awk '/^Cpus_allowed_list/ { n = split($2, part, /[-,]/); print part[1], part[n] }' /proc/self/status)
[[ ${cpus% *} != "${cpus#* }" ]] || die "two cores are needed"
# shellcheck disable=SC2086 # two words
part calls 1 "${launch[@]}" "${alone[@]}" -n 2 "$compare" calls $cpus "$build/lib/libsublet_mpi_bench_functions.so"
# shellcheck disable=SC2086 # two words
part loops 1 "${launch[@]}" "${alone[@]}" -n 1 "$compare" loops $cpus
wide=$build/lib/libsublet_bench_openmp_functions.so
if [[ -f $wide ]]; then
  part "wide workers" 1 "${launch[@]}" "${alone[@]}" -n 1 "$compare" wide "$wide"
else
  echo "compare.sh: wide_2cores is left out: the compiler has no OpenMP" >&2
fi
# MPI_Comm_spawn of Open MPI 4.1 with PMIx 4 hangs now and then, in programs without Sublet as well (3 of 12 runs of 7
# spawns on two cores; https://github.com/openpmix/openpmix/issues/2735).
part "leases and MPI_Comm_spawn" 3 "${launch[@]}" "${shared[@]}" -n 4 "$compare" spawn
