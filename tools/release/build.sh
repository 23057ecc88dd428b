#!/usr/bin/env bash
# Builds what a release consists of, into target/release-files: for Linux one program that needs nothing but a C library of
# 2014 or later (glibc 2.17; the GPU's driver is found when the program runs), for Windows one .exe, each packed with
# licences, completions and the manual page, and SHA256SUMS.
#
#   tools/release/build.sh [linux] [windows]
#
# linux:   pip install ziglang cargo-zigbuild (a C compiler that links against any glibc)
# windows: apt-get install gcc-mingw-w64-x86-64-posix rustc-web rust-web-src (Debian), or rustup target add
#          x86_64-pc-windows-gnu elsewhere
set -euo pipefail
cd "$(dirname "$0")/../.."
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
out=$PWD/target/release-files
rm -rf "$out"
mkdir -p "$out"
export CARGO_PROFILE_RELEASE_DEBUG=0 CARGO_PROFILE_RELEASE_STRIP=symbols CARGO_INCREMENTAL=0

need() { command -v "$1" >/dev/null || { echo "$0: $1 is not here: see the beginning of this script" >&2; exit 1; }; }

# name of the program, name of the package
pack() {
  local program=$1 package=$2 folder
  folder=$out/$package
  mkdir -p "$folder"
  cp "$program" README.md README.zh-CN.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE "$folder/"
  "$out/qwip" man "$folder/man"
  mkdir "$folder/completions"
  "$out/qwip" completions bash >"$folder/completions/qwip.bash"
  "$out/qwip" completions zsh >"$folder/completions/_qwip"
  "$out/qwip" completions fish >"$folder/completions/qwip.fish"
  "$out/qwip" completions powershell >"$folder/completions/_qwip.ps1"
}

linux() {
  need cargo-zigbuild
  CARGO_TARGET_DIR=target/release-build cargo zigbuild --release --locked --target x86_64-unknown-linux-gnu.2.17 -p qwip-cli
  local program=target/release-build/x86_64-unknown-linux-gnu/release/qwip
  local newest
  newest=$(objdump -T "$program" | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -1)
  echo "linux: needs $newest and $(objdump -p "$program" | awk '/NEEDED/ {print $2}' | tr '\n' ' ')"
  if [ "$(printf '%s\n' "$newest" GLIBC_2.17 | sort -V | tail -1)" != GLIBC_2.17 ]; then
    echo "$0: the program needs $newest, at most GLIBC_2.17 was wanted" >&2
    exit 1
  fi
  cp "$program" "$out/qwip"
  pack "$program" "qwip-$version-x86_64-linux"
  tar -C "$out" -czf "$out/qwip-$version-x86_64-linux.tar.gz" "qwip-$version-x86_64-linux"
}

windows() {
  need x86_64-w64-mingw32-gcc-posix
  local std=() rustc
  rustc=$(command -v rustc)
  if ! [ -d "$(rustc --print sysroot)/lib/rustlib/x86_64-pc-windows-gnu" ]; then
    # The standard library is built as well, with Debian's compiler, which has its source.
    std=(-Zbuild-std=std,panic_unwind)
    rustc=/usr/bin/rustc
    export RUSTC_BOOTSTRAP=1
  fi
  RUSTC=$rustc CARGO_TARGET_DIR=target/windows \
    CARGO_TARGET_X86_64_PC_WINDOWS_GNU_LINKER=x86_64-w64-mingw32-gcc-posix \
    cargo build "${std[@]}" --release --locked --target x86_64-pc-windows-gnu -p qwip-cli
  local program=target/windows/x86_64-pc-windows-gnu/release/qwip.exe
  # What writes the completions and the manual page has to run here.
  [ -x "$out/qwip" ] || { cargo build --release --locked -p qwip-cli && cp target/release/qwip "$out/qwip"; }
  pack "$program" "qwip-$version-x86_64-windows"
  (cd "$out" && python3 -m zipfile -c "qwip-$version-x86_64-windows.zip" "qwip-$version-x86_64-windows")
}

[ $# -gt 0 ] || set -- linux windows
for system in "$@"; do
  case $system in
    linux | windows) "$system" ;;
    *) echo "$0: '$system' is neither linux nor windows" >&2; exit 2 ;;
  esac
done
rm -f "$out/qwip"
(cd "$out" && sha256sum qwip-*.tar.gz qwip-*.zip 2>/dev/null >SHA256SUMS || true)
ls -l "$out"
