#!/usr/bin/env bash
# Runs the tests labelled rdma_guest in a guest. Skipped (77) where there can be none.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)

"$here/rdma.sh" check
exec setpriv --pdeathsig TERM -- "$here/rdma.sh" test
