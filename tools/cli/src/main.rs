//! The qwip command line.
fn main() {}
