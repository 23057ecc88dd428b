//! Which tensors a model of a shape has, and how their numbers are spread.

use qwip::quant::TensorType;

use super::shapes::{DeltaNet, Experts, Shape};

pub(super) struct Tensor {
    pub(super) name: String,
    /// Of all matrices together.
    pub(super) rows: usize,
    pub(super) cols: usize,
    /// Where there is one for each expert.
    pub(super) matrices: Option<usize>,
    pub(super) ty: TensorType,
    /// Norms are around one, nearly everything else around zero.
    pub(super) mean: f32,
    pub(super) std: f32,
}

/// The type for rows of `cols` values: `ty` where whole blocks fit, else the nearest that takes them.
fn fitting(ty: TensorType, cols: usize) -> TensorType {
    [ty, TensorType::Q8_0]
        .into_iter()
        .find(|ty| cols.is_multiple_of(ty.block_len()))
        .unwrap_or(TensorType::F16)
}

/// Tensors in the order in which they are written.
struct Tensors {
    all: Vec<Tensor>,
    /// What their names begin with.
    prefix: String,
}

impl Tensor {
    /// As GGUF has them, the contiguous one first.
    pub(super) fn dims(&self) -> Vec<u64> {
        let (cols, rows) = (self.cols as u64, self.rows as u64);
        match self.matrices.map(|matrices| matrices as u64) {
            Some(matrices) => vec![cols, rows / matrices, matrices],
            None if self.ty == TensorType::F32 && self.rows == 1 => vec![cols],
            None => vec![cols, rows],
        }
    }
}

impl Tensors {
    fn add(&mut self, name: &str, [rows, cols]: [usize; 2], ty: TensorType, [mean, std]: [f32; 2]) {
        let name = format!("{}{name}", self.prefix);
        self.all.push(Tensor { name, rows, cols, matrices: None, ty, mean, std });
    }

    /// `[rows, cols]`, F16 until it is known what was asked for.
    fn matrix(&mut self, name: &str, rows: usize, cols: usize) {
        self.add(&format!("{name}.weight"), [rows, cols], TensorType::F16, [0.0, 0.02]);
    }

    /// A matrix for each expert.
    fn stack(&mut self, name: &str, count: usize, rows: usize, cols: usize) {
        self.matrix(name, count * rows, cols);
        self.all.last_mut().expect("it was just added").matrices = Some(count);
    }

    fn vector(&mut self, name: &str, cols: usize, numbers: [f32; 2]) {
        self.add(name, [1, cols], TensorType::F32, numbers);
    }

    fn norm(&mut self, name: &str, cols: usize) {
        self.vector(&format!("{name}.weight"), cols, [1.0, 0.1]);
    }
}

/// The tensors of a model whose matrices are of the type `ty`.
pub(super) fn of_type(s: &Shape, ty: TensorType) -> Vec<Tensor> {
    let mut all = plain(s);
    all.iter_mut().filter(|t| t.ty == TensorType::F16).for_each(|t| t.ty = fitting(ty, t.cols));
    all
}

/// The tensors of a model, its matrices in F16.
pub(super) fn plain(s: &Shape) -> Vec<Tensor> {
    let mut t = Tensors { all: Vec::new(), prefix: String::new() };
    t.matrix("token_embd", s.vocab, s.embedding);
    if !s.tied {
        t.matrix("output", s.vocab, s.embedding);
    }
    t.norm("output_norm", s.embedding);
    for i in 0..s.layers {
        t.prefix = format!("blk.{i}.");
        t.norm("attn_norm", s.embedding);
        match s.delta_net(i) {
            Some(delta) => delta_net(&mut t, s, delta),
            None => attention(&mut t, s),
        }
        t.norm(if s.delta.is_some() { "post_attention_norm" } else { "ffn_norm" }, s.embedding);
        match s.experts {
            Some(experts) => of_experts(&mut t, s, experts),
            None => feed_forward(&mut t, s, ""),
        }
    }
    t.all
}

fn attention(t: &mut Tensors, s: &Shape) {
    let (q, kv) = (s.heads * s.head_dim, s.kv_heads * s.head_dim);
    if s.arch == "qwen" {
        t.matrix("attn_qkv", q + 2 * kv, s.embedding);
    } else {
        // Beside each query of a hybrid is a gate.
        t.matrix("attn_q", if s.delta.is_some() { 2 * q } else { q }, s.embedding);
        t.matrix("attn_k", kv, s.embedding);
        t.matrix("attn_v", kv, s.embedding);
    }
    t.matrix("attn_output", s.embedding, q);
    if s.arch == "qwen" {
        t.vector("attn_qkv.bias", q + 2 * kv, [0.0, 0.02]);
    } else if s.arch.starts_with("qwen2") {
        t.vector("attn_q.bias", q, [0.0, 0.02]);
        t.vector("attn_k.bias", kv, [0.0, 0.02]);
        t.vector("attn_v.bias", kv, [0.0, 0.02]);
    } else {
        t.norm("attn_q_norm", s.head_dim);
        t.norm("attn_k_norm", s.head_dim);
    }
}

fn delta_net(t: &mut Tensors, s: &Shape, delta: DeltaNet) {
    let heads = delta.value_heads;
    t.matrix("attn_qkv", delta.convolved(), s.embedding);
    t.matrix("attn_gate", delta.values(), s.embedding);
    if s.arch == "qwen3next" {
        t.matrix("ssm_ba", 2 * heads, s.embedding);
    } else {
        t.matrix("ssm_beta", heads, s.embedding);
        t.matrix("ssm_alpha", heads, s.embedding);
    }
    t.add("ssm_conv1d.weight", [delta.convolved(), DeltaNet::KERNEL], TensorType::F32, [0.0, 0.5]);
    // Numbers are at most six times the second away from the first: a state always fades.
    t.vector("ssm_a", heads, [-0.5, 0.07]);
    t.vector("ssm_dt.bias", heads, [0.0, 0.5]);
    t.norm("ssm_norm", delta.head_dim);
    t.matrix("ssm_out", s.embedding, delta.values());
}

fn feed_forward(t: &mut Tensors, s: &Shape, kind: &str) {
    t.matrix(&format!("ffn_gate{kind}"), s.ffn, s.embedding);
    t.matrix(&format!("ffn_up{kind}"), s.ffn, s.embedding);
    t.matrix(&format!("ffn_down{kind}"), s.embedding, s.ffn);
}

fn of_experts(t: &mut Tensors, s: &Shape, Experts { count, ffn, .. }: Experts) {
    t.stack("ffn_gate_exps", count, ffn, s.embedding);
    t.stack("ffn_up_exps", count, ffn, s.embedding);
    t.stack("ffn_down_exps", count, s.embedding, ffn);
    t.add("ffn_gate_inp.weight", [count, s.embedding], TensorType::F32, [0.0, 0.02]);
    if s.has_shared_expert() {
        feed_forward(t, s, "_shexp");
        t.vector("ffn_gate_inp_shexp.weight", s.embedding, [0.0, 0.02]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::shapes::{parse, shape};
    use super::*;

    #[test]
    fn rows_that_are_no_whole_blocks_get_another_type() {
        assert_eq!(fitting(TensorType::Q4K, 1024), TensorType::Q4K);
        assert_eq!(fitting(TensorType::Q4K, 896), TensorType::Q8_0);
        assert_eq!(fitting(TensorType::Q4K, 40), TensorType::F16);
    }

    #[test]
    fn hybrids_have_as_many_weights_as_their_names_say() {
        for (name, billions) in [
            ("qwen3.5-0.8b", 0.8),
            ("qwen3.5-2b", 2.0),
            ("qwen3.5-4b", 4.0),
            ("qwen3.5-9b", 9.0),
            ("qwen3.5-27b", 27.0),
            ("qwen3.5-35b-a3b", 35.0),
            ("qwen3.5-122b-a10b", 122.0),
            ("qwen3.5-397b-a17b", 397.0),
            ("qwen3-next-80b-a3b", 80.0),
        ] {
            let shape = parse(&format!("{name}:q8_0")).unwrap().0;
            let weights: usize = plain(&shape).iter().map(|t| t.rows * t.cols).sum();
            let found = weights as f64 / 1e9;
            assert!((0.93..1.07).contains(&(found / billions)), "{name}: {found}");
        }
    }

    #[test]
    fn every_fourth_layer_of_a_hybrid_is_attention() {
        let tiny = shape("t", "qwen35", 64, 4, [4, 2, 32], 128, 64, false).of_delta_nets(32);
        let all = of_type(&tiny, TensorType::Q4_0);
        let of = |name: &str| all.iter().find(|t| t.name == name).map(|t| (t.rows, t.cols, t.ty));
        assert_eq!(of("blk.2.attn_qkv.weight"), Some((2 * 2048 + 4096, 64, TensorType::Q4_0)));
        assert_eq!(of("blk.2.ssm_conv1d.weight"), Some((2 * 2048 + 4096, 4, TensorType::F32)));
        assert_eq!((of("blk.2.attn_q.weight"), of("blk.3.ssm_a")), (None, None));
        assert_eq!(of("blk.3.attn_q.weight"), Some((2 * 128, 64, TensorType::Q4_0)));
        let decay = all.iter().find(|t| t.name == "blk.0.ssm_a").unwrap();
        assert!(decay.mean + 6.0 * decay.std < 0.0);
    }
}
