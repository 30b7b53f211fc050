# shellcheck shell=bash
# What the scripts that people call (dev, rdma.sh, slurm.sh) have in common. Sourced; they define usage,
# say, die and a function command_NAME for each command.

# dispatch NAMES [NAME [ARGS]]: runs the command NAME, one of NAMES, with its arguments; help by default.
dispatch() {
  local names=$1 name=${2:-help}
  shift
  (($# == 0)) || shift
  case $name in
    help | -h | --help)
      usage
      return
      ;;
  esac
  if [[ " $names " != *" $name "* ]]; then
    say "no such command: $name"
    usage >&2
    exit 2
  fi
  "command_$name" "$@"
}

# take_json ARGS...: for `--json FILE`, which comes first; FILE is in $json, as seen from everywhere, and
# what follows it in $rest. A file that cannot be written is told before minutes of measuring, not after.
# shellcheck disable=SC2034 # for the caller
take_json() {
  json='' rest=("$@")
  [[ ${1:-} == --json ]] || return 0
  [[ -n ${2:-} ]] || die "--json wants a file"
  json=$(realpath -m "$2")
  rest=("${@:3}")
  [[ -d $(dirname "$json") && ! -d $json ]] || die "--json: '$json' is no place for a file"
}

# want_terminal HINT: for shells.
want_terminal() { [[ -t 0 && -t 1 ]] || die "shell wants a terminal; for a script: $1"; }
