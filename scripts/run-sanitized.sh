#!/usr/bin/env bash
# run-sanitized.sh address|thread: builds with clang and the sanitizer in build-asan or build-tsan, runs the
# unit tests and, for address, the black-box tests against that server.
set -euo pipefail
cd "$(dirname "$0")/.."

case "${1:-}" in
address) build=build-asan sanitizers=address,undefined ;;
thread) build=build-tsan sanitizers=thread ;;
*)
    echo "usage: $0 address|thread" >&2
    exit 2
    ;;
esac

# Sanitizers and clang 14 know no undefined symbols at link time: hence b_lundef.
test -f $build/build.ninja ||
    CC=clang meson setup $build -Db_sanitize=$sanitizers -Db_lundef=false -Dwerror=true -Ddebug_checks=true -Dtests=enabled
ninja -C $build
meson test -C $build --no-rebuild --print-errorlogs --suite unit --timeout-multiplier 4
if [ "$1" = address ] && [ -x $build/pulsedb ]; then PULSEDB_BIN=$build/pulsedb scripts/run-pytest.sh; fi
