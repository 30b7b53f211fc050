#!/bin/sh
# make_image.sh NAME WORD: an image for Podman with the program `true`, and WORD in /etc/sublet-test.
set -eu
tree=$(mktemp -d)
trap 'rm -r "$tree"' EXIT
chmod 755 "$tree"
mkdir -p "$tree/bin" "$tree/etc" "$tree/proc" "$tree/sys" "$tree/dev" "$tree/tmp" "$tree/run" "$tree/var/tmp"
echo "$2" > "$tree/etc/sublet-test"
cp /bin/true "$tree/bin"
for file in $(ldd /bin/true | grep -o '/[^ ]*'); do
  mkdir -p "$tree$(dirname "$file")"
  cp -L "$file" "$tree$file"
done
tar -C "$tree" -c . | podman import - "$1"
