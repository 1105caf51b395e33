#!/bin/sh
# make lint: formatting (an error where it differs) and clang-tidy on what changed since main, or on
# the files given. With --all, on everything.
set -eu
cd "$(dirname "$0")/.."
scripts/install-deps.sh lint
sources=$(git ls-files '*.cpp' '*.h' | grep -v '^include/compat/')
# shellcheck disable=SC2086
clang-format-19 --dry-run -Werror $sources
echo "format: $(echo "$sources" | wc -l) files are as .clang-format wants them"
case ${1-} in
  --all) files=$(git ls-files 'src/*.cpp') ;;
  '') files=$(git diff --name-only HEAD~1 -- 'src/*.cpp' | while read -r f; do [ -f "$f" ] && echo "$f"; done) ;;
  *) files=$* ;;
esac
[ -n "$files" ] || exit 0
[ -f build/release/compile_commands.json ] || cmake --preset release >/dev/null
# shellcheck disable=SC2086
clang-tidy-19 -p build/release --quiet $files
