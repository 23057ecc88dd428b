//! The built-in model: a demonstration inside the program, so that everything works without a download.

/// Gives the bytes the alignment that a mapped file has for vector loads.
#[repr(C, align(64))]
struct Aligned<T: ?Sized>(T);

static FILE: &Aligned<[u8]> = &Aligned(*include_bytes!("../../builtin/builtin.gguf"));

/// How the user names it.
pub(crate) const NAME: &str = "builtin";

/// What must be said before anybody judges its answers.
pub(crate) const NOTICE: &str = "The built-in model is a tiny demonstration of qwip: it knows very little. For a \
    real one, `qwip pull qwen3:4b` downloads Qwen3-4B (2.5 GB, --source modelscope takes it from there), and \
    `qwip chat qwen3:4b` talks with it; -m takes the path of a GGUF file, `qwip convert` makes one of a checkpoint.";

/// The GGUF file.
pub(crate) fn bytes() -> &'static [u8] {
    &FILE.0
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_is_aligned_and_opens() {
        assert_eq!(super::bytes().as_ptr() as usize % 64, 0);
        let bytes = qwip::file::Bytes::Static(super::bytes());
        let file = std::sync::Arc::new(qwip::ModelFile::from_bytes(bytes).unwrap());
        qwip::Model::load(file).unwrap();
    }
}
