#!/usr/bin/env bash
# Makes build/CQwip.xcframework of libqwip for iPhones (arm64) and their simulator (arm64 and x86_64), a zip of it, and prints
# the checksum for Package.swift. On a Mac, with Xcode and rustup:
#   rustup target add aarch64-apple-ios aarch64-apple-ios-sim x86_64-apple-ios
#   tools/ffi/swift/build-xcframework.sh [--features constrain,...]
#
# A dynamic framework, not a static library: two Rust libraries in one app might otherwise collide in their symbols.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
out=$here/build
export IPHONEOS_DEPLOYMENT_TARGET=15.0
# Line numbers go to a dSYM beside the framework, not into the app.
export CARGO_PROFILE_RELEASE_DEBUG=line-tables-only CARGO_PROFILE_RELEASE_SPLIT_DEBUGINFO=packed CARGO_PROFILE_RELEASE_STRIP=none
version=$(cd "$root" && cargo metadata --no-deps --format-version 1 |
  python3 -c 'import json, sys; print(next(p["version"] for p in json.load(sys.stdin)["packages"] if p["name"] == "qwip-ffi"))')
rm -rf "$out"
mkdir -p "$out"

for target in aarch64-apple-ios aarch64-apple-ios-sim x86_64-apple-ios; do
  (cd "$root" && cargo build --release --locked -p qwip-ffi --target "$target" "$@")
done

# framework FOLDER PLATFORM TARGET...: the targets in one binary, with headers, module map, privacy manifest and dSYM.
framework() {
  local folder=$out/$1 platform=$2 target
  shift 2
  local bundle=$folder/CQwip.framework symbols=$folder/CQwip.framework.dSYM
  local libraries=() debug=()
  for target in "$@"; do
    libraries+=("$root/target/$target/release/libqwip.dylib")
    debug+=("$root/target/$target/release/libqwip.dylib.dSYM/Contents/Resources/DWARF/libqwip.dylib")
  done
  mkdir -p "$bundle/Headers" "$bundle/Modules" "$symbols/Contents/Resources/DWARF"
  lipo -create "${libraries[@]}" -output "$bundle/CQwip"
  lipo -create "${debug[@]}" -output "$symbols/Contents/Resources/DWARF/CQwip"
  cp "$root/target/$1/release/libqwip.dylib.dSYM/Contents/Info.plist" "$symbols/Contents/Info.plist"
  install_name_tool -id @rpath/CQwip.framework/CQwip "$bundle/CQwip"
  strip -x "$bundle/CQwip"
  cp "$root/tools/ffi/include/qwip.h" "$bundle/Headers/"
  cp "$here/Sources/Qwip/PrivacyInfo.xcprivacy" "$bundle/"
  cp "$root/LICENSE-MIT" "$root/LICENSE-APACHE" "$bundle/"
  cat >"$bundle/Modules/module.modulemap" <<'MAP'
framework module CQwip [system] {
    header "qwip.h"
    export *
}
MAP
  cat >"$bundle/Info.plist" <<PLIST
<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
	<key>CFBundleDevelopmentRegion</key><string>en</string>
	<key>CFBundleExecutable</key><string>CQwip</string>
	<key>CFBundleIdentifier</key><string>org.qwip.CQwip</string>
	<key>CFBundleInfoDictionaryVersion</key><string>6.0</string>
	<key>CFBundleName</key><string>CQwip</string>
	<key>CFBundlePackageType</key><string>FMWK</string>
	<key>CFBundleShortVersionString</key><string>$version</string>
	<key>CFBundleVersion</key><string>$version</string>
	<key>CFBundleSupportedPlatforms</key><array><string>$platform</string></array>
	<key>MinimumOSVersion</key><string>$IPHONEOS_DEPLOYMENT_TARGET</string>
</dict>
</plist>
PLIST
  # The linker's signature ended with strip; whoever embeds the framework signs it with theirs.
  codesign --force --sign - "$bundle"
}

framework device iPhoneOS aarch64-apple-ios
framework simulator iPhoneSimulator aarch64-apple-ios-sim x86_64-apple-ios

xcodebuild -create-xcframework \
  -framework "$out/device/CQwip.framework" -debug-symbols "$out/device/CQwip.framework.dSYM" \
  -framework "$out/simulator/CQwip.framework" -debug-symbols "$out/simulator/CQwip.framework.dSYM" \
  -output "$out/CQwip.xcframework"

(cd "$out" && zip -q -r -y CQwip.xcframework.zip CQwip.xcframework)
echo "$out/CQwip.xcframework.zip"
echo "checksum: $(cd "$here" && swift package compute-checksum build/CQwip.xcframework.zip)"
