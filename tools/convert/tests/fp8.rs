//! FP8 checkpoints: a fixture's matrices are replaced by bytes with scales, and arrive as what the format says they are.

mod common;

use common::{Copy, named};
use qwip_quant::decode_row;
use qwip_quant::gguf::Gguf;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;

const WEIGHT: &str = "model.layers.0.mlp.up_proj.weight";
const SCALES: &str = "model.layers.0.mlp.up_proj.weight_scale_inv";
const UP: &str = "blk.0.ffn_up.weight";
type Tensor = (Dtype, Vec<usize>, Vec<u8>);

/// The number of a byte, by the definition of E4M3.
fn number(byte: u8) -> f32 {
    let sign = if byte < 128 { 1.0 } else { -1.0 };
    let (exponent, mantissa) = (i32::from((byte >> 3) & 15), f32::from(byte & 7));
    // By repeated doubling, from the smallest exponent on.
    let power = |exponent| (1..exponent).fold(1.0 / 64.0, |power: f32, _| power * 2.0);
    sign * match exponent {
        0 => mantissa / 8.0 * power(1),
        _ => (1.0 + mantissa / 8.0) * power(exponent),
    }
}

/// A copy of a fixture in which one matrix is FP8, with scales of the given shape; the matrix's shape, bytes and scales.
fn fp8_copy(scale_shape: impl Fn(&[usize]) -> Vec<usize>) -> (Copy, [usize; 2], Vec<u8>, Vec<f32>) {
    let copy = Copy::of("qwen2-yarn");
    let bytes = fs::read(copy.path("model.safetensors")).unwrap();
    let mut all: BTreeMap<String, Tensor> = SafeTensors::deserialize(&bytes)
        .unwrap()
        .iter()
        .map(|(name, t)| (name.to_string(), (t.dtype(), t.shape().to_vec(), t.data().to_vec())))
        .collect();
    let shape = all[WEIGHT].1.clone();
    // Every pattern of bits but the two that are no numbers.
    let codes: Vec<u8> = (0..shape[0] * shape[1])
        .map(|i| (i * 37 % 256) as u8)
        .map(|c| if c & 127 == 127 { 0 } else { c })
        .collect();
    let scale_shape = scale_shape(&shape);
    let scales: Vec<f32> = (0..scale_shape.iter().product()).map(|i| 0.01 * (i + 1) as f32).collect();
    let scale_bytes = scales.iter().flat_map(|s| s.to_le_bytes()).collect();
    all.insert(WEIGHT.into(), (Dtype::F8_E4M3, shape.clone(), codes.clone()));
    all.insert(SCALES.into(), (Dtype::F32, scale_shape, scale_bytes));
    let views = all.iter().map(|(n, (d, s, b))| (n.as_str(), TensorView::new(*d, s.clone(), b).unwrap()));
    copy.write("model.safetensors", safetensors::serialize(views, None).unwrap());
    copy.edit("config.json", |c| {
        c["quantization_config"] = json!({"quant_method": "fp8", "weight_block_size": [40, 24]});
    });
    (copy, [shape[0], shape[1]], codes, scales)
}

fn arrived(copy: &Copy, name: &str) -> Vec<f32> {
    copy.convert(named("F32")).unwrap();
    let file = fs::read(copy.out()).unwrap();
    let gguf = Gguf::parse(&file).unwrap();
    let t = gguf.tensor(name).unwrap();
    let bytes = gguf.tensor_bytes(t, &file);
    let mut values = vec![0f32; bytes.len() / 4];
    decode_row(t.ty, bytes, &mut values).unwrap();
    values
}

#[test]
fn scales_for_tiles_rows_and_the_whole() {
    let tiles = |shape: &[usize]| vec![shape[0].div_ceil(40), shape[1].div_ceil(24)];
    let (copy, [_, cols], codes, scales) = fp8_copy(tiles);
    let across = cols.div_ceil(24);
    let scale = |i: usize| scales[i / cols / 40 * across + i % cols / 24];
    assert_eq!(
        arrived(&copy, UP),
        codes.iter().enumerate().map(|(i, c)| number(*c) * scale(i)).collect::<Vec<_>>()
    );

    for shape in [|shape: &[usize]| vec![shape[0], 1], |shape: &[usize]| vec![shape[0]]] {
        let (copy, [_, cols], codes, scales) = fp8_copy(shape);
        let rows = codes.chunks(cols).zip(&scales);
        assert_eq!(
            arrived(&copy, UP),
            rows.flat_map(|(row, s)| row.iter().map(|c| number(*c) * *s)).collect::<Vec<_>>()
        );
    }

    for shape in [|_: &[usize]| vec![1], |_: &[usize]| vec![]] {
        let (copy, _, codes, scales) = fp8_copy(shape);
        assert_eq!(arrived(&copy, UP), codes.iter().map(|c| number(*c) * scales[0]).collect::<Vec<_>>());
    }
}

#[test]
fn scales_of_experts_in_one_tensor() {
    const WEIGHT: &str = "model.layers.0.mlp.experts.gate_up_proj";
    let copy = Copy::of("qwen35moe-packed");
    // 5 experts of 32 + 32 rows: the second tile of rows begins within the second half.
    let codes: Vec<u8> = (0..5 * 64 * 32).map(|i| (i * 37 % 127) as u8).collect();
    let scales: Vec<f32> = (0..5 * 2 * 2).map(|i| 0.01 * (i + 1) as f32).collect();
    let scale_bytes = scales.iter().flat_map(|s| s.to_le_bytes()).collect();
    copy.edit_tensors(|t| {
        t.insert(WEIGHT.into(), (Dtype::F8_E4M3, vec![5, 64, 32], codes.clone()));
        t.insert(format!("{WEIGHT}_scale_inv"), (Dtype::F32, vec![5, 2, 2], scale_bytes));
    });
    copy.edit("config.json", |c| {
        c["quantization_config"] = json!({"quant_method": "fp8", "weight_block_size": [40, 24]});
    });
    for (name, half) in [("ffn_gate_exps", 0), ("ffn_up_exps", 32)] {
        let found = arrived(&copy, &format!("blk.0.{name}.weight"));
        for (i, value) in found.into_iter().enumerate() {
            let (expert, row, col) = (i / 32 / 32, i / 32 % 32 + half, i % 32);
            let scale = scales[(expert * 2 + row / 40) * 2 + col / 24];
            assert_eq!(value, number(codes[(expert * 64 + row) * 32 + col]) * scale, "{name} {i}");
        }
    }
    copy.edit_tensors(|t| drop(t.remove(&format!("{WEIGHT}_scale_inv"))));
    fs::remove_file(copy.out()).unwrap();
    assert!(copy.error().contains("there is no model.layers.0.mlp.experts.gate_up_proj_scale_inv"));
}

#[test]
fn fp8_that_does_not_add_up() {
    let (copy, ..) = fp8_copy(|_| vec![5, 3]);
    assert!(copy.error().contains("has shape [5, 3], which is neither one number nor"), "{}", copy.error());

    let (copy, ..) = fp8_copy(|_| vec![1]);
    copy.edit("config.json", |c| drop(c.as_object_mut().unwrap().remove("quantization_config")));
    assert!(copy.error().contains("weight_scale_inv"), "{}", copy.error());

    let (copy, [_, cols], mut codes, _) = fp8_copy(|_| vec![1]);
    codes[cols + 3] = 0x7f;
    let mut bytes = fs::read(copy.path("model.safetensors")).unwrap();
    let len = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + len]).unwrap();
    let at = 8 + len + header[WEIGHT]["data_offsets"][0].as_u64().unwrap() as usize;
    bytes[at..at + codes.len()].copy_from_slice(&codes);
    copy.write("model.safetensors", bytes);
    assert!(copy.error().contains("row 1, column 3 is NaN"), "{}", copy.error());
}
