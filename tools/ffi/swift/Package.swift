// swift-tools-version:5.9
import PackageDescription

// The C library comes as build/CQwip.xcframework, which build-xcframework.sh makes. For a release give its address and the
// checksum that the script prints: .binaryTarget(name: "CQwip", url: ..., checksum: ...).
// With QWIP_SYSTEM set, an installed or freshly built libqwip is linked in its place (macOS, Linux):
//   QWIP_SYSTEM=1 swift test -Xlinker -L../../../target/release
let core: Target = Context.environment["QWIP_SYSTEM"] == nil
    ? .binaryTarget(name: "CQwip", path: "build/CQwip.xcframework")
    : .systemLibrary(name: "CQwip", path: "Sources/CQwip")

let package = Package(
    name: "Qwip",
    platforms: [.iOS(.v15), .macOS(.v12)],
    products: [.library(name: "Qwip", targets: ["Qwip"])],
    targets: [
        core,
        .target(name: "Qwip", dependencies: ["CQwip"], resources: [.copy("PrivacyInfo.xcprivacy")]),
        .testTarget(name: "QwipTests", dependencies: ["Qwip"]),
    ]
)
