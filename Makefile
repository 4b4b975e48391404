# Everything that can be done with this repository. CI runs `make check` and nothing else.
# JOBS=1 keeps cargo to one compiler at a time.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help build install demo cluster-demo test lint fmt doc package deb pictures bench curves soak check chaos step toolchain venv python wheel python-bench python-cpython python3 postgres rivals

CARGO ?= cargo
cargo_jobs := $(if $(JOBS),-j$(JOBS))
# nextest calls its build jobs by another name.
nextest_jobs := $(if $(JOBS),--build-jobs $(JOBS))
have_nextest := $(shell $(CARGO) nextest --version 2>/dev/null)

# Crash points exist under this cfg alone; a target directory of its own keeps the ordinary build whole.
chaos_env := RUSTFLAGS="$(RUSTFLAGS) --cfg procession_chaos" CARGO_TARGET_DIR=$${CARGO_TARGET_DIR:-target}/chaos

# Text that most systems have.
texts := $(wildcard /usr/share/common-licenses /usr/share/doc)

help: ## this list
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

# A program that is executed for each line of a script, or executes itself anew for each process, begins twice as fast
# when it brings the C library along, at addresses that are known beforehand. Where there is no such library, it goes
# without.
static := $(if $(filter /%,$(shell cc -print-file-name=libc.a)),-C target-feature=+crt-static -C relocation-model=static)

build: toolchain ## the command and the libraries, in release mode
	$(CARGO) build $(cargo_jobs) --release --lib
	$(CARGO) rustc $(cargo_jobs) --release -p procession-cli --bin procession -- $(static)

# Where things go: `make install PREFIX=$HOME/.local`; packages say DESTDIR, too.
PREFIX ?= /usr/local
DESTDIR ?=
installed := $(DESTDIR)$(PREFIX)

install: build ## the command, its manual, and completions for bash, zsh and fish (PREFIX, DESTDIR)
	@set -e; built="$${CARGO_TARGET_DIR:-target}/release/procession"; \
	install -D -m 755 -s "$$built" "$(installed)/bin/procession"; \
	bin="$(installed)/bin/procession"; pages="$$(mktemp -d)"; trap 'rm -rf "$$pages"' EXIT; \
	"$$bin" man --out "$$pages"; \
	for section in 1 7; do \
		install -d "$(installed)/share/man/man$$section"; \
		install -m 644 "$$pages"/*.$$section "$(installed)/share/man/man$$section"; \
	done; \
	for place in bash:bash-completion/completions/procession zsh:zsh/site-functions/_procession \
		fish:fish/vendor_completions.d/procession.fish; do \
		install -d "$$(dirname "$(installed)/share/$${place#*:}")"; \
		"$$bin" completions "$${place%%:*}" --live > "$(installed)/share/$${place#*:}"; \
	done
	@echo "installed below $(installed): bin/procession, share/man, completions for bash, zsh, fish"

demo: build ## a pool of processes at work: sums, then the words of real files
	@bin="$${CARGO_TARGET_DIR:-target}/release/procession"; set -e; \
	echo; echo "== procession demo pool-map"; "$$bin" demo pool-map; \
	echo; echo "== procession demo word-count: this repository"; \
	"$$bin" demo word-count --top 10 bin crates tests docs README.md CHANGELOG.md; \
	if [ -n "$(texts)" ]; then \
		echo; echo "== procession demo word-count: $(texts)"; \
		"$$bin" demo word-count --top 10 $(texts); \
	fi

cluster-demo: build postgres ## three hosts, one cut off, a worker and the server killed: words counted as wc does (root)
	$(CARGO) build $(cargo_jobs) --release -p procession --features cluster --example cluster_words
	@built="$${CARGO_TARGET_DIR:-target}/release"; \
	crates/procession/examples/cluster_demo.sh "$$built/procession" "$$built/examples/cluster_words" bin crates tests docs $(texts)

# What names no namespace is in one of this run: in the usual one may be the user's programs, of another build.
own_namespace = PROCESSION_NAMESPACE=tests-$$$$

ifdef have_nextest
run_tests = $(own_namespace) $(CARGO) nextest run $(nextest_jobs)
# There are no such tests on machines other than x86-64.
no_tests = --no-tests=pass
else
run_tests = $(own_namespace) $(CARGO) test $(cargo_jobs) --all-targets
endif

# Where tests say that they cannot be run here: for want of rights, or of something in the kernel.
export PROCESSION_SKIPPED ?= $(abspath $(or $(CARGO_TARGET_DIR),target)/skipped-tests)

# What is run for twenty seconds with crash points, which is more, need not be run without.
not_twice := $(if $(have_nextest),-E 'not (package(procession-tests) and binary(chaos))')

# The models are made of the files of others, whose examples are run there.
test: toolchain python3 postgres ## all tests: units, processes, the command, documentation, kills at every crash point and at instructions
	@mkdir -p "$(dir $(PROCESSION_SKIPPED))"; : > "$(PROCESSION_SKIPPED)"
	$(run_tests) --workspace $(not_twice)
	$(own_namespace) $(CARGO) test $(cargo_jobs) --workspace --exclude procession-models --doc
	@$(MAKE) --no-print-directory chaos
	@$(MAKE) --no-print-directory step
	@if $(has_venv); then $(MAKE) --no-print-directory python; \
	else echo "the package for Python: not tested ($(no_venv))" | tee -a "$(PROCESSION_SKIPPED)"; fi
	@echo "skipped here: $$(sort -u "$(PROCESSION_SKIPPED)" | wc -l)"; sort -u "$(PROCESSION_SKIPPED)"

# These kill at crash points, and at random between them; to the other tests it is all one whether there are any.
crash_tests := $(addprefix --test ,chaos crash kill_pool)
# What is other code where there are crash points: the points themselves, and those who kill at them.
has_crash_points := -p procession-sys -p procession-tests --lib --bins $(crash_tests)

chaos: toolchain ## the tests that need crash points compiled in
	$(chaos_env) $(if $(have_nextest),$(run_tests),$(own_namespace) $(CARGO) test $(cargo_jobs)) -p procession-tests $(crash_tests)

# Of interest is what the release build executes; the package is small, so that little is built twice.
step: toolchain ## kills at instructions of each operation (PROCESSION_EVERY_INSTRUCTION=1: at all of them)
	$(run_tests) $(no_tests) --release -p procession-step

# In a pid namespace with few pids they come again soon. That takes root, and Linux 6.14.
few_pids := unshare --pid --fork --mount-proc sh -c 'echo 2000 > /proc/sys/kernel/pid_max && exec "$$0" "$$@"'

soak: toolchain ## chaos for ten minutes (PROCESSION_CHAOS_SECONDS), tasks and processes by the thousand, nonsense in every kind of object (PROCESSION_FUZZ_SECONDS: 30), deeper models, kills at every instruction, more processes than there are pids
	PROCESSION_SOAK=1 PROCESSION_CHAOS_SECONDS=$${PROCESSION_CHAOS_SECONDS:-600} PROCESSION_FUZZ_SECONDS=$${PROCESSION_FUZZ_SECONDS:-30} $(chaos_env) $(run_tests) $(if $(have_nextest),--profile soak) -p procession-tests
	PROCESSION_DEEP_MODELS=1 $(run_tests) $(if $(have_nextest),--profile soak) -p procession-models
	PROCESSION_EVERY_INSTRUCTION=1 $(run_tests) $(no_tests) $(if $(have_nextest),--profile soak) --release -p procession-step
	$(CARGO) build $(cargo_jobs) --release -p procession-cli
	@bin="$${CARGO_TARGET_DIR:-target}/release/procession"; set -o pipefail; \
	if $(few_pids) true 2>/dev/null; then \
		echo "5,000 processes, 2,000 pids"; $(few_pids) "$$bin" demo process --count 5000 | tail -n 1; \
	else \
		echo "no pid namespace with few pids here: 1,000 processes, each with a pid of its own"; \
		"$$bin" demo process --count 1000 | tail -n 1; \
	fi

# Files that a macro names, which cargo does not find: the list of the demos is said once, in demo.rs.
fmt_demos = rustfmt crates/gallery/src/demo/*.rs

fmt: toolchain ## formats the code
	$(CARGO) fmt --all
	$(fmt_demos)

# Processors whose memory order is weaker are what the orderings and the models are for; here it is to compile for one.
arm := aarch64-unknown-linux-gnu

lint: toolchain python3 ## formatting, clippy with and without crash points, documentation, packages, dependencies
	$(CARGO) fmt --all --check
	$(fmt_demos) --check
	$(CARGO) clippy $(cargo_jobs) --workspace --all-targets -- -D warnings
	$(CARGO) clippy $(cargo_jobs) -p procession-cli --no-default-features -- -D warnings
	$(chaos_env) $(CARGO) clippy $(cargo_jobs) $(has_crash_points) -- -D warnings
	cd python && $(CARGO) fmt --check && CARGO_TARGET_DIR="$(venv)/../target" $(CARGO) clippy $(cargo_jobs) -- -D warnings
	@$(MAKE) --no-print-directory doc
	@if [ -d "$$(rustc --print target-libdir --target $(arm) 2>/dev/null)" ]; then \
		echo "$(CARGO) check --target $(arm)"; $(CARGO) check $(cargo_jobs) --target $(arm); \
	else echo "the standard library for $(arm) is not installed: that is not checked (rustup target add $(arm))"; fi
	@$(MAKE) --no-print-directory dry-run
	@if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny check; \
	else echo "cargo-deny is not installed: dependencies are not checked (cargo install cargo-deny)"; fi

doc: toolchain ## the documentation, without a warning
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc $(cargo_jobs) --workspace --no-deps

# What `cargo publish` would upload, unpacked beside each other and built from that alone: what a package lacks, such as a
# file of the repository that its documentation includes, is missed here and not by those who take it.
packed = $(abspath $(or $(CARGO_TARGET_DIR),target))/package
whole = $(packed)/whole
unpublished = $(addprefix --exclude ,procession-bench procession-models procession-tests procession-step)

dry-run: toolchain ## what `cargo publish` would upload, and the examples of the facade's documentation in that
	$(CARGO) publish --dry-run --quiet $(cargo_jobs) --workspace $(unpublished) --no-verify --allow-dirty
	$(CARGO) package --quiet $(cargo_jobs) --workspace $(unpublished) --no-verify --allow-dirty
	@rm -rf "$(whole)"; mkdir -p "$(whole)"; cp Cargo.lock "$(whole)"
	@for packed in "$(packed)"/procession*.crate; do \
		case "$$packed" in *-bench-*|*-models-*|*-tests-*|*-step-*) ;; *) tar -xzf "$$packed" -C "$(whole)" ;; esac; done
	@cd "$(whole)" && { echo '[workspace]'; echo 'resolver = "3"'; echo 'members = ["procession*"]'; \
		echo '[patch.crates-io]'; for folder in procession*; do \
			echo "$$(sed -nE '/^\[package\]/,/^\[/s/^name = "(.*)"/\1/p' "$$folder/Cargo.toml") = { path = \"$$folder\" }"; \
		done; } > Cargo.toml
	cd "$(whole)" && $(own_namespace) CARGO_TARGET_DIR="$(packed)/.." $(CARGO) test $(cargo_jobs) -p procession --features async,tracing --doc

package: dry-run ## the packages as they would be published, and the command built of them
	cd "$(whole)" && CARGO_TARGET_DIR="$(packed)/built" $(CARGO) build $(cargo_jobs) -p procession-cli

deb: toolchain ## a package for Debian, below target/debian (needs cargo-deb)
	@$(CARGO) deb --version >/dev/null 2>&1 || { echo "cargo-deb is not installed: cargo install cargo-deb"; exit 1; }
	@rm -rf target/deb-root; $(MAKE) --no-print-directory install DESTDIR=target/deb-root PREFIX=/usr
	$(CARGO) deb -p procession-cli --no-build

pictures: build ## the pictures of the README, made of what the command prints
	$(CARGO) run $(cargo_jobs) -p procession-tests --example pictures -- "$${CARGO_TARGET_DIR:-target}/release/procession"

# It is linked as the command is: its processes begin as those of a program that is meant to start many.
build_bench = $(CARGO) rustc $(cargo_jobs) --release -p procession-bench --features iceoryx2 --bin procession-bench -- $(static)
run_bench = "$${CARGO_TARGET_DIR:-target}/release/procession-bench" $(if $(QUICK),--quick)

bench: build rivals ## us and our rivals, side by side, and the curves (QUICK=1: shorter)
	$(build_bench)
	$(run_bench)
	@if $(has_venv); then $(MAKE) --no-print-directory python-bench; else echo "python/…: not measured ($(no_venv))"; fi
	@$(MAKE) --no-print-directory curves

curves: toolchain rivals ## how costs grow: measures, draws docs/charts, writes docs/performance.md (QUICK=1: in about a minute)
	$(build_bench)
	$(run_bench) --curves
	$(CARGO) run $(cargo_jobs) -p procession-tests --example pictures

check: lint test ## what must pass before anything is merged

# Rust is the user's to install; a C compiler is needed for linking and comes from the system.
toolchain:
	@command -v $(CARGO) >/dev/null || { echo "cargo is not installed: see https://rustup.rs"; exit 1; }
	@command -v cc >/dev/null || { \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			apt-get update -qq && apt-get install -y -qq --no-install-recommends gcc libc6-dev make pkg-config; \
		else echo "a C compiler is needed for linking: install gcc"; exit 1; fi; }
	@for component in rustfmt clippy; do \
		$(CARGO) $${component/rust/} --version >/dev/null 2>&1 || { ! command -v rustup >/dev/null || rustup component add $$component; }; \
	done

# The other program in the tests of what we share with other programs.
python3:
	@command -v python3 >/dev/null || { \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			apt-get update -qq && apt-get install -y -qq --no-install-recommends python3; \
		else echo "the tests share memory with python3: install it"; exit 1; fi; }

# The server of the tests of clusters, which start one of their own, and a pooler. Without a server they run in shared memory
# alone, and say so.
postgres:
	@if { ! { command -v postgres || ls /usr/lib/postgresql/*/bin/postgres; } || [ ! -x /usr/sbin/pgbouncer ]; } >/dev/null 2>&1 \
		&& [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && apt-get install -y -qq --no-install-recommends postgresql pgbouncer \
			|| echo "PostgreSQL or pgbouncer could not be installed: what is tested with them is skipped"; fi

# What the package for Python is built and tested in, apart from what the user has. It is called by way of its Python: the
# scripts beside that begin with the path where they were made.
venv := $(abspath $(or $(CARGO_TARGET_DIR),target)/python/venv)
has_venv := python3 -c 'import venv, ensurepip' 2>/dev/null
no_venv := python3 has no venv: install python3-venv
venv_python = "$(venv)/bin/python"
pip = $(venv_python) -m pip install -q --disable-pip-version-check
maturin = cd python && CARGO_TARGET_DIR="$(venv)/../target" $(venv_python) -m maturin build -q $(cargo_jobs)

# Where the programs in Rust are that the tests of what both share start.
built = $(abspath $(or $(CARGO_TARGET_DIR),target))/debug

venv: toolchain python3
	@if ! $(has_venv) && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-venv; fi
	@$(has_venv) || { echo "$(no_venv)"; exit 1; }
	@[ -x $(venv_python) ] || python3 -m venv "$(venv)"
	@$(pip) 'maturin>=1.7,<2' || { echo "pip could not install maturin, which builds the package: is there a network?"; exit 1; }

# A wheel that is built quickly: `make wheel` makes the one for others.
python: venv ## the package for Python: its wheel, in a virtual environment below target/, and its tests
	@$(pip) pytest pytest-timeout mypy numpy msgpack joblib \
		|| { echo "pip could not install what tests the package: is there a network?"; exit 1; }
	@rm -f "$(venv)"/../wheels/*.whl
	$(maturin) --profile quick --interpreter $(venv_python) --out "$(venv)"/../wheels
	@$(pip) --force-reinstall --no-deps "$(venv)"/../wheels/procession-*.whl
	$(CARGO) build -q $(cargo_jobs) -p procession-tests --bin procession-tested --bin beside_python
	$(CARGO) build -q $(cargo_jobs) -p procession --example shell_rust_and_python
	cd python/tests && PROCESSION_BUILT="$(built)" $(venv_python) -m pytest -c ../pyproject.toml --timeout 120

# With the wheel that is for others. A rival that pip cannot install is a row without a figure.
python-bench: venv ## the package for Python and its rivals, side by side (QUICK=1: shorter)
	@for rival in faster-fifo posix_ipc loky; do $(pip) $$rival || echo "pip could not install $$rival"; done
	@rm -f "$(venv)"/../release/*.whl
	$(maturin) --release --interpreter $(venv_python) --out "$(venv)"/../release
	@$(pip) --force-reinstall --no-deps "$(venv)"/../release/procession-*.whl
	$(own_namespace) $(venv_python) python/bench/compare.py $(if $(QUICK),--quick) \
		--json "$(abspath $(or $(CARGO_TARGET_DIR),target))/bench/python.json"

# Every CPython that is installed here and takes the wheel, once for each version.
pythons = for python in $$(ls -d "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/*/bin/python3 2>/dev/null) $$(compgen -c | grep -E '^python3\.[0-9]+$$' | sort -u); do \
	"$$python" -c 'import sys, venv, ensurepip; v = sys.version_info; v >= (3, 11) and sys.implementation.name == "cpython" and print(f"{v[0]}.{v[1]}.{v[2]}", sys.executable)' 2>/dev/null; \
	done | sort -u -k1,1

# zig links against the glibc of 2012, whatever this system has; pip brings it.
wheel: venv ## the wheel for others: one file for every CPython from 3.11 on and every glibc from 2.17 on, tried on each Python here
	@$(pip) ziglang auditwheel || { echo "pip could not install ziglang and auditwheel: is there a network?"; exit 1; }
	@rm -f "$(venv)"/../dist/*.whl
	PATH="$(venv)/bin:$$PATH"; $(maturin) --release --zig --compatibility manylinux2014 \
		--target "$$(rustc -vV | sed -n 's/^host: //p')" --interpreter python --out "$(venv)"/../dist
	@$(venv_python) -m auditwheel show "$(venv)"/../dist/procession-*.whl | grep '"manylinux_2_17_' >/dev/null \
		|| { echo "the wheel needs more than glibc 2.17:"; $(venv_python) -m auditwheel show "$(venv)"/../dist/procession-*.whl; exit 1; }
	@set -e; $(pythons) | while read -r version python; do \
		tried="$(venv)/../tried-$$version"; rm -rf "$$tried"; "$$python" -m venv "$$tried"; \
		"$$tried/bin/python" -m pip install -q --disable-pip-version-check --no-index --no-deps "$(venv)"/../dist/procession-*.whl; \
		"$$tried/bin/python" python/tests/try_wheel.py; rm -rf "$$tried"; \
	done
	@ls "$(venv)"/../dist/*.whl

# A minute and a half: in no other target.
python-cpython: python ## CPython's own tests of multiprocessing, with the package's types, under each start method
	@if $(venv_python) -c 'import test._test_multiprocessing' 2>/dev/null; then set -e; cd python/tests; \
		for method in fork spawn forkserver; do $(venv_python) cpython_suite.py $$method; done; \
	else echo "this Python came without its tests: install libpython3-testsuite"; fi

# Rivals that cargo does not bring. One that is missing is a line of the table.
rivals:
	@missing=; command -v python3 >/dev/null || missing+=" python3"; \
	command -v g++ >/dev/null || missing+=" g++"; \
	command -v parallel >/dev/null || missing+=" parallel"; \
	command -v etcd >/dev/null || missing+=" etcd-server"; \
	[ -e /usr/include/boost/interprocess/ipc/message_queue.hpp ] || missing+=" libboost-dev"; \
	if [ -n "$$missing" ]; then \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			apt-get update -qq && apt-get install -y -qq --no-install-recommends $$missing \
				|| echo "rivals that could not be installed:$$missing"; \
		else echo "rivals that are not installed:$$missing"; fi; fi
