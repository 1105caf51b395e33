#!/bin/sh
# Makes build/guests/{amd64,i386}/{vmlinuz,initrd.gz}: Debian's stock kernels, and an initramfs with
# busybox-static of the same architecture. The packages come from the machine's own package archive
# through a private apt state below build/guests, so that the machine's set-up (its architectures,
# its lists, its installed packages) is neither used up nor changed.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
out="$top/build/guests"
apt="$out/.apt"

apt_options() { # architecture
  printf '%s\n' "-oDir::State=$apt/state" "-oDir::Cache=$apt/cache" "-oDir::State::status=$apt/status" \
    "-oAPT::Architecture=$1" "-oAPT::Architectures::=$1" "-oAPT::Sandbox::User=$(id -un)" "-oDebug::NoLocking=1" \
    "-oAPT::Get::List-Cleanup=0" "-oAcquire::Languages=none"
}

# Unpacks the newest version of a package into a directory.
unpack() { # architecture, package, directory
  (
    cd "$apt/debs"
    # shellcheck disable=SC2046
    apt-get $(apt_options "$1") -q download "$2:$1" >/dev/null
    deb=$(ls -t "$2"_*_"$1".deb | head -n 1)
    rm -rf "$3"
    mkdir -p "$3"
    dpkg-deb -x "$deb" "$3"
  )
}

guest() { # architecture, kernel meta-package
  arch=$1
  meta=$2
  dir="$out/$arch"
  if [ -s "$dir/vmlinuz" ] && [ -s "$dir/initrd.gz" ] && [ "$dir/initrd.gz" -nt "$top/scripts/guest-init" ]; then
    return
  fi
  echo "fetching the $arch guest ..."
  mkdir -p "$apt/state/lists/partial" "$apt/cache/archives/partial" "$apt/debs" "$dir"
  : >"$apt/status"
  # Sources that do not carry this architecture make apt complain; what counts is whether it finds the packages.
  # shellcheck disable=SC2046
  apt-get $(apt_options "$arch") -q update >"$apt/update.log" 2>&1 || true
  # shellcheck disable=SC2046
  kernel=$(apt-cache $(apt_options "$arch") depends "$meta:$arch" 2>/dev/null |
    sed -n 's/.*Depends: \(linux-image-[0-9][^ :]*\).*/\1/p' | head -n 1)
  if [ -z "$kernel" ]; then
    echo "fetch-guests: cannot find $meta:$arch in the package archive; what apt said is in $apt/update.log" >&2
    exit 1
  fi
  unpack "$arch" "$kernel" "$apt/kernel-$arch"
  unpack "$arch" busybox-static "$apt/busybox-$arch"
  cp "$apt/kernel-$arch"/boot/vmlinuz-* "$dir/vmlinuz.new"

  root="$apt/root-$arch"
  rm -rf "$root"
  mkdir -p "$root/bin" "$root/dev" "$root/proc" "$root/sys" "$root/tmp" "$root/etc"
  cp "$apt/busybox-$arch/bin/busybox" "$root/bin/busybox"
  ln -s busybox "$root/bin/sh"
  cp "$top/scripts/guest-init" "$root/init"
  chmod 755 "$root/init" "$root/bin/busybox"
  (cd "$root" && find . >"$apt/files" && LC_ALL=C sort -o "$apt/files" "$apt/files" &&
    cpio -o -H newc -R 0:0 --reproducible --quiet <"$apt/files" >"$apt/initrd")
  gzip -9n <"$apt/initrd" >"$dir/initrd.gz.new"
  mv "$dir/vmlinuz.new" "$dir/vmlinuz"
  mv "$dir/initrd.gz.new" "$dir/initrd.gz"
  rm -rf "$apt/kernel-$arch" "$apt/busybox-$arch" "$root" "$apt/debs"
}

guest amd64 linux-image-amd64
guest i386 linux-image-686-pae
