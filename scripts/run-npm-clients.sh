#!/usr/bin/env bash
# run-npm-clients.sh: the smoke tests of node's clients, in tests/npm, against build/pulsedb.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ ! -f tests/npm/package.json ]; then
    echo "run-npm-clients: there are no npm clients in tests/npm yet"
    exit 0
fi
cd tests/npm
npm install --no-audit --no-fund --silent
PULSEDB_BIN="${PULSEDB_BIN:-$PWD/../../build/pulsedb}" npm test
