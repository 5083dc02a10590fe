# The build is Meson's; this saves typing. CC, CFLAGS and LDFLAGS are taken when build/ is made.
#
#   make run        install what is missing, build, start the server here with its data in ./data
#   make test       install what is missing, build, run every test that takes minutes at most
#   make test-all   the same, then the sanitizers, other clients and the long tests; with PULSEDB_HARNESS=DIR
#                   also the checkers in that folder (scripts/run-harness.sh)
#   make build | clean | format | install

RUN_ARGS ?=

.DEFAULT_GOAL := build
.PHONY: run test test-all build clean format install

build/build.ninja:
	meson setup build

build: build/build.ninja
	ninja -C build

run:
	scripts/install-deps.sh run
	test -f build/build.ninja || meson setup build
	ninja -C build pulsedb
	mkdir -p data
	exec build/pulsedb --dir ./data $(RUN_ARGS)

# A build/ that was made before cmocka was there knows no unit tests: it is told once.
test:
	scripts/install-deps.sh test
	test -f build/build.ninja || meson setup build
	test -f build/.has-tests || { meson configure build -Dtests=enabled && touch build/.has-tests; }
	ninja -C build
	meson test -C build --no-rebuild --print-errorlogs --suite unit --suite tidy
	scripts/run-pytest.sh

test-all: test
	scripts/install-deps.sh all
	npm ci --prefix tests/smoke_clients --no-audit --no-fund --silent
	npm ci --prefix tests/clients --no-audit --no-fund --silent
	scripts/run-sanitized.sh address
	scripts/run-sanitized.sh thread
	PULSEDB_LONG=1 scripts/run-pytest.sh
	test -z "$$PULSEDB_HARNESS" || scripts/run-harness.sh

clean:
	rm -rf build build-*/

format:
	git ls-files --cached --others --exclude-standard 'src/*.[ch]' 'cmd/*.[ch]' 'tests/*.[ch]' | xargs -r clang-format -i

install: build
	meson install -C build --no-rebuild
