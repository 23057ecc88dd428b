//! The sums of squares behind an importance matrix: those of the first layer against a computation of our own, and the same
//! for every way of cutting the text.

mod common;

use common::{fixture_tokens, load, options};
use qwip::quant::decode_row;
use qwip::{Cancel, Importance, KvType, Session};
use std::sync::Arc;

fn seen(model: &Arc<qwip::Model>, tokens: &[u32], batch: usize) -> Importance {
    let mut session =
        Session::new(model.clone(), qwip::cpu(2).unwrap(), &options(KvType::F32, batch)).unwrap();
    session.observe_importance();
    session.extend(tokens, &Cancel::new(), &mut |_| {}).unwrap();
    session.importance().unwrap().clone()
}

#[test]
fn the_first_layer_is_what_the_embeddings_say() {
    let dir = tempfile::tempdir().unwrap();
    let model = load(dir.path(), "qwen2-gqa", "f32");
    let tokens = fixture_tokens("qwen2-gqa");
    let file = model.file();
    let rows = |name: &str| {
        let t = file.tensor(name).unwrap();
        let bytes = file.tensor_bytes(t).chunks(t.info.len as usize / t.info.rows() as usize);
        let decode = |bytes: &[u8]| {
            let mut row = vec![0.0; t.info.cols() as usize];
            decode_row(t.info.ty, bytes, &mut row).unwrap();
            row
        };
        bytes.map(decode).collect::<Vec<Vec<f32>>>()
    };
    let (embeddings, norm) = (rows("token_embd.weight"), &rows("blk.0.attn_norm.weight")[0]);
    let mut want = vec![0.0f64; norm.len()];
    for &token in &tokens {
        let x = &embeddings[token as usize];
        let squares = x.iter().map(|x| f64::from(*x) * f64::from(*x));
        let scale = 1.0 / (squares.sum::<f64>() / x.len() as f64 + f64::from(model.config().eps)).sqrt();
        for (want, (x, w)) in want.iter_mut().zip(x.iter().zip(norm)) {
            let x = f64::from(*x) * scale * f64::from(*w);
            *want += x * x;
        }
    }
    let found = seen(&model, &tokens, 512);
    for part in ["q", "k", "v"] {
        let name = format!("blk.0.attn_{part}.weight");
        let (_, sums, count) = found.iter().find(|(n, ..)| *n == name).unwrap();
        assert_eq!(count, [tokens.len() as u64]);
        for (sum, want) in sums.iter().zip(&want) {
            assert!((sum - want).abs() <= 1e-5 * want, "{name}: {sum}, not {want}");
        }
    }
}

#[test]
fn every_matrix_of_a_layer_is_seen_and_cuts_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["qwen2-gqa", "qwen3-wide-heads"] {
        let model = load(dir.path(), name, "q8_0");
        let tokens = fixture_tokens(name);
        let whole = seen(&model, &tokens, 512);
        let names: Vec<&str> = whole.iter().map(|(name, ..)| name).collect();
        assert_eq!(names.len(), 7 * model.config().layers, "{names:?}");
        for (matrix, sums, _) in whole.iter() {
            assert_eq!(sums.len() as u64, model.file().tensor(matrix).unwrap().info.cols(), "{matrix}");
            assert!(
                sums.iter().all(|sum| sum.is_finite() && *sum >= 0.0) && sums.iter().any(|sum| *sum > 0.0)
            );
        }
        // In the order of the tokens, whatever the slices.
        for ((name, one, n), (_, other, m)) in whole.iter().zip(seen(&model, &tokens, 3).iter()) {
            assert_eq!(n, m, "{name}");
            for (a, b) in one.iter().zip(other) {
                assert!((a - b).abs() <= 1e-12 * a.abs(), "{name}: {a}, {b}");
            }
        }
    }
}

#[test]
fn each_expert_has_its_own_tokens() {
    let dir = tempfile::tempdir().unwrap();
    for (name, matrices) in [("qwen2moe-shared", 12), ("qwen3moe-plain", 8)] {
        let model = load(dir.path(), name, "f16");
        let sizes = model.config().experts.unwrap();
        let tokens = fixture_tokens(name);
        let whole = seen(&model, &tokens, 512);
        assert_eq!(whole.iter().count(), matrices * model.config().layers);
        let find = |name: &str| {
            let (_, sums, counts) = whole.iter().find(|(n, ..)| *n == name).unwrap();
            (sums.to_vec(), counts.to_vec())
        };
        let (router, count) = find("blk.0.ffn_gate_inp.weight");
        assert_eq!(count, [tokens.len() as u64]);
        let (gate, counts) = find("blk.0.ffn_gate_exps.weight");
        assert_eq!(
            (&gate, &counts),
            (&find("blk.0.ffn_up_exps.weight").0, &find("blk.0.ffn_down_exps.weight").1)
        );
        assert_eq!(
            (counts.len(), counts.iter().sum::<u64>()),
            (sizes.count, (tokens.len() * sizes.routing.used) as u64)
        );
        assert_eq!(find("blk.0.ffn_down_exps.weight").0.len(), sizes.count * sizes.ffn);
        // Every token has gone to as many experts.
        for (column, want) in router.iter().enumerate() {
            let sum: f64 = gate.iter().skip(column).step_by(router.len()).sum();
            let want = sizes.routing.used as f64 * want;
            assert!((sum - want).abs() <= 1e-9 * want, "{name}: column {column} has {sum}, not {want}");
        }
        for (expert, sums) in gate.chunks_exact(router.len()).enumerate() {
            assert_eq!(counts[expert] == 0, sums.iter().all(|sum| *sum == 0.0), "{name}: expert {expert}");
        }
        assert!(name != "qwen3moe-plain" || counts[8] == 0);
        for ((name, one, n), (_, other, m)) in whole.iter().zip(seen(&model, &tokens, 3).iter()) {
            assert_eq!(n, m, "{name}");
            assert!(one.iter().zip(other).all(|(a, b)| (a - b).abs() <= 1e-12 * a.abs()), "{name}");
        }
    }
}
