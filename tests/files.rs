//! Where a model's bytes come from: memory of the host, a part of an open file, at any address; who watches it being
//! loaded, and may break off.

mod common;

use std::fs::File;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{fixture_tokens, load, options};
use qwip::file::Bytes;
use qwip::quant::gguf::{Set, Writer};
use qwip::{Cancel, Error, Kernels, KvType, Model, ModelFile, OpenOptions, Session};

const PLAIN: &str = "qwen3-wide-heads";
const READ: OpenOptions = OpenOptions { mmap: false, mlock: false, prefault: false };
const TOUCHED: OpenOptions = OpenOptions { mmap: true, mlock: false, prefault: true };

fn logits(file: ModelFile, kernels: &'static Kernels, tokens: &[u32]) -> Vec<f32> {
    let model = Arc::new(Model::load(Arc::new(file)).expect("a model"));
    let cpu = qwip::cpu_with(kernels, 2).expect("a CPU");
    let mut all = Vec::new();
    // Many rows, few, and one go different ways.
    for n in [tokens.len(), 3, 1] {
        let mut session =
            Session::new(model.clone(), cpu.clone(), &options(KvType::F16, 64)).expect("a session");
        session.extend(&tokens[..n], &Cancel::new(), &mut |_| {}).expect("logits");
        all.extend_from_slice(session.logits());
    }
    all
}

/// Bytes that begin `shift` bytes behind an address that is a multiple of 64.
struct Shifted {
    bytes: Vec<u8>,
    start: usize,
    dropped: Arc<AtomicUsize>,
}

impl Shifted {
    fn new(bytes: &[u8], shift: usize, dropped: &Arc<AtomicUsize>) -> Shifted {
        let mut room = vec![0; bytes.len() + 128];
        let start = room.as_ptr().align_offset(64) + shift;
        room[start..start + bytes.len()].copy_from_slice(bytes);
        room.truncate(start + bytes.len());
        Shifted { bytes: room, start, dropped: dropped.clone() }
    }
}

impl AsRef<[u8]> for Shifted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

impl Drop for Shifted {
    fn drop(&mut self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

/// A file of `bytes` with `before` and `after` around them.
fn asset(dir: &Path, before: usize, bytes: &[u8], after: usize) -> File {
    let path = dir.join(format!("asset-{before}-{after}"));
    let mut file = File::create(&path).expect("a file");
    for part in [&vec![0xA5; before][..], bytes, &vec![0x5A; after]] {
        file.write_all(part).expect("bytes");
    }
    File::open(&path).expect("the file")
}

#[test]
fn weights_at_any_address_give_the_same_bits() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let types = ["f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl"].map(|ty| (PLAIN, ty));
    let k_quants = ["q2_k", "q3_k_m", "q4_k_m", "q5_k_m", "q6_k", "iq4_xs"].map(|ty| ("qwen3-kquant", ty));
    let others = [("qwen35moe-packed", "f16"), ("qwen3next-grouped", "q8_0")];
    for (name, ty) in types.into_iter().chain(k_quants).chain(others) {
        let model = load(dir.path(), name, ty);
        let tokens = fixture_tokens(name);
        let bytes = std::fs::read(model.file().path()).expect("the file");
        for kernels in Kernels::available() {
            let open = ModelFile::open(model.file().path(), OpenOptions::default()).expect("the file");
            let want = logits(open, kernels, &tokens);
            let dropped = Arc::new(AtomicUsize::new(0));
            for shift in [1, 2, 3] {
                let host = Bytes::Host(Box::new(Shifted::new(&bytes, shift, &dropped)));
                assert!(!host.as_ref().as_ptr().addr().is_multiple_of(4));
                assert_eq!(format!("{host:?}"), format!("Host({} bytes)", bytes.len()));
                let file = ModelFile::from_bytes(host).expect("a file");
                let found = logits(file, kernels, &tokens);
                assert_eq!(found, want, "{name} {ty} {:?}, {shift} bytes on", kernels.isa);
            }
            // The host's memory is its own again.
            assert_eq!(dropped.load(Ordering::Relaxed), 3);
        }
        let want =
            logits(ModelFile::from_bytes(Bytes::Owned(bytes.clone())).expect("a file"), here(), &tokens);
        for (before, options) in [(3, OpenOptions::default()), (5001, TOUCHED), (3, READ), (0, READ)] {
            let (file, len) = (asset(dir.path(), before, &bytes, 10), bytes.len() as u64);
            let file = ModelFile::open_at(file, Path::new("an asset"), before as u64, Some(len), options)
                .expect("a part of a file");
            assert_eq!((file.len(), file.path()), (len, Path::new("an asset")));
            assert_eq!(logits(file, here(), &tokens), want, "{name} {ty} behind {before} bytes");
        }
    }
}

fn here() -> &'static Kernels {
    Kernels::detect().expect("kernels")
}

#[test]
fn a_part_that_the_file_does_not_have_is_refused_with_both_numbers() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let open = |offset, len| {
        let file = asset(dir.path(), 3, b"GGUF, or is it?", 2);
        ModelFile::open_at(file, Path::new("a.apk"), offset, len, READ).expect_err("no model").to_string()
    };
    assert_eq!(open(3, Some(18)), "a.apk: 18 bytes from 3 on are asked for, but the file has 20");
    assert_eq!(open(21, None), "a.apk: 0 bytes from 21 on are asked for, but the file has 20");
    let most = "a.apk: 18446744073709551615 bytes from 5 on are asked for, but the file has 20";
    assert_eq!(open(5, Some(u64::MAX)), most);
    for (offset, len) in [(20, None), (3, Some(0)), (3, Some(15)), (0, None)] {
        assert!(open(offset, len).starts_with("a.apk: "), "{}", open(offset, len));
    }
    #[cfg(unix)]
    {
        let folder = File::open(dir.path()).expect("a folder");
        let error = ModelFile::open_at(folder, Path::new("a folder"), 0, None, READ).expect_err("a folder");
        assert_eq!(error.to_string(), "a folder: is not a file");
    }
}

#[test]
fn a_split_model_has_to_be_opened_by_its_path() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut writer = Writer::new();
    for (key, value) in [("split.count", 2u16), ("split.no", 0)] {
        writer.set(key, Set::from(u64::from(value)));
    }
    writer.tensor("a", &[1], qwip::quant::TensorType::F32).expect("a tensor");
    let mut out = writer.start(Vec::new()).expect("a header");
    out.write(&[0; 4]).expect("data");
    let bytes = out.finish().expect("a file");
    let want = "is one of 2 files of a split model, which can only be opened by its path";
    let file = asset(dir.path(), 7, &bytes, 0);
    let error = ModelFile::open_at(file, Path::new("a.apk"), 7, None, READ).expect_err("half a model");
    assert_eq!(error.to_string(), format!("a.apk: {want}"));
    let error = ModelFile::from_bytes(Bytes::Owned(bytes)).expect_err("half a model");
    assert_eq!(error.to_string(), format!("<memory>: {want}"));
}

#[test]
fn whoever_watches_hears_all_of_it_and_can_break_off() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let model = load(dir.path(), PLAIN, "f16");
    let bytes = std::fs::read(model.file().path()).expect("the file");
    // 40 MiB: a model and what comes behind it.
    let (before, slice) = (5, 16 << 20);
    let len = 40 << 20;
    drop(asset(dir.path(), before, &bytes, len - bytes.len()));
    let path = dir.path().join(format!("asset-{before}-{}", len - bytes.len()));
    let open = |options, break_off: usize| {
        let mut heard = Vec::new();
        let file = File::open(&path).expect("the file");
        let name = Path::new("an asset");
        let result =
            ModelFile::open_at_watched(file, name, before as u64, None, options, &mut |done, total| {
                heard.push((done as usize, total as usize));
                if heard.len() == break_off { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
        (result, heard)
    };
    let steps: Vec<_> = [0, slice, 2 * slice, len].map(|done| (done, len)).into();
    for (options, steps) in
        [(READ, &steps[..]), (TOUCHED, &steps), (OpenOptions::default(), &[(0, len), (len, len)])]
    {
        let (result, heard) = open(options, usize::MAX);
        assert_eq!((result.expect("a model").len(), &heard[..]), (len as u64, steps), "{options:?}");
        for at in 1..=steps.len() {
            let (result, heard) = open(options, at);
            assert!(matches!(result, Err(Error::Cancelled)), "{result:?}");
            assert_eq!(heard, steps[..at], "{options:?}");
        }
    }
}

#[test]
fn of_a_split_model_every_file_is_heard_of() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let sizes = [1usize, 3].map(|tensors| {
        let mut writer = Writer::new();
        writer.set("split.count", Set::from(2u64));
        writer.set("split.no", Set::from(u64::from(tensors == 3)));
        writer.set("split.tensors.count", Set::from(4u64));
        let names: Vec<_> = (0..tensors).map(|i| format!("{tensors}.{i}")).collect();
        for name in &names {
            writer.tensor(name, &[8], qwip::quant::TensorType::F32).expect("a tensor");
        }
        let mut out = writer.start(Vec::new()).expect("a header");
        names.iter().for_each(|_| out.write(&[0; 32]).expect("data"));
        let bytes = out.finish().expect("a file");
        let name = format!("m-0000{}-of-00002.gguf", if tensors == 1 { 1 } else { 2 });
        std::fs::write(dir.path().join(name), &bytes).expect("a file");
        bytes.len() as u64
    });
    let path = dir.path().join("m-00001-of-00002.gguf");
    let (first, all) = (sizes[0], sizes[0] + sizes[1]);
    for options in [OpenOptions::default(), READ, TOUCHED] {
        let mut heard = Vec::new();
        let file = ModelFile::open_watched(&path, options, &mut |done, total| {
            heard.push((done, total));
            ControlFlow::Continue(())
        });
        assert_eq!(file.expect("a model").parts().len(), 2);
        assert_eq!(heard, [(0, first), (first, first), (first, all), (all, all)], "{options:?}");
    }
}

#[test]
fn a_file_that_grows_while_it_is_read_is_as_long_as_it_was() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let model = load(dir.path(), PLAIN, "f16");
    let path = dir.path().join("grows.gguf");
    std::fs::copy(model.file().path(), &path).expect("a copy");
    let len = model.file().len();
    let grow = |_: u64, _: u64| {
        let mut file = File::options().append(true).open(&path).expect("the file");
        file.write_all(&[7; 100_000]).expect("bytes");
        ControlFlow::Continue(())
    };
    let file = ModelFile::open_watched(&path, READ, &mut { grow }).expect("a model");
    assert_eq!(file.len(), len);
    assert!(path.metadata().expect("the file").len() > len);
    // And one that shrinks is refused.
    let result = ModelFile::open_watched(&path, READ, &mut |_, _| {
        let file = File::options().write(true).open(&path).expect("the file");
        file.set_len(1000).expect("shorter");
        ControlFlow::Continue(())
    });
    assert!(matches!(result, Err(Error::Format { .. })), "{result:?}");
}

/// Bytes of a mapped file that are in memory for this process.
#[cfg(target_os = "linux")]
fn resident(path: &Path) -> u64 {
    let maps = std::fs::read_to_string("/proc/self/smaps").expect("the maps");
    let mut lines = maps.lines().skip_while(|line| !line.ends_with(path.to_str().expect("a path")));
    let line = lines.find(|line| line.starts_with("Rss:")).expect("the map");
    1024 * line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).expect("a number")
}

#[cfg(target_os = "linux")]
#[test]
fn mapped_pages_come_at_once_and_go_when_told() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let model = load(dir.path(), PLAIN, "f32");
    let path = dir.path().join("touched.gguf");
    std::fs::copy(model.file().path(), &path).expect("a copy");
    let tokens = fixture_tokens(PLAIN);
    let file = ModelFile::open(&path, TOUCHED).expect("a model");
    assert!(resident(&path) >= file.len(), "{} of {}", resident(&path), file.len());
    file.drop_resident();
    assert_eq!(resident(&path), 0);
    let read = ModelFile::open(&path, READ).expect("a model");
    read.drop_resident();
    assert_eq!(logits(file, here(), &tokens), logits(read, here(), &tokens));
}
