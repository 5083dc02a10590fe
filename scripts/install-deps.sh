#!/usr/bin/env bash
# install-deps.sh [run|test|all]: installs what is missing to build and run, to test, or to do everything
# that CI does. Asks apt only for what is not there, and says nothing when nothing is missing.
set -euo pipefail

RUN=(meson ninja-build gcc libc6-dev pkg-config libjemalloc-dev liblzf-dev libssl-dev)
TEST=(libcmocka-dev python3-pytest python3-redis python3-pytest-xdist python3-pytest-timeout
      python3-hypothesis redis-server redis-tools)
ALL=(clang clang-format clang-tidy valgrind nodejs npm php-cli php-redis ruby ruby-redis libhiredis-dev)

case "${1:-run}" in
run) wanted=("${RUN[@]}") ;;
test) wanted=("${RUN[@]}" "${TEST[@]}") ;;
all) wanted=("${RUN[@]}" "${TEST[@]}" "${ALL[@]}") ;;
*)
    echo "usage: $0 [run|test|all]" >&2
    exit 2
    ;;
esac

# The program that shows that a package's purpose is served, whoever installed it. Packages without one
# (libraries, and those that our tests call by their Debian path) are asked of dpkg.
program_of() {
    case "$1" in
    meson | gcc | pkg-config | clang | clang-format | clang-tidy | valgrind | npm | ruby) echo "$1" ;;
    ninja-build) echo ninja ;;
    nodejs) echo node ;;
    php-cli) echo php ;;
    esac
}

is_installed() {
    local program
    program=$(program_of "$1")
    if [ -n "$program" ] && command -v "$program" >/dev/null; then return 0; fi
    case "$1" in
    libjemalloc-dev) pkg-config --exists jemalloc 2>/dev/null && return 0 ;;
    libssl-dev) pkg-config --exists libcrypto 2>/dev/null && return 0 ;;
    libcmocka-dev) pkg-config --exists cmocka 2>/dev/null && return 0 ;;
    libhiredis-dev) pkg-config --exists hiredis 2>/dev/null && return 0 ;;
    esac
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# clang's sanitizers and fuzzer, in a package of clang's own version.
clang_runtime_works() {
    command -v clang >/dev/null && [ -e "$(clang --print-file-name=libclang_rt.asan-$(uname -m).a)" -o \
        -e "$(clang --print-runtime-dir)/libclang_rt.asan.a" ]
}

missing=()
for package in "${wanted[@]}"; do
    is_installed "$package" || missing+=("$package")
done
runtime=no
if [ "${1:-run}" = all ] && ! clang_runtime_works; then runtime=yes; fi
if [ ${#missing[@]} -eq 0 ] && [ $runtime = no ]; then exit 0; fi

say_and_stop() {
    echo "install-deps: $1" >&2
    echo "install-deps: please install by hand: ${missing[*]}" >&2
    exit 1
}

command -v apt-get >/dev/null || say_and_stop "this system has no apt-get, so nothing can be installed for you."
as_root=()
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || say_and_stop "you are not root and there is no sudo."
    as_root=(sudo)
fi

log=$(mktemp)
policy=/usr/sbin/policy-rc.d
made_policy=no
clean_up() {
    rm -f "$log"
    if [ $made_policy = yes ]; then "${as_root[@]}" rm -f "$policy"; fi
}
trap clean_up EXIT

apt() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120 "$@" >"$log" 2>&1 && return
    cat "$log" >&2
    say_and_stop "apt-get $1 failed (its words stand above)."
}

echo "install-deps: installing ${missing[*]}" >&2
apt update
if [ $runtime = yes ]; then
    version=$(clang --version 2>/dev/null | sed -n 's/.*clang version \([0-9]*\).*/\1/p')
    [ -n "$version" ] || version=$(apt-cache depends clang | sed -n 's/.*Depends: clang-\([0-9]*\)$/\1/p' | head -n 1)
    missing+=("libclang-rt-$version-dev")
fi

# The tests start their own redis-server; the package's service must not run, now or after a reboot.
# A service that was there before is its owner's business.
brings_redis=no
case " ${missing[*]} " in *" redis-server "*) brings_redis=yes ;; esac
if [ $brings_redis = yes ] && [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    made_policy=yes
    "${as_root[@]}" chmod 755 "$policy"
fi
apt install -y --no-install-recommends "${missing[@]}"
if [ $brings_redis = yes ] && command -v systemctl >/dev/null; then
    "${as_root[@]}" systemctl disable --now redis-server >/dev/null 2>&1 || true
fi
