#!/bin/sh
# The battery: what a real userland computes, as lines that do not depend on where it runs. Each item is
# a program of its own, battery/item-NAME.sh, which runs in an empty directory. With arguments, only
# these items. Lines that begin with "time " are for measurements and differ from run to run.
export LC_ALL=C.UTF-8 TZ=UTC HOME=/tmp PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1 PERL_HASH_SEED=0
unset MAKEFLAGS
here=/battery
all="numbers perl sqlite pack openssl gcc python"
for item in ${*:-$all}; do
  work=/tmp/battery-$item
  rm -rf "$work"
  mkdir "$work"
  cd "$work" || exit 1
  echo "item $item"
  begin=$(date +%s%N)
  sh "$here/item-$item.sh" 2>&1 </dev/null
  echo "item $item: exit status $?"
  echo "time $item $((($(date +%s%N) - begin) / 1000000)) ms"
  cd / && rm -rf "$work"
done
