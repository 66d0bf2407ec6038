# The tasks of a developer. Every target works on a fresh checkout; `make tools` installs what the tests need (Debian 12).
#
# Unit and integration tests use the dev profile, which has debug assertions and overflow checks. Clients, conformance and
# crash tests use the release binary that is shipped; WHARFINGER_BINARY names another one to test.

export WHARFINGER_TOOLS ?= $(CURDIR)/build/tools
PYTHON := $(WHARFINGER_TOOLS)/venv/bin/python
CARGO  := cargo
# Clients and crash tests wait for most of their time. Each file has one worker.
WORKERS ?= --numprocesses 2 --dist loadfile

.PHONY: run build tools check lint test test-rust simulate test-clients conformance crash fuzz bench bench-remote bench-containers clean

run:                 ## start the server with the default configuration
	$(CARGO) run --release -- serve

build:               ## build the program: target/release/wharfinger
	$(CARGO) build --release --locked

tools:               ## install every program that the tests use, by pinned version
	tests/tools.sh

check: lint tools    ## lint, and check the licences and sources of dependencies
	$(CARGO) fetch --locked --quiet
	$(WHARFINGER_TOOLS)/bin/cargo-deny --offline check --hide-inclusion-graph bans licenses sources

lint:                ## check format, lints, the project's own rules (tests/tidy) and documentation
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(CARGO) test --locked --package wharfinger --test tidy
	RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links" $(CARGO) doc --workspace --locked --no-deps --document-private-items

test: test-rust test-clients   ## run all tests but conformance, crash and fuzz

test-rust: tools     ## run unit and integration tests, with PostgreSQL and MinIO beside them
	$(PYTHON) tests/with_stores.py $(CARGO) test --workspace --locked

simulate:            ## simulate services on hosts that fail, SEEDS=2000 histories of them; one alone by SEED=N
	SEEDS=$(or $(SEEDS),2000) $(CARGO) test --workspace --locked --lib -- simulation

test-clients: tools build  ## docker, podman, skopeo, buildah, ctr, crane, oras, regctl, cosign, helm, both AWS CLIs, boto3
	$(PYTHON) -m pytest $(WORKERS) tests/clients $(PYTEST)

conformance: tools build   ## run the official OCI conformance suite on disk with SQLite and on S3 with PostgreSQL
	$(PYTHON) conformance/run.py $(CONFORMANCE)

crash: tools build   ## kill the server (ROUNDS=200), fill its disk, fail its disk and cut its power (SEEDS=4)
	$(CARGO) build --release --locked -p faultfs
	$(PYTHON) -m pytest $(WORKERS) tests/crash $(PYTEST)

fuzz: tools          ## fuzz each parser of network input for FUZZ_SECONDS=10
	fuzz/run.sh $(FUZZ_SECONDS)

bench: tools         ## measure beside nginx and distribution; rows and options by BENCH="small push --quick"
	PATH="$(WHARFINGER_TOOLS)/bin:$$PATH" $(CARGO) bench --locked --package wharfinger --bench registry -- $(BENCH)

bench-remote: tools  ## the same over PostgreSQL and MinIO, and one server against three
	PATH="$(WHARFINGER_TOOLS)/bin:$$PATH" $(PYTHON) tests/with_stores.py --durable \
		$(CARGO) bench --locked --package wharfinger --bench registry -- --remote $(BENCH)

bench-containers: tools build  ## start containers beside docker run and Docker Swarm
	$(PYTHON) benches/containers.py

clean:
	$(CARGO) clean
	rm -rf build/run build/conformance
