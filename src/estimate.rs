//! What a session takes of memory, said before it is taken.
//!
//! Weights lie in the mapped file: clean memory, which the system may drop and read again when it is needed elsewhere.
//! Keys, values and intermediate results are memory of our own, which it cannot.

use qwip_cpu::TILE;
use qwip_quant::gguf::TensorInfo;

use crate::backend::Buffers;
use crate::error::Result;
use crate::kv::{CacheTypes, Recurrent};
use crate::model::{Config, Model, is_of_text_model};
use crate::session::{Session, SessionOptions, batch_of, context_of};

/// Bytes that a model and a session on it take; computed from sizes, nothing is loaded.
///
/// What it leaves out is the same for every model: the program itself, the tokenizer's tables (some MiB for a
/// vocabulary of 150,000 entries) and the stacks of threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// Positions of the session when it is full.
    pub context: usize,
    /// All tensors of the file: mapped, and in memory as far as they have been used.
    pub weights: u64,
    /// Of these, the embedding where it is no output matrix too: only the rows of tokens that occur are used.
    pub looked_up: u64,
    /// Of these, what every new token reads: of experts only those that it is sent to.
    pub weights_per_token: u64,
    /// Norms and biases as they are decoded.
    pub vectors: u64,
    /// Keys and values of a position, in all layers.
    pub cache_per_token: u64,
    /// Keys and values of all positions, in whole pages.
    pub cache: u64,
    /// What the delta nets of a hybrid remember, with the copies that are kept; the same for every length. (While a
    /// prompt takes the place of another, the cache and the copies of both can be there.)
    pub recurrent: u64,
    /// Intermediate results of a slice of a prompt, and what each thread keeps.
    pub buffers: u64,
}

impl Estimate {
    /// For a session on `model` whose work `threads` threads share.
    ///
    /// # Errors
    /// As [`Session::new`](crate::Session::new).
    pub fn of_session(model: &Model, options: &SessionOptions, threads: usize) -> Result<Estimate> {
        let types = CacheTypes::for_model(model, options.k_type, options.v_type);
        let tensors = model.file().tensors().map(|t| t.info);
        Self::new(model.config(), tensors, &types, options, threads)
    }

    /// For a model of which only the sizes are known: those of `config` and of the tensors in its file. `types` says how
    /// keys and values are stored; what `options` say about that does not count.
    ///
    /// # Errors
    /// As [`Session::new`](crate::Session::new).
    pub fn new<'a>(
        config: &Config,
        tensors: impl IntoIterator<Item = &'a TensorInfo>,
        types: &CacheTypes,
        options: &SessionOptions,
        threads: usize,
    ) -> Result<Estimate> {
        let context = context_of(config, options)?;
        // Where every token sees all others, a text is one slice.
        let batch = if config.causal { batch_of(config, options)? } else { Session::MAX_BATCH };
        let (mut weights, mut used, mut vectors) = (0u64, 0u64, 0u64);
        let (mut embedding, mut output) = (0, false);
        for TensorInfo { name, dims, len, .. } in tensors {
            weights = weights.saturating_add(*len);
            // Of a tensor with a matrix for each expert, a token uses those of its experts.
            used = used.saturating_add(match (&dims[..], config.experts) {
                _ if !is_of_text_model(name, config) => 0,
                (&[_, _, count], Some(experts)) => {
                    (len / count.max(1) * experts.routing.used as u64).min(*len)
                }
                _ => *len,
            });
            // Decoded, too, are the taps of convolutions.
            if dims.len() < 2 || name.ends_with(".ssm_conv1d.weight") {
                vectors = vectors.saturating_add(dims.iter().product::<u64>().saturating_mul(4));
            }
            match name.as_str() {
                "token_embd.weight" => embedding = *len,
                "output.weight" => output = true,
                _ => {}
            }
        }
        let looked_up = if output { embedding } else { 0 };
        let cache_per_token = types.bytes_per_token(config);
        let positions = context.next_multiple_of(TILE) as u64;
        Ok(Estimate {
            context,
            weights,
            looked_up,
            weights_per_token: used.saturating_sub(looked_up),
            vectors,
            cache_per_token,
            cache: cache_per_token.saturating_mul(positions),
            recurrent: Recurrent::bytes(config).saturating_mul((options.snapshots as u64).saturating_add(1)),
            buffers: Buffers::bytes(config, batch.min(context), context, threads),
        })
    }

    /// Memory of our own when the session is full.
    pub fn dirty(&self) -> u64 {
        [self.vectors, self.cache, self.recurrent, self.buffers]
            .iter()
            .fold(0, |sum, n| sum.saturating_add(*n))
    }

    /// Everything when the session is full and every weight has been used.
    pub fn total(&self) -> u64 {
        self.weights.saturating_add(self.dirty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::KvType;
    use crate::model::{ExpertSizes, Rope, Scaling};
    use qwip_cpu::ops::moe::Routing;
    use qwip_quant::TensorType;

    fn tensor(name: &str, dims: &[u64]) -> TensorInfo {
        let elements: u64 = dims.iter().product();
        TensorInfo { name: name.into(), dims: dims.into(), ty: TensorType::F32, offset: 0, len: 4 * elements }
    }

    #[test]
    fn every_part_is_counted_once() {
        let experts =
            ExpertSizes { count: 8, ffn: 32, routing: Routing { used: 2, normalise: true, scale: 1.0 } };
        let config = Config {
            layers: 2,
            mtp_layers: 0,
            embedding: 64,
            ffn: 0,
            experts: Some(experts),
            hybrid: None,
            heads: 4,
            kv_heads: 2,
            head_dim: 32,
            vocab: 100,
            context: 1000,
            eps: 1e-6,
            rope: Rope { theta: 1e4, rotated: 32, scaling: Scaling::None },
            logn: None,
            causal: true,
        };
        let types = CacheTypes { k: vec![KvType::F16, KvType::F32], v: KvType::F16 };
        let mut tensors = vec![
            tensor("token_embd.weight", &[64, 100]),
            tensor("blk.0.ffn_up_exps.weight", &[64, 32, 8]),
            tensor("blk.0.attn_norm.weight", &[64]),
        ];
        let options = SessionOptions { context: 100, batch: 16, ..SessionOptions::default() };
        let of = |tensors: &[TensorInfo], options: SessionOptions| {
            Estimate::new(&config, tensors, &types, &options, 2).unwrap()
        };
        let tied = of(&tensors, options);
        let (embedding, experts, norm) = (25600, 65536, 256);
        assert_eq!((tied.weights, tied.looked_up), (embedding + experts + norm, 0));
        assert_eq!(tied.weights_per_token, embedding + experts / 4 + norm);
        assert_eq!((tied.vectors, tied.recurrent), (norm, 0));
        // Two heads of 32: keys of 2 and of 4 bytes, values of 2, and two pages of 64 positions.
        assert_eq!((tied.cache_per_token, tied.cache), (2 * 32 * (2 + 4 + 2 + 2), 128 * 640));
        assert_eq!(tied.dirty(), tied.vectors + tied.cache + tied.buffers);
        assert_eq!(tied.total(), tied.weights + tied.dirty());
        tensors.push(tensor("output.weight", &[64, 100]));
        let untied = of(&tensors, options);
        assert_eq!((untied.looked_up, untied.weights_per_token), (embedding, tied.weights_per_token));
        // Without a limit the trained length counts, and a slice is no longer than the context.
        let whole = of(&tensors, SessionOptions { context: 0, ..options });
        assert_eq!((whole.context, whole.cache), (1000, 1024 * 640));
        let short = of(&tensors, SessionOptions { context: 8, batch: 512, ..options });
        assert!(short.buffers < untied.buffers, "{} {}", short.buffers, untied.buffers);
        let wrong = SessionOptions { batch: 4097, ..options };
        assert!(Estimate::new(&config, &tensors, &types, &wrong, 2).is_err());
    }
}
