//! The same vocabulary in the `tokenizers` crate, put together as the tokenizer.json of Qwen has it.

use qwip_quant::gguf::Gguf;
use tokenizers::models::bpe::BPE;
use tokenizers::normalizers::unicode::NFC;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, PreTokenizerWrapper, SplitDelimiterBehavior, Tokenizer};

const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN35: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// What the oracle does beyond plain BPE.
#[derive(Clone, Copy)]
pub(crate) struct Options {
    /// Normalise to NFC.
    pub(crate) nfc: bool,
    /// Recognise control and unknown tokens too, not only user-defined ones.
    pub(crate) control: bool,
}

pub(crate) fn strings(gguf: &Gguf, file: &[u8], key: &str) -> Vec<String> {
    let array = gguf.array(key).unwrap().unwrap();
    array.strings(file).unwrap().map(|text| String::from_utf8(text.to_vec()).unwrap()).collect()
}

pub(crate) fn build(gguf: &Gguf, file: &[u8], options: Options) -> Tokenizer {
    let tokens = strings(gguf, file, "tokenizer.ggml.tokens");
    let kinds: Vec<i64> =
        gguf.array("tokenizer.ggml.token_type").unwrap().unwrap().i64s(file).unwrap().collect();
    let merges = strings(gguf, file, "tokenizer.ggml.merges");
    let merges = merges.iter().map(|merge| {
        let (left, right) = merge.split_once(' ').unwrap();
        (left.to_string(), right.to_string())
    });
    let vocab: Vec<(String, u32)> = tokens.iter().cloned().zip(0..).collect();
    let model = BPE::builder()
        .vocab_and_merges::<tokenizers::models::bpe::Vocab>(vocab.into_iter().collect(), merges.collect())
        .build()
        .unwrap();

    let expression = match gguf.str("tokenizer.ggml.pre").unwrap().unwrap() {
        "qwen2" => QWEN2,
        "qwen35" => QWEN35,
        other => panic!("no expression for {other}"),
    };
    let pattern = SplitPattern::Regex(expression.to_string());
    let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false).unwrap();
    let mut oracle = Tokenizer::new(model);
    if options.nfc {
        oracle.with_normalizer(Some(NFC)).unwrap();
    }
    oracle.with_pre_tokenizer(Some(Sequence::new(vec![
        PreTokenizerWrapper::Split(split),
        PreTokenizerWrapper::ByteLevel(ByteLevel::new(false, false, false)),
    ])));
    let added = tokens.into_iter().zip(&kinds).filter_map(|(text, &kind)| match kind {
        2 | 3 if options.control => Some(AddedToken::from(text, true).normalized(false)),
        4 => Some(AddedToken::from(text, false).normalized(false)),
        _ => None,
    });
    oracle.add_tokens(added.collect::<Vec<_>>()).unwrap();
    oracle
}

pub(crate) fn encode(oracle: &Tokenizer, text: &str) -> Vec<u32> {
    oracle.encode_fast(text, false).unwrap().get_ids().to_vec()
}
