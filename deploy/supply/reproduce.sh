#!/usr/bin/env bash
# Builds the program twice from the last commit, in two directories, and says whether both are the same, byte for byte.
#
#   deploy/supply/reproduce.sh [DIRECTORY]     # the program is left in DIRECTORY, a new one by default
#
# Whoever has the same commit and the same compiler (`rustc -vV`, `cc --version`) gets the same SHA-256 as whoever published
# the program: the paths of this machine are taken out of it, and nothing in it tells the time.
set -euo pipefail

source=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
result=${1:-$(mktemp -d)}
mkdir -p "$result"
result=$(cd "$result" && pwd)
cargo_home=${CARGO_HOME:-$HOME/.cargo}

# In a directory of its own each time, with what a cache of another build could hold kept out of it.
build() {
    local directory=$1
    mkdir -p "$directory"
    git -C "$source" archive HEAD | tar -x -C "$directory"
    (
        cd "$directory"
        # For the compiler of Rust, and for that of what is written in C.
        export RUSTFLAGS="--remap-path-prefix=$directory=/build --remap-path-prefix=$cargo_home=/cargo"
        export CFLAGS="-ffile-prefix-map=$directory=/build -ffile-prefix-map=$cargo_home=/cargo"
        export CXXFLAGS="$CFLAGS"
        SOURCE_DATE_EPOCH=$(git -C "$source" log -1 --format=%ct)
        export SOURCE_DATE_EPOCH
        export CARGO_INCREMENTAL=0
        CARGO_TARGET_DIR="$directory/target" cargo build --locked --release --bin scope-shim
    )
}

build "$work/first"
cp "$work/first/target/release/scope-shim" "$result/scope-shim"
rm -rf "$work/first"
build "$work/second-and-longer"

sha256sum "$result/scope-shim"
if cmp "$result/scope-shim" "$work/second-and-longer/target/release/scope-shim"; then
    echo "both builds are the same"
else
    cp "$work/second-and-longer/target/release/scope-shim" "$result/scope-shim.second"
    echo "the builds differ: compare $result/scope-shim with $result/scope-shim.second" >&2
    exit 1
fi
