//! The number contract, pinned: hashes of logits that every machine must reproduce to the last bit.
//!
//! A change of any of these is a change of the contract: it needs a new `CONTRACT_VERSION` and a reason.

mod common;

use common::{fixture_tokens, load, logits};
use qwip::{Kernels, KvType};

/// FNV-1a over the bits.
fn hash(values: &[f32]) -> u64 {
    let bytes = values.iter().flat_map(|v| v.to_bits().to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

#[test]
fn logits_have_the_pinned_bits() {
    assert_eq!(qwip::CONTRACT_VERSION, 1);
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut failed = false;
    for (name, ty, kv, want) in [
        ("qwen1-fused", "q8_0", KvType::F16, 0x6cda_3b44_0bec_c47a),
        ("qwen2-gqa", "f32", KvType::F32, 0x8d2c_72a0_cb23_73bc),
        ("qwen2-gqa", "q8_0", KvType::F16, 0xde94_768a_ab9a_e59f),
        ("qwen2-yarn", "bf16", KvType::F16, 0x53bb_3b66_f4cf_8b1a),
        ("qwen3-wide-heads", "f16", KvType::Q8_0, 0x6aba_598f_243b_38cf),
        ("qwen3-kquant", "q4_0", KvType::F16, 0x76a0_187f_faad_814c),
        ("qwen2moe-shared", "q8_0", KvType::F16, 0x12c1_e0dd_a14c_6c99),
        ("qwen3moe-norm", "f32", KvType::F32, 0xe0ce_d2c7_8d62_a5de),
        ("qwen3moe-plain", "q4_0", KvType::F16, 0x672f_d23f_05fc_813c),
        ("qwen35-tiled", "q8_0", KvType::F16, 0x4aed_0c9d_9958_444a),
        ("qwen35-untiled", "f32", KvType::F32, 0xc508_9772_157f_f134),
        ("qwen35moe-packed", "q4_0", KvType::F16, 0x5bb1_9313_b7d1_27f8),
        ("qwen3next-grouped", "q8_0", KvType::F16, 0x38a4_b50d_c7d7_4207),
    ] {
        let model = load(dir.path(), name, ty);
        for kernels in Kernels::available() {
            let cpu = qwip::cpu_with(kernels, 2).expect("a CPU");
            let got = hash(&logits(&model, &cpu, kv, &fixture_tokens(name), 40));
            println!("{name} {ty:?} {kv:?} {}: {got:#018x}", kernels.isa);
            failed |= got != want;
        }
    }
    assert!(!failed, "the bits differ from the pinned ones");
}
