//! include/qwip.h is what cbindgen makes of the sources. `QWIP_BLESS=1` writes it anew.

use std::path::Path;

#[test]
fn the_header_is_that_of_the_sources() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(folder.join("cbindgen.toml")).expect("cbindgen.toml");
    let bindings = cbindgen::generate_with_config(folder, config).expect("the sources are read");
    let mut made = Vec::new();
    bindings.write(&mut made);
    let made = String::from_utf8(made).expect("UTF-8");
    let path = folder.join("include/qwip.h");
    if std::env::var_os("QWIP_BLESS").is_some() {
        std::fs::write(&path, &made).expect("include/qwip.h can be written");
    }
    let found = std::fs::read_to_string(&path).expect("include/qwip.h");
    let differs = made.lines().zip(found.lines()).enumerate().find(|(_, (made, found))| made != found);
    if let Some((i, (made, found))) = differs {
        panic!("include/qwip.h, line {}: '{found}' should be '{made}' (QWIP_BLESS=1 writes it)", i + 1);
    }
    assert_eq!(made.lines().count(), found.lines().count(), "lines (QWIP_BLESS=1 writes the header)");
}
