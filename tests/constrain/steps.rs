//! Answers of the built-in model step by step: as `generate` makes them, with log probabilities, and held to a form.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use qwip::constrain::{Allowed, Constraint, Grammar, Thinking};
use qwip::generate::Piece;
use qwip::sample::{TokenLogprob, logprobs_of};
use qwip::tokenizer::Special;
use qwip::{
    Cancel, Error, FinishReason, GenerateOptions, Generation, Model, ModelFile, Next, Sampler,
    SamplingParams, Session, Tokenizer,
};

use super::loaded;

/// A session that holds a prompt, and its tokenizer.
fn session() -> (Session, Tokenizer) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/builtin/builtin.gguf");
    let file = Arc::new(ModelFile::open(&path, Default::default()).expect("a file"));
    let tokenizer = Tokenizer::from_gguf(file.header(), file.parts()[0].bytes.clone()).expect("a tokenizer");
    let model = Arc::new(Model::load(file).expect("a model"));
    let mut session =
        Session::new(model, qwip::cpu(2).expect("a CPU"), &Default::default()).expect("a session");
    let prompt = "<|im_start|>user\nWhat is 3 + 4?<|im_end|>\n<|im_start|>assistant\n";
    let prompt = tokenizer.encode(prompt, Special::Parse);
    session.prompt(&prompt, &Cancel::new(), &mut |_| {}).expect("a prompt");
    (session, tokenizer)
}

fn drawing() -> Sampler {
    Sampler::new(SamplingParams { temperature: 0.9, top_k: 40, seed: 3, ..SamplingParams::default() })
}

/// Drives an answer as a scheduler does.
fn drive(
    generation: &mut Generation,
    session: &mut Session,
    tokenizer: &Tokenizer,
) -> (qwip::Result<FinishReason>, String, Vec<TokenLogprob>) {
    let (mut text, mut logprobs) = (String::new(), Vec::new());
    let reason = loop {
        let mut sink = |piece: Piece<'_>| {
            text.push_str(piece.text);
            logprobs.extend(piece.token.cloned());
            ControlFlow::Continue(())
        };
        match generation.next(session, tokenizer, &mut sink) {
            Ok(Next::Evaluate) => {}
            Ok(Next::Done(reason)) => break Ok(reason),
            Err(error) => break Err(error),
        }
        assert!(!generation.waiting().is_empty());
        // Nothing is chosen twice.
        let again = generation.next(session, tokenizer, &mut |_| panic!("a piece")).expect("the same");
        assert_eq!(again, Next::Evaluate);
        session.extend(generation.waiting(), &Cancel::new(), &mut |_| {}).expect("logits");
        generation.evaluated();
    };
    (reason, text, logprobs)
}

#[test]
fn step_by_step_it_is_the_same_answer() {
    for (stop, thinking_budget) in [(vec![], None), (vec!["7".to_owned()], None), (vec![], Some(4))] {
        let options =
            GenerateOptions { max_tokens: Some(60), stop, thinking_budget, ..GenerateOptions::default() };
        let (mut one, tokenizer) = session();
        let mut text = String::new();
        let mut sampler = drawing();
        let whole =
            qwip::generate(&mut one, &tokenizer, &mut sampler, &options, &Cancel::new(), &mut |more| {
                assert!(!more.is_empty());
                text.push_str(more);
                ControlFlow::Continue(())
            });
        let whole = whole.expect("an answer");

        let (mut two, _) = session();
        let with = GenerateOptions { logprobs: Some(3), ..options };
        let mut generation = Generation::new(&two, &tokenizer, drawing(), with).expect("an answer");
        let (reason, said, logprobs) = drive(&mut generation, &mut two, &tokenizer);
        assert_eq!(
            (reason.expect("an end"), generation.tokens(), said),
            (whole.reason, &whole.tokens[..], text)
        );
        assert_eq!(two.tokens(), one.tokens());
        // One for each token, in order.
        let ids: Vec<u32> = logprobs.iter().map(|logprob| logprob.token).collect();
        assert_eq!(ids, whole.tokens);
        for logprob in &logprobs {
            let given = logprob.top.is_empty();
            assert!(!given || (thinking_budget.is_some() && logprob.logprob == 0.0), "{logprob:?}");
            assert!(given || (logprob.top.len() == 3 && logprob.logprob <= logprob.top[0].1), "{logprob:?}");
        }
        // The draw goes on from the same place.
        let (_, ended) = generation.into_parts();
        let logits: Vec<f32> = (0..500).map(|i| (i % 50) as f32 / 10.0).collect();
        let mut ended = ended;
        for _ in 0..20 {
            assert_eq!(ended.pick(&logits, &[], |_| true), sampler.pick(&logits, &[], |_| true));
        }
    }
}

#[test]
fn log_probabilities_are_the_models_own() {
    let (mut session, tokenizer) = session();
    let first = session.logits().to_vec();
    // Neither temperature nor penalties are in them.
    let params =
        SamplingParams { temperature: 1.5, presence_penalty: 2.0, seed: 9, ..SamplingParams::default() };
    let options = GenerateOptions { max_tokens: Some(8), logprobs: Some(5), ..GenerateOptions::default() };
    let mut generation =
        Generation::new(&session, &tokenizer, Sampler::new(params), options).expect("an answer");
    let (_, _, logprobs) = drive(&mut generation, &mut session, &tokenizer);
    assert_eq!(logprobs[0], logprobs_of(&first, generation.tokens()[0], 5));
    let too_many = GenerateOptions { logprobs: Some(65), ..GenerateOptions::default() };
    let error = Generation::new(&session, &tokenizer, drawing(), too_many).map(|_| ()).expect_err("too many");
    assert_eq!(error.to_string(), "number of log probabilities is 65, expected 0 to 64");
}

#[test]
fn the_answer_ends_with_its_form() {
    let (mut session, tokenizer) = session();
    let grammar = Grammar::regex("[a-z]{3}(日本)?");
    let constraint = loaded()[0].vocabulary.constraint(&grammar, Thinking::None).expect("a constraint");
    // Even where ends do not count.
    let options = GenerateOptions { max_tokens: Some(50), ignore_eos: true, ..GenerateOptions::default() };
    let mut generation = Generation::new(&session, &tokenizer, drawing(), options).expect("an answer");
    generation.constrain(constraint);
    let (reason, text, _) = drive(&mut generation, &mut session, &tokenizer);
    assert_eq!(reason.expect("an end"), FinishReason::Stop);
    let word = text.strip_suffix("日本").unwrap_or(&text);
    assert!(word.len() == 3 && word.bytes().all(|byte| byte.is_ascii_lowercase()), "{text}");
}

/// Lets nothing come after a token.
struct Stuck(Vec<u32>);

impl Constraint for Stuck {
    fn allowed(&mut self) -> qwip::Result<Allowed<'_>> {
        Ok(if self.0.is_empty() { Allowed::All } else { Allowed::Some(&self.0) })
    }

    fn accept(&mut self, _: u32) -> qwip::Result<()> {
        // Shorter than the vocabulary, too.
        self.0 = vec![0; 3];
        Ok(())
    }
}

#[test]
fn an_answer_that_cannot_go_on_is_an_error() {
    for sampler in [drawing(), Sampler::new(SamplingParams::default())] {
        let (mut session, tokenizer) = session();
        let mut generation =
            Generation::new(&session, &tokenizer, sampler, GenerateOptions::default()).expect("one");
        generation.constrain(Box::new(Stuck(Vec::new())));
        let (result, _, _) = drive(&mut generation, &mut session, &tokenizer);
        let error = result.expect_err("nothing may come");
        assert!(matches!(error, Error::Constraint { .. }), "{error}");
        assert_eq!(generation.tokens().len(), 1);
    }
}
