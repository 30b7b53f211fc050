# shellcheck shell=bash
# For the tests of rdma.sh and slurm.sh themselves: sourced first. They work in $work, a directory that is
# gone afterwards, and look at what the script said in stdout and stderr there.

work=$(mktemp -d /tmp/sublet-rig-XXXXXX) # A guest must see it: not in /run or /dev/shm.
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1

fail() {
  echo "rig_test: $*" >&2
  echo "--- out:" >&2
  cat "$work/stdout" >&2 || true
  echo "--- err:" >&2
  cat "$work/stderr" >&2 || true
  exit 1
}

# expect WHAT HAVE WANT
expect() { [[ $2 == "$3" ]] || fail "$1 is '$2', not '$3'"; }

# rig SCRIPT ARGS: its status into $code, what it says into stdout and stderr. It ends with this test.
# shellcheck disable=SC2034 # for the caller
rig() {
  code=0
  setpriv --pdeathsig TERM -- "$@" </dev/null >stdout 2>stderr || code=$?
}
