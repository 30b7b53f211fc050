#!/usr/bin/env bash
# verify_units.sh PREFIX: systemd accepts the installed units, and they start what is installed.
set -euo pipefail
prefix=$1
units=("$prefix"/lib/systemd/system/sublet-{resource,executor}-manager.service)

for unit in "${units[@]}"; do
  grep -q "^ExecStart=$prefix/bin/sublet " "$unit" || { echo "$unit does not start $prefix/bin/sublet"; exit 1; }
  ! grep -n '@[A-Z_]*@' "$unit" || { echo "$unit has a name that was not replaced"; exit 1; }
done
command -v systemd-analyze >/dev/null || { echo "SKIPPED: systemd-analyze is not installed"; exit 0; }

# The units alone: others of this machine are not ours to judge.
said=$(systemd-analyze verify --man=no --recursive-errors=no "${units[@]}" 2>&1) || { echo "$said"; exit 1; }
if grep -q 'sublet-.*-manager' <<<"$said"; then
  echo "$said"
  exit 1
fi
for unit in "${units[@]}"; do
  systemd-analyze security --offline=yes "$unit" 2>/dev/null | tail -n 1 || true
done
