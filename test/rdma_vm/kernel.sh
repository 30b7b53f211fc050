# shellcheck shell=bash
# Gets Debian's stock kernel and makes the guest's initramfs. Sourced by rdma.sh.
# shellcheck disable=SC2154 # what rdma.sh has set

# What the guest loads, with all they depend on. crc32_generic: rxe cannot be added without it, and
# no module says so.
kernel_modules=(virtio_pci 9pnet_virtio 9p overlay virtio_net crc32_generic veth dummy
  rdma_rxe ib_uverbs ib_umad rdma_ucm)

need_tools() {
  local tool missing=()
  for tool in qemu-system-x86_64 busybox cpio modprobe depmod rdma setpriv flock; do
    command -v "$tool" >/dev/null || missing+=("$tool")
  done
  ((${#missing[@]} == 0)) || unavailable "missing: ${missing[*]} (./dev rdma installs them)"
}

# Downloads the kernel package that apt knows into the current directory.
download_kernel() {
  local package
  package=$(apt-cache depends linux-image-amd64 2>/dev/null | sed -n 's/^ *Depends: //p' | head -n 1)
  [[ -n $package ]] || { echo "apt knows no package linux-image-amd64"; return 1; }
  apt-get -qq download "$package"
}

# What apt knows may be nothing, or older than what the server still has.
update_apt() {
  local sudo=()
  ((EUID == 0)) || sudo=(sudo -n)
  "${sudo[@]}" apt-get -qq -o DPkg::Lock::Timeout=300 update
}

# Puts kernel and modules into $cache/kernel.
fetch_kernel() {
  local work=$cache/fetch
  rm -rf "$work"
  mkdir -p "$work/root"
  say "downloading Debian's kernel for the guest, once (70 MB)"
  if ! (
    cd "$work" &&
      { download_kernel || { [[ -z ${SUBLET_DEV_NO_INSTALL:-} ]] && update_apt && download_kernel; }; } &&
      dpkg-deb --fsys-tarfile ./*.deb | tar -C root -x --wildcards './boot/vmlinuz*' './lib/modules*'
  ) >"$cache/fetch.log" 2>&1 </dev/null; then
    tail -n 10 "$cache/fetch.log" >&2
    unavailable "could not download the kernel"
  fi
  local version
  version=$(basename "$work"/root/lib/modules/*)
  depmod -b "$work/root" "$version"
  mkdir "$work/kernel"
  cp "$work/root/boot/vmlinuz-$version" "$work/kernel/vmlinuz"
  pack_modules "$work/root" "$version" "$work/kernel/modules"
  rm -rf "$cache/kernel"
  mv "$work/kernel" "$cache/kernel"
  rm -rf "$work"
}

# pack_modules ROOT VERSION DIR: the modules the guest needs, and a file "order".
pack_modules() {
  local path name
  mkdir "$3"
  echo "${kernel_modules[*]}" >"$3/wanted"
  modprobe -d "$1" -S "$2" --show-depends -a "${kernel_modules[@]}" |
    awk '$1 == "insmod" && !seen[$2]++ { print $2 }' |
    while read -r path; do
      name=$(basename "$path")
      case $name in
        *.xz) xz -dc "$path" >"$3/${name%.xz}"; name=${name%.xz} ;;
        *.zst) zstd -qdc "$path" >"$3/${name%.zst}"; name=${name%.zst} ;;
        *) cp "$path" "$3/$name" ;;
      esac
      echo "$name" >>"$3/order"
    done
}

make_initramfs() {
  local work=$cache/initramfs
  rm -rf "$work"
  mkdir -p "$work"/{bin,dev,proc,sys,job,lower,upper,root}
  cp "$(command -v busybox)" "$work/bin/busybox"
  cp "$here/init.sh" "$work/init"
  chmod 755 "$work/init" "$work/bin/busybox"
  cp -r "$cache/kernel/modules" "$work/modules"
  (cd "$work" && find . | cpio --quiet -o -H newc -R 0:0 | gzip -1) >"$cache/initramfs.new"
  rm -rf "$work"
  mv "$cache/initramfs.new" "$cache/initramfs.gz"
}

# Makes $cache/kernel/vmlinuz and $cache/initramfs.gz, unless they are there and up to date.
prepare_kernel() {
  local wanted
  wanted=$(cat "$cache/kernel/modules/wanted" 2>/dev/null || true)
  [[ $wanted == "${kernel_modules[*]}" ]] || fetch_kernel
  if [[ ! -e $cache/initramfs.gz || $here/init.sh -nt $cache/initramfs.gz ||
    $cache/kernel/vmlinuz -nt $cache/initramfs.gz ]]; then
    make_initramfs
  fi
}
