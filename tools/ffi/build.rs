//! How the shared library is linked.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let of_target = |name| std::env::var(name).unwrap_or_default();
    match (of_target("CARGO_CFG_TARGET_OS").as_str(), of_target("CARGO_CFG_TARGET_VENDOR").as_str()) {
        ("linux" | "android", _) => {
            // Without a name of its own, programs would remember the path where it was when they were linked.
            println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libqwip.so");
            // Android devices with pages of 16 KiB.
            println!("cargo:rustc-cdylib-link-arg=-Wl,-z,max-page-size=16384");
        }
        (_, "apple") => println!("cargo:rustc-cdylib-link-arg=-Wl,-install_name,@rpath/libqwip.dylib"),
        _ => {}
    }
}
