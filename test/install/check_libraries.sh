# shellcheck shell=bash
# check_libraries PROGRAM: it loads a library whose name begins with $USED, and none that begins with
# $NOT_USED; where these are set.
check_libraries() {
  local libraries
  libraries=$(ldd "$1")
  if [[ -n ${USED:-} && $libraries != *"$USED"* ]]; then
    echo "$1 does not use $USED: $libraries" >&2
    return 1
  fi
  if [[ -n ${NOT_USED:-} && $libraries == *"$NOT_USED"* ]]; then
    echo "$1 uses $NOT_USED: $libraries" >&2
    return 1
  fi
}
