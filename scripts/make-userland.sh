#!/bin/sh
# make-userland.sh ARCH OUT: makes a Debian 12 userland for tests/guest/userland_test.py below OUT:
#   tree/       the root file system, to run its battery in with chroot on this machine
#   initrd.zst  the same as an initramfs, whose /init runs the battery, prints it and switches off
# ARCH is amd64 or i386. The packages come through mmdebstrap from the archive that this machine's apt
# is configured for, with its proxy; the machine's own package set-up is neither used up nor changed,
# and an ordinary user can run it (mmdebstrap then works in a user namespace).
# Does nothing where OUT is newer than this script and the battery.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
battery="$top/tests/guest/userland"
if [ $# != 2 ]; then
  echo "usage: make-userland.sh amd64|i386 OUT" >&2
  exit 1
fi
arch=$1
case $arch in
  amd64 | i386) ;;
  *)
    echo "make-userland: there is no userland for '$arch', only amd64 and i386" >&2
    exit 1
    ;;
esac
mkdir -p "$2"
out=$(cd "$2" && pwd)

packages="mount gcc libc6-dev python3 libpython3.11-testsuite perl sqlite3 openssl gzip xz-utils bzip2 zstd"
# What a machine that cannot run the architecture's programs unpacks besides, since it cannot install.
essential="base-files bash bsdutils coreutils dash debianutils diffutils findutils grep hostname libc-bin mawk
  ncurses-bin perl-base sed tar util-linux"

# The archive's sources for bookworm as apt is configured on this machine, one line each. Of the suites only
# the release: what is compared is computed by the same tree on both sides, and mirrors of one suite agree.
sources() {
  apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' 2>/dev/null |
    sed -n 's,^\([^ ]*\) bookworm main$,deb \1 bookworm main,p' | LC_ALL=C sort -u
}

# Unpacks the packages into base.tar, with their set-up scripts run where this machine can run them. What the
# battery needs of a Debian, it has without them too.
make_base() {
  apt-config dump | grep '^Acquire::' | grep -v '^Acquire::Languages' >"$out/apt.conf" || :
  sources >"$out/sources.list"
  if [ ! -s "$out/sources.list" ]; then echo "deb http://deb.debian.org/debian bookworm main" >"$out/sources.list"; fi
  how="--variant=essential"
  if ! arch-test -n "$arch" >/dev/null; then
    how="--variant=extract --skip=check/qemu"
    packages="$essential $packages"
  fi
  # shellcheck disable=SC2086
  mmdebstrap $how --architectures="$arch" --include="$(echo $packages | tr ' ' ,)" \
    --aptopt="$out/apt.conf" --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
    --format=tar bookworm "$out/base.tar.new" "$out/sources.list" >"$out/mmdebstrap.log" 2>&1 || {
    tr '\r' '\n' <"$out/mmdebstrap.log" | tail -n 20 >&2
    echo "make-userland: mmdebstrap failed; all it said is in $out/mmdebstrap.log" >&2
    exit 1
  }
  mv "$out/base.tar.new" "$out/base.tar"
}

# /bin and its like are links into /usr in a Debian that is installed, not in one that is unpacked.
merge_usr() { # root
  for d in bin sbin lib lib64; do
    if [ ! -d "$1/$d" ] || [ -L "$1/$d" ]; then continue; fi
    mkdir -p "$1/usr/$d"
    cp -a "$1/$d/." "$1/usr/$d/"
    rm -rf "${1:?}/$d"
    ln -s "usr/$d" "$1/$d"
  done
}

# What no item of the battery runs: package data, link-time optimisation, most of Python's tests.
trim() { # root
  rm -rf "$1"/var/cache/* "$1"/var/lib/apt "$1"/var/lib/dpkg "$1"/var/log/* "$1"/etc/apt
  rm -f "$1"/usr/lib/gcc/*/12/lto1 "$1"/usr/lib/gcc/*/12/lib[atl]san* "$1"/usr/lib/gcc/*/12/libubsan* \
    "$1"/usr/bin/*-lto-dump* "$1"/usr/bin/lto-dump*
  rm -rf "$1"/usr/share/zoneinfo "$1"/usr/share/perl/5.36.0/unicore/Name.pl
}

if [ ! -s "$out/base.tar" ] || [ "$0" -nt "$out/base.tar" ]; then
  echo "making the $arch userland from Debian's packages ..."
  make_base
fi
if [ -s "$out/initrd.zst" ] && [ "$out/initrd.zst" -nt "$out/base.tar" ] &&
  [ -z "$(find "$battery" -newer "$out/initrd.zst" | head -n 1)" ]; then
  exit 0
fi
rm -rf "$out/tree"
mkdir "$out/tree"
tar -x -C "$out/tree" --exclude='./dev/*' --no-same-owner -f "$out/base.tar"
merge_usr "$out/tree"
trim "$out/tree"
mkdir -p "$out/tree/battery" "$out/tree/proc" "$out/tree/sys" "$out/tree/dev"
cp "$battery"/* "$out/tree/battery"
mv "$out/tree/battery/init" "$out/tree/init"
chmod 755 "$out/tree/init" "$out/tree"/battery/*.sh
(cd "$out/tree" && find . | LC_ALL=C sort | cpio -o -H newc -R 0:0 --reproducible --quiet) | zstd -q -3 -T0 \
  >"$out/initrd.zst.new"
mv "$out/initrd.zst.new" "$out/initrd.zst"
