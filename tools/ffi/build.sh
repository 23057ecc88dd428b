#!/usr/bin/env bash
# libqwip as an app ships it, for Linux and Android: a shared library that exports the functions of qwip.h and nothing of the
# crates that it is made of, stripped, with the header, the licences and the symbols for crash reports beside it.
#
#   tools/ffi/build.sh OUT_DIR [--target TRIPLE] [--no-default-features] [--features LIST]
#
# CC and STRIP name the tools for the target (cc, strip); PROFILE cargo's profile (app, which is the smallest).
set -euo pipefail
[ $# -gt 0 ] || { sed -n '5,7s/^# \{0,3\}//p' "$0" >&2; exit 2; }
out=$(realpath -m "$1")
shift
cd "$(dirname "$0")/../.."
profile=${PROFILE:-app}
built=${CARGO_TARGET_DIR:-target}
for ((i = 1; i < $#; i++)); do
  if [ "${!i}" = --target ]; then next=$((i + 1)) && built=$built/${!next}; fi
done
built=$built/$profile
cargo build --locked --profile "$profile" -p qwip-ffi "$@"
mkdir -p "$out/include" "$out/lib" "$out/symbols"
map=$(mktemp)
trap 'rm -f "$map"' EXIT
echo '{ global: qwip_*; local: *; };' >"$map"
# cargo's own shared library exports what its crates declare for C as well: here the static one is linked once more.
"${CC:-cc}" -shared -o "$out/symbols/libqwip.so" -Wl,--whole-archive "$built/libqwip.a" -Wl,--no-whole-archive -Wl,--gc-sections \
  "-Wl,--version-script=$map" -Wl,-soname,libqwip.so -Wl,-z,max-page-size=16384 -Wl,--no-undefined -lm -ldl -lc
"${STRIP:-strip}" -o "$out/lib/libqwip.so" "$out/symbols/libqwip.so"
cp tools/ffi/include/qwip.h "$out/include/"
cp LICENSE-MIT LICENSE-APACHE "$out/"
# Pages of 16 KiB, one prefix for all that it exports.
if readelf -lW "$out/lib/libqwip.so" | awk '$1 == "LOAD" {print $NF}' | grep -vxE '0x(4|10)000'; then
  echo "$0: the library is not laid out for pages of 16 KiB" >&2
  exit 1
fi
if nm -D --defined-only "$out/lib/libqwip.so" | grep -v ' T qwip_'; then
  echo "$0: the library exports other names than qwip_" >&2
  exit 1
fi
echo "$out/lib/libqwip.so: $(stat -c %s "$out/lib/libqwip.so") bytes"
