//! How soon a call is back that is cancelled in the middle of a prompt, on the shape of a model of four billion weights.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use qwip::file::Bytes;
use qwip::quant::TensorType;
use qwip::quant::gguf::{Set, Writer};
use qwip::{Cancel, Error, Model, ModelFile, Session, SessionOptions};

const WIDTH: u64 = 2560;
const FFN: u64 = 9728;
const VOCAB: u64 = 8192;

/// Two layers as in Qwen3-4B, stored as in Q4_K_M. All weights are 0, which takes as long as any other number.
fn model() -> Arc<Model> {
    let mut writer = Writer::new();
    writer.set("general.architecture", Set::from("qwen3"));
    let numbers = [
        ("vocab_size", VOCAB),
        ("block_count", 2),
        ("context_length", 8192),
        ("embedding_length", WIDTH),
        ("feed_forward_length", FFN),
        ("attention.head_count", 32),
        ("attention.head_count_kv", 8),
        ("attention.key_length", 128),
        ("attention.value_length", 128),
    ];
    for (key, number) in numbers {
        writer.set(&format!("qwen3.{key}"), Set::from(number));
    }
    writer.set("qwen3.attention.layer_norm_rms_epsilon", Set::from(1e-6f32));
    writer.set("qwen3.rope.freq_base", Set::from(1e6f32));
    let mut sizes = Vec::new();
    let mut tensor = |name: &str, dims: &[u64], ty: TensorType| {
        writer.tensor(name, dims, ty).expect("a tensor");
        let rows: u64 = dims[1..].iter().product();
        sizes.push(rows as usize * ty.row_bytes(dims[0] as usize).expect("whole blocks"));
    };
    let (q4, q6) = (TensorType::Q4K, TensorType::Q6K);
    tensor("token_embd.weight", &[WIDTH, VOCAB], q6);
    tensor("output_norm.weight", &[WIDTH], TensorType::F32);
    for layer in 0..2 {
        for (name, dims, ty) in [
            ("attn_norm", &[WIDTH][..], TensorType::F32),
            ("attn_q", &[WIDTH, 4096], q4),
            ("attn_k", &[WIDTH, 1024], q4),
            ("attn_v", &[WIDTH, 1024], q6),
            ("attn_q_norm", &[128], TensorType::F32),
            ("attn_k_norm", &[128], TensorType::F32),
            ("attn_output", &[4096, WIDTH], q4),
            ("ffn_norm", &[WIDTH], TensorType::F32),
            ("ffn_gate", &[WIDTH, FFN], q4),
            ("ffn_up", &[WIDTH, FFN], q4),
            ("ffn_down", &[FFN, WIDTH], q6),
        ] {
            tensor(&format!("blk.{layer}.{name}.weight"), dims, ty);
        }
    }
    let mut out = writer.start(Vec::new()).expect("a header");
    let zeros = vec![0; sizes.iter().copied().max().unwrap_or(0)];
    sizes.iter().for_each(|&size| out.write(&zeros[..size]).expect("data"));
    let bytes = Bytes::Owned(out.finish().expect("a file"));
    Arc::new(Model::load(Arc::new(ModelFile::from_bytes(bytes).expect("a file"))).expect("a model"))
}

/// Times from raising the flag until a prompt of 512 tokens behind `before` others is back, at moments all over it; the
/// longest last.
fn times(model: &Arc<Model>, before: usize, tries: u32) -> Vec<Duration> {
    let options = SessionOptions { context: before + 512, ..SessionOptions::default() };
    let mut session = Session::new(model.clone(), qwip::cpu(2).expect("a CPU"), &options).expect("a session");
    let (cancel, quiet) = (Cancel::new(), &mut |_: usize| {});
    if before > 0 {
        session.extend(&vec![1; before], &cancel, quiet).expect("what is before");
    }
    let start = Instant::now();
    session.extend(&[2; 512], &cancel, quiet).expect("a prompt");
    let whole = start.elapsed();
    let mut times = Vec::new();
    for i in 0..tries {
        session.truncate(before);
        cancel.reset();
        // A step of the golden section: moments that lie apart, however many there are.
        let moment = whole.mul_f64(0.95 * (f64::from(i) * 0.618_034).fract());
        let (raise, begun) = (cancel.clone(), AtomicBool::new(false));
        let (result, back, raised) = std::thread::scope(|scope| {
            let begun = &begun;
            let raised = scope.spawn(move || {
                while !begun.load(Ordering::Acquire) {
                    std::hint::spin_loop();
                }
                std::thread::sleep(moment);
                let now = Instant::now();
                raise.cancel();
                now
            });
            begun.store(true, Ordering::Release);
            let result = session.extend(&[2; 512], &cancel, quiet);
            (result, Instant::now(), raised.join().expect("the moment"))
        });
        match result {
            Err(Error::Cancelled) => times.push(back.saturating_duration_since(raised)),
            // It was faster than before.
            result => result.expect("a prompt"),
        }
    }
    times.sort();
    times
}

#[test]
#[ignore = "seconds on a machine of its own; .ci/run runs it"]
fn a_prompt_that_is_cancelled_is_back_in_50_ms() {
    let model = model();
    for before in [0, 1024] {
        let times = times(&model, before, 60);
        assert!(times.len() > 30, "{} prompts were cancelled", times.len());
        // The longest of all may be that of another program's turn.
        let [median, most] = [times.len() / 2, times.len() * 9 / 10].map(|i| times[i]);
        println!(
            "behind {before} tokens: half in {median:?}, nine of ten in {most:?}, all in {:?}",
            times[times.len() - 1]
        );
        assert!(most < Duration::from_millis(50), "behind {before} tokens: {times:?}");
    }
}
