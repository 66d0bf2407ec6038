#!/usr/bin/env bash
# Runs every fuzz target for a while: fuzz/run.sh [SECONDS, default 10] [TARGET ...]
#
# A target fails if an input makes it panic, take 5 s or use 1 GiB of memory; that input is kept in fuzz/artifacts.
# No sanitizer: the code under test has no `unsafe`, and a build without one takes a fraction of the time.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-10}
shift || true
tools=${WHARFINGER_TOOLS:-$PWD/build/tools}
[ -x "$tools/bin/cargo-fuzz" ] || { echo "cargo-fuzz is not installed: run \`make tools\`" >&2; exit 1; }
rustc +nightly --version >/dev/null || { echo "a nightly toolchain is not installed: rustup toolchain install nightly" >&2; exit 1; }
export PATH="$tools/bin:$PATH"

targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(basename -s .rs fuzz/fuzz_targets/*.rs)

# The program's own versions of its dependencies; cargo adds the fuzzer's to the copy.
cp Cargo.lock fuzz/Cargo.lock
cargo +nightly fuzz build --sanitizer none --release
mkdir -p build
fuzz_one() {
    local target=$1 log=build/fuzz-$1.log seeds=()
    mkdir -p "fuzz/corpus/$target"
    [ -d "fuzz/seeds/$target" ] && seeds=("fuzz/seeds/$target")
    if cargo +nightly fuzz run --sanitizer none --release "$target" "fuzz/corpus/$target" "${seeds[@]}" -- \
        -max_total_time="$seconds" -timeout=5 -rss_limit_mb=1024 -max_len=65536 -print_final_stats=1 >"$log" 2>&1; then
        echo "fuzz $target: ok, $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs"
    else
        echo "fuzz $target: FAILED, see $log"
        tail -30 "$log"
        return 1
    fi
}
export -f fuzz_one
export seconds

# A target uses one core. xargs fails if one of them does, and runs the others all the same.
printf '%s\n' "${targets[@]}" | xargs -P "$(nproc)" -I '{}' bash -c 'fuzz_one {}'
echo "fuzz: all ${#targets[@]} passed"
