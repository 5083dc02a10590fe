#!/usr/bin/env bash
# run-pytest.sh [ARGS...]: the black-box tests, against PULSEDB_BIN or build/pulsedb. Always Debian's own
# Python: another python3 on the PATH does not see the packages.
set -uo pipefail
cd "$(dirname "$0")/.."

mapfile -t files < <(find tests -name 'test_*.py' -o -name '*_test.py' -o -name 'contract_*.py' 2>/dev/null | sort)
if [ ${#files[@]} -eq 0 ]; then
    echo "run-pytest: there are no tests in tests/ yet"
    exit 0
fi
exec /usr/bin/python3 -m pytest tests $(find tests -name 'contract_*.py' | sort) -q -n auto --timeout=300 "$@"
