#!/usr/bin/env bash
# Builds libqwip.so for Android with the NDK, for the Gradle module beside it:
#
#   ANDROID_NDK_HOME=… tools/ffi/java/android/build-native.sh [FEATURES]
#
#   build/qwip/lib/ABI/libqwip.so       stripped: what the app carries
#   build/qwip/symbols/ABI/libqwip.so   the same with symbols: keep it for every release, crash reports need it
#                                       (ndk-stack, or zipped as native debug symbols in the Play Console)
#   build/qwip/assets/qwip/NOTICES.txt  licences of everything in it, which the app must show
#
# FEATURES: as cargo's --features, with a leading "only:" without the default ones (docs/embedding.md has the list).
# Needs NDK r27 or later, python3, and rustup target add aarch64-linux-android x86_64-linux-android.
# Not run where it was written: the NDK is in no package registry.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../../.." && pwd)
out=$here/build/qwip
api=24

[ -n "${ANDROID_NDK_HOME:-}" ] || { echo "$0: ANDROID_NDK_HOME is not set" >&2; exit 1; }
case $(uname -s) in
  Linux) host=linux-x86_64 ;;
  Darwin) host=darwin-x86_64 ;;
  *) echo "$0: no NDK for $(uname -s) is known here" >&2; exit 1 ;;
esac
tools=$ANDROID_NDK_HOME/toolchains/llvm/prebuilt/$host/bin
[ -x "$tools/llvm-strip" ] || { echo "$0: no NDK in $ANDROID_NDK_HOME" >&2; exit 1; }

features=()
case ${1:-} in
  '') ;;
  only:*) features=(--no-default-features --features "${1#only:}") ;;
  *) features=(--features "$1") ;;
esac

rm -rf "$out"
mkdir -p "$out/assets/qwip"
# Symbols are split off below. Line tables make a crash report readable.
export CARGO_PROFILE_RELEASE_DEBUG=line-tables-only CARGO_PROFILE_RELEASE_STRIP=none
export CARGO_TARGET_DIR=$here/build/cargo

build() { # ABI, target
  local abi=$1 target=$2 upper built library
  upper=$(echo "$target" | tr 'a-z-' 'A-Z_')
  export "CARGO_TARGET_${upper}_LINKER=$tools/$target$api-clang"
  export "CC_${target//-/_}=$tools/$target$api-clang" "AR_${target//-/_}=$tools/llvm-ar"
  (cd "$root" && cargo build -p qwip-ffi --release --locked --target "$target" ${features[@]+"${features[@]}"})
  built=$CARGO_TARGET_DIR/$target/release/libqwip.so
  library=$out/lib/$abi/libqwip.so
  mkdir -p "$out/lib/$abi" "$out/symbols/$abi"
  cp "$built" "$out/symbols/$abi/libqwip.so"
  "$tools/llvm-strip" --strip-unneeded -o "$library" "$built"
  check_pages "$library"
  printf '%s: %s bytes\n' "$abi" "$(wc -c <"$library")"
}

# Every segment that is loaded begins at a multiple of 16 KB.
check_pages() {
  local aligns align
  aligns=$("$tools/llvm-readelf" -lW "$1" | awk '$1 == "LOAD" {print $NF}')
  [ -n "$aligns" ] || { echo "$0: $1 has no segments" >&2; exit 1; }
  for align in $aligns; do
    if [ $((align)) -lt 16384 ]; then echo "$0: a segment of $1 is aligned to $align, 0x4000 is needed" >&2; exit 1; fi
  done
}

build arm64-v8a aarch64-linux-android
build x86_64 x86_64-linux-android
(cd "$root" && python3 "$here/notices.py" aarch64-linux-android ${features[@]+"${features[@]}"}) >"$out/assets/qwip/NOTICES.txt"
echo "done: $out"
