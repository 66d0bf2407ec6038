#!/usr/bin/env bash
# Installs every program that the tests and the benches use, each by a pinned version, on Debian 12 with Rust, Go, Python and Node.js 20.
#
#   tests/tools.sh            install what is missing; a second run costs nothing
#   tests/tools.sh --check    install nothing; name what is missing and end with 1
#
# Programs land in $WHARFINGER_TOOLS (default: build/tools), so that several checkouts can share one folder. Debian's packages are
# the exception: they need root, and are named with their command where root is not to be had.
set -euo pipefail
cd "$(dirname "$0")/.."

tools=${WHARFINGER_TOOLS:-$PWD/build/tools}
mkdir -p "$tools/bin"
tools=$(cd "$tools" && pwd)
requirements=$PWD/tests/clients/requirements.txt
javascript=$PWD/tests/clients/javascript

debian=(docker.io podman skopeo buildah nginx-light wrk postgresql busybox-static awscli)

# name | Go package | version
go_tools=(
    "conformance|github.com/opencontainers/distribution-spec/conformance|v0.0.0-20260831232431-97274622c111"
    "crane|github.com/google/go-containerregistry/cmd/crane|v0.22.1"
    "oras|oras.land/oras/cmd/oras|v1.3.6"
    "regctl|github.com/regclient/regclient/cmd/regctl|v0.11.7"
    "minio|github.com/minio/minio|v0.0.0-20260212201848-7aac2a2c5b7c"
    "registry|github.com/distribution/distribution/v3/cmd/registry|v3.1.1"
    "helm|helm.sh/helm/v3/cmd/helm|v3.22.0"
    "cosign|github.com/sigstore/cosign/v3/cmd/cosign|v3.1.3"
)

# name | crate version
cargo_tools=("cargo-deny|0.20.2" "cargo-fuzz|0.13.2")

missing_debian() {
    for package in "${debian[@]}"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || echo "$package"
    done
}

# What is installed by name and version, one empty file each, so that a new version is installed over the old one.
stamp() { echo "$tools/stamps/$1@$2"; }
has() { [ -e "$(stamp "$1" "$2")" ] && [ -x "$tools/bin/$1" ]; }
mark() { mkdir -p "$tools/stamps" && rm -f "$tools/stamps/$1@"* && touch "$(stamp "$1" "$2")"; }
python_version() { sha256sum "$requirements" | cut -c1-16; }
has_python() { [ -e "$(stamp venv "$(python_version)")" ] && [ -x "$tools/venv/bin/pytest" ]; }
javascript_version() { sha256sum "$javascript/package-lock.json" | cut -c1-16; }
has_javascript() { [ -e "$(stamp javascript "$(javascript_version)")" ] && [ -d "$tools/javascript/node_modules" ]; }

check() {
    local absent=()
    mapfile -t absent < <(missing_debian)
    for line in "${go_tools[@]}"; do
        IFS='|' read -r name _ version <<<"$line"
        has "$name" "$version" || absent+=("$name")
    done
    for line in "${cargo_tools[@]}"; do
        IFS='|' read -r name version <<<"$line"
        has "$name" "$version" || absent+=("$name")
    done
    has_python || absent+=("the Python packages of tests/clients/requirements.txt")
    has_javascript || absent+=("the JavaScript packages of tests/clients/javascript")
    [ ${#absent[@]} -eq 0 ] && return 0
    printf 'missing: %s\n' "${absent[@]}" >&2
    return 1
}

install_debian() {
    local packages
    mapfile -t packages < <(missing_debian)
    [ ${#packages[@]} -eq 0 ] && return 0
    if [ "$(id -u)" -ne 0 ]; then
        echo "missing Debian packages; as root: apt-get install -y ${packages[*]}" >&2
        return 1
    fi
    echo "installing: ${packages[*]}"
    apt-get update -q >/dev/null
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q "${packages[@]}" >"$tools/apt.log" 2>&1 || {
        tail -20 "$tools/apt.log" >&2
        return 1
    }
}

install_go() {
    for line in "${go_tools[@]}"; do
        IFS='|' read -r name package version <<<"$line"
        has "$name" "$version" && continue
        echo "installing $name $version"
        # CGO off: plain static programs, no C toolchain needed.
        GOBIN="$tools/bin" CGO_ENABLED=0 go install "$package@$version"
        mark "$name" "$version"
    done
}

install_python() {
    has_python && return 0
    echo "installing the Python packages of tests/clients/requirements.txt"
    python3 -m venv --clear "$tools/venv"
    "$tools/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps -r "$requirements"
    mark venv "$(python_version)"
}

install_javascript() {
    has_javascript && return 0
    echo "installing the JavaScript packages of tests/clients/javascript"
    mkdir -p "$tools/javascript"
    cp "$javascript/package.json" "$javascript/package-lock.json" "$tools/javascript/"
    npm ci --prefix "$tools/javascript" --no-audit --no-fund --ignore-scripts --silent
    mark javascript "$(javascript_version)"
}

install_cargo() {
    for line in "${cargo_tools[@]}"; do
        IFS='|' read -r name version <<<"$line"
        has "$name" "$version" && continue
        echo "installing $name $version"
        # A folder outside the checkout: the tools' build must not follow this project's toolchain file.
        (cd / && CARGO_TARGET_DIR="$tools/cargo-build" cargo install --quiet --locked --root "$tools" "$name@$version")
        mark "$name" "$version"
    done
    rm -rf "$tools/cargo-build"
}

case "${1:-}" in
--check) check ;;
"")
    check 2>/dev/null && exit 0
    # One build at a time on one folder, however many checkouts run this at once.
    exec 9>"$tools/lock"
    flock 9
    install_debian
    install_python
    install_javascript
    install_go
    install_cargo
    check
    ;;
*)
    echo "usage: tests/tools.sh [--check]" >&2
    exit 2
    ;;
esac
