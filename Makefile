# What one does here, by name. Every target works on a fresh checkout; `make tools` installs what the tests need (Debian 12).
#
# All builds use the release profile, tests and lints too: dependencies are then compiled once, and what is tested is what is shipped.

export WHARFINGER_TOOLS ?= $(CURDIR)/build/tools
PYTHON := $(WHARFINGER_TOOLS)/venv/bin/python
CARGO  := cargo

.PHONY: run build tools check test test-rust test-clients conformance crash fuzz bench clean

run:                 ## start the server with nothing configured
	$(CARGO) run --release -- serve

build:               ## the program: target/release/wharfinger
	$(CARGO) build --release --locked

tools:               ## install every program the tests use, by pinned version
	tests/tools.sh

check: tools         ## format, lints, house rules, documentation, licences
	$(CARGO) fmt --check
	$(CARGO) clippy --release --locked --all-targets -- -D warnings
	$(CARGO) test --release --locked --test tidy
	RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links" $(CARGO) doc --release --locked --no-deps --document-private-items --quiet
	$(WHARFINGER_TOOLS)/bin/cargo-deny --offline check --hide-inclusion-graph bans licenses sources

test: test-rust test-clients   ## unit and integration tests on both stores, then real clients

test-rust: tools     ## cargo test, with PostgreSQL and MinIO running beside
	$(PYTHON) tests/with_stores.py $(CARGO) test --release --locked

test-clients: tools  ## docker, podman, skopeo, buildah, ctr, crane, oras, regctl, cosign, helm, both AWS CLIs, boto3
	$(CARGO) test --release --locked --no-run --quiet
	$(PYTHON) -m pytest tests/clients $(PYTEST)

conformance: tools   ## the official OCI suite: every run, on disk and on S3 with PostgreSQL
	$(CARGO) test --release --locked --no-run --quiet
	$(PYTHON) conformance/run.py $(CONFORMANCE)

crash: tools         ## kill -9 in the middle of pushes (ROUNDS=200), and a full disk
	$(CARGO) test --release --locked --no-run --quiet
	$(PYTHON) -m pytest tests/crash $(PYTEST)

fuzz: tools          ## each parser of network input for FUZZ_SECONDS=10
	fuzz/run.sh $(FUZZ_SECONDS)

bench: tools         ## measure beside nginx and distribution, rows and options by BENCH="small push --quick"
	PATH="$(WHARFINGER_TOOLS)/bin:$$PATH" $(CARGO) bench --locked --bench registry -- $(BENCH)

clean:
	$(CARGO) clean
	rm -rf build/run build/conformance
