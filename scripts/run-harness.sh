#!/usr/bin/env bash
# run-harness.sh [DIR]: runs a folder of black-box checkers (diffuzz.py, linear.py, txn.py, timetravel.py,
# abuse.py, crash.py, diskfault.py, sysfault.py: random commands against redis-server, linearizability, isolation, the
# truth of the past, hostile clients, kills and power cuts, damaged files, failing disks; root and /dev/fuse) against PULSEDB_BIN or build/pulsedb. DIR, or PULSEDB_HARNESS, is where they are; they are used in
# place and are no part of this tree. About eight minutes; PULSEDB_LONG=1: forty.
#
# An AddressSanitizer build is slower and keeps what is freed: it gets larger bounds.
set -uo pipefail
cd "$(dirname "$0")/.."

harness=${1:-${PULSEDB_HARNESS:-}}
if [ -z "$harness" ] || [ ! -f "$harness/pt.py" ]; then
    echo "run-harness: name the harness' folder as argument or in PULSEDB_HARNESS" >&2
    exit 2
fi
PULSEDB_BIN=$(realpath "${PULSEDB_BIN:-build/pulsedb}") || exit 2
export PULSEDB_BIN PYTHONDONTWRITEBYTECODE=1
port=${PULSEDB_HARNESS_PORT:-7400}
scale=1
if [ "${PULSEDB_LONG:-0}" = 1 ]; then scale=6; fi
bounds=()
if grep -q __asan_init "$PULSEDB_BIN"; then bounds=(--stall 5 --memory 1500); fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=() ran=0

# diffuzz.py counts what it could not see a second time as a finding: EXPIRE k 100 GT on a key that ends in
# 100 s is 1 or 0, by whether a millisecond has passed.
only_seen_once() {
    grep -q '^--- seen once' "$1" && ! grep -q '^--- (' "$1"
}

run() { # NAME SCRIPT ARGS...: shows the last lines, all of them when it fails
    local name=$1 script=$2 log=$scratch/$1.log
    shift 2
    ran=$((ran + 1))
    echo "== $name"
    if (cd "$harness" && /usr/bin/python3 "$script" --dir "$scratch/$name" --port "$port" "$@") >"$log" 2>&1 ||
        only_seen_once "$log"; then
        grep -v '^unknown to one side' "$log" | tail -n 25
    else
        failed+=("$name")
        cat "$log"
        tail -n 50 "$scratch/$name"*/*.log "$scratch/$name"/*/*.log 2>/dev/null
    fi
}

# Left out of the comparison: DBSIZE, which counts a key whose end is past until it is met: WATCH deletes
# such a key here, and so does the wheel within 16 ms.
fuzz=(--server pulsedb --sequences 1000000 --seconds $((40 * scale)) --skip DBSIZE)
run diffuzz-resp2 diffuzz.py "${fuzz[@]}" --strict
run diffuzz-resp3 diffuzz.py "${fuzz[@]}" --proto 3
run linear linear.py --server pulsedb --seconds $((15 * scale))
run txn txn.py --server pulsedb --seconds $((10 * scale))
run timetravel timetravel.py --server pulsedb --seconds $((20 * scale))
run linear-powerloss linear.py --server pulsedb --seconds $((15 * scale)) --kills 6 --powerloss
run txn-kills txn.py --server pulsedb --seconds $((10 * scale)) --kills 6
run timetravel-powerloss timetravel.py --server pulsedb --seconds $((15 * scale)) --kills 6 --powerloss
run crash-always crash.py --server pulsedb --cycles $((10 * scale))
run crash-everysec crash.py --server pulsedb --cycles $((10 * scale)) --fsync everysec
run crash-powerloss crash.py --server pulsedb --cycles $((10 * scale)) --powerloss --torn any
run diskfault diskfault.py --server pulsedb --trials $((40 * scale))
run faults sysfault.py faults --server pulsedb --kinds string,counter,multi
run abuse abuse.py --server pulsedb "${bounds[@]}" \
    --auth-server "'$PULSEDB_BIN' --port {port} --http-port 0 --dir {dir} --requirepass secret"

echo "run-harness: $((ran - ${#failed[@]})) passed, ${#failed[@]} failed ${failed[*]}"
[ ${#failed[@]} -eq 0 ]
