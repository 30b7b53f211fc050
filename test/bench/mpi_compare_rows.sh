#!/usr/bin/env bash
# mpi_compare_rows.sh COMPARE BUILD_DIR MPI [no-openmp]: `mpi-bench compare` with few pairs gives the rows that
# it should, each well formed. No figure is looked at. Then the same with a time-out that it cannot keep.
set -euo pipefail
compare=$1 build=$2 mpi=$3 openmp=${4:-openmp}

fail() {
  echo "mpi_compare_rows: $*" >&2
  exit 1
}

rows=$("$compare" "$build" "$mpi" 1) || fail "the comparison fails"
number='[0-9]+\.[0-9]{4}'
form="^\{\"name\":\"[a-z_0-9A-Z]+\",\"ours_p50_us\":$number,\"peer\":\"[A-Za-z_ ]+\",\"peer_p50_us\":$number,"
form+="\"ratio_p50\":$number,\"pairs\":1,\"mpi\":\"$mpi\",\"request_path\":\"(-|progress|poll|helper)\"\}$"
while read -r row; do
  [[ $row =~ $form ]] || fail "this row is not well formed: $row"
done <<<"$rows"

wanted="noop_8B sum_1MiB request_vs_wait idle_hook offload_for_2cores offload_for_share offload_not_worth_it slow_worker overlap_100us"
[[ $openmp == no-openmp ]] || wanted+=" wide_2cores"
[[ $mpi == mpich ]] || wanted+=" lease_vs_spawn" # not every MPICH can spawn
for name in $wanted; do
  (($(grep -c "\"name\":\"$name\"" <<<"$rows") == 1)) || fail "$name is not there once: $rows"
done

if said=$(SUBLET_COMPARE_SECONDS=1 "$compare" "$build" "$mpi" 2>&1 >/dev/null); then
  fail "it keeps a limit of 1 s with all its pairs"
fi
[[ $said == *"took over 1 s"* ]] || fail "it does not say that it took too long: $said"
