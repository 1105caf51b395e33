#!/bin/sh
# Installs what building, testing and fetching guests need, from Debian's packages. Does nothing,
# and asks for no privileges, where all of it is there. With an argument `bench`,
# `fuzz`, `userland` or `lint`, also what those need.
set -eu

packages="g++ gcc-multilib g++-multilib cmake ninja-build make pkg-config git python3 cpio gzip xz-utils
  libfmt-dev libexpected-dev libzydis-dev libxbyak-dev libzstd-dev libxxhash-dev
  zlib1g-dev libprotobuf-dev libprotobuf-c-dev protobuf-compiler protobuf-c-compiler
  libgtest-dev libgmock-dev libunicorn-dev"
case ${1-} in
  bench) packages="$packages qemu-system-x86" ;;
  userland) packages="$packages mmdebstrap arch-test util-linux zstd qemu-user-static" ;;
  fuzz) packages="$packages clang libclang-rt-14-dev" ;;
  lint) packages="$packages clang-format-19 clang-tidy-19" ;;
esac

missing=""
for p in $packages; do
  if [ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" != installed ]; then missing="$missing $p"; fi
done
if [ -z "$missing" ]; then exit 0; fi

echo "installing:$missing"
sudo=""
if [ "$(id -u)" != 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "install-deps: these packages are missing and there is no sudo; as root, run: apt-get install$missing" >&2
    exit 1
  fi
  sudo=sudo
fi
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086
$sudo apt-get install -y -q --no-install-recommends $missing || {
  $sudo apt-get update -q
  $sudo apt-get install -y -q --no-install-recommends $missing
}
