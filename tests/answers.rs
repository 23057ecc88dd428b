//! How answers end, how long they may get, and what their tokens are drawn by, with the built program.

mod cli_common;

use cli_common::{arg, model, outcome, program, qwip};
use serde_json::Value;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

fn tokens(answer: &Value) -> Vec<u64> {
    answer["tokens"].as_array().expect("tokens").iter().map(|id| id.as_u64().expect("an id")).collect()
}

/// This model of random weights says the same letter for ever.
const LOOPS: &str = "qwen3-wide-heads";

#[test]
fn an_endless_answer_is_ended_for_a_reason_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let path = model(dir.path(), LOOPS, "f16");
    let run = ["run", "-m", arg(&path), "--raw", "-p", "Once", "--temp", "0", "-n", "1500"];
    let answer = |more: &[&str]| json(&qwip(&[&run[..], &["--json"], more].concat()).ok());
    let ended = answer(&[]);
    assert_eq!(ended["finish_reason"], "repetition", "{ended}");
    let (short, text) = (tokens(&ended), ended["text"].as_str().unwrap());
    assert!((768..900).contains(&short.len()), "{}", short.len());
    assert!(text.ends_with(&text[text.len() - 1..].repeat(700)), "{text}");
    for more in [&["--no-loop-guard"][..], &["--ignore-eos"]] {
        let whole = answer(more);
        assert_eq!((&whole["finish_reason"], tokens(&whole).len()), (&"length".into(), 1500), "{more:?}");
        // Nothing else changes.
        assert_eq!(tokens(&whole)[..short.len()], short);
    }
    let off = outcome(program().args(run).arg("--json").env("QWIP_NO_LOOP_GUARD", "1"), b"");
    assert_eq!(json(&off.ok())["finish_reason"], "length");
    let told = qwip(&run);
    assert!(told.stderr.contains("the answer repeats itself (--no-loop-guard"), "{}", told.stderr);
    assert_eq!(told.ok().trim_end(), text);
}

#[test]
fn a_chat_goes_on_after_an_endless_answer() {
    let dir = tempfile::tempdir().unwrap();
    let path = model(dir.path(), LOOPS, "f16");
    let chat = ["chat", arg(&path), "--temp", "0", "-n", "1200"];
    let found = outcome(program().args(chat), b"Once\nOnce more\n");
    assert_eq!(found.code, Some(0), "{found:?}");
    let ends = found.stderr.matches("[stopped: the answer repeats itself]").count();
    assert!((1..=2).contains(&ends), "{}", found.stderr);
}

#[test]
fn thinking_is_ended_when_its_tokens_are_used_up() {
    let run = |think: &str, more: &[&str]| {
        let base = ["run", "builtin", "-p", "What is 23 + 45?", "--temp", "0", "--json", "--think", think];
        json(&qwip(&[&base[..], more].concat()).ok())
    };
    let words = "Considering the limited time by the user, I have to give the solution based on the thinking \
                 directly now.";
    let free = run("on", &[]);
    let thought = free["thinking"].as_str().unwrap();
    assert!(thought.len() > 20 && !thought.contains(words), "{free}");
    assert_eq!(run("on", &["--think-budget", "-1"])["tokens"], free["tokens"]);
    assert_eq!(run("on", &["--think-budget", "1000"])["tokens"], free["tokens"]);

    let cut = run("on", &["--think-budget", "6"]);
    let short =
        cut["thinking"].as_str().unwrap().strip_suffix(words).unwrap_or_else(|| panic!("{cut}")).trim_end();
    assert!(thought.starts_with(short) && !short.is_empty() && short.len() < thought.len(), "{cut}");
    assert!(!cut["text"].as_str().unwrap().is_empty(), "{cut}");
    // The tag that opens the thinking does not count, its six tokens are the model's.
    assert_eq!(tokens(&cut)[..7], tokens(&free)[..7]);
    // However it is computed.
    assert_eq!(run("on", &["--think-budget", "6", "-t", "1", "-b", "3"])["tokens"], cut["tokens"]);
    // In the words that end it no stop string counts, and they count as tokens of the answer.
    assert_eq!(run("on", &["--think-budget", "6", "--stop", "limited time"])["tokens"], cut["tokens"]);
    let limited = run("on", &["--think-budget", "6", "-n", "12"]);
    assert_eq!(
        (&limited["finish_reason"], tokens(&limited)),
        (&"length".into(), tokens(&cut)[..12].to_vec())
    );

    let none = run("on", &["--think-budget", "0"]);
    assert_eq!((&none["thinking"], &none["text"]), (&Value::Null, &"23 + 45 = 68".into()));
    // Without thinking there is nothing to end.
    assert_eq!(run("off", &["--think-budget", "2"])["tokens"], run("off", &[])["tokens"]);
    let from_environment = outcome(
        program()
            .args(["run", "builtin", "-p", "What is 23 + 45?", "--temp", "0", "--json", "--think", "on"])
            .env("QWIP_THINK_BUDGET", "6"),
        b"",
    );
    assert_eq!(json(&from_environment.ok())["tokens"], cut["tokens"]);
}

#[test]
fn thinking_that_was_ended_is_part_of_the_conversation() {
    let messages = b"What is 23 + 45?\nHello!\n";
    let chat = ["chat", "builtin", "--temp", "0", "--think", "on", "-n", "60", "-c", "2048", "-v"];
    let cut = outcome(program().args(chat).args(["--think-budget", "4"]), messages);
    assert_eq!(cut.stderr.matches("Considering the limited time").count(), 2, "{}", cut.stderr);
    assert!(!cut.ok().contains("Considering"));
}

#[test]
fn the_words_that_end_thinking_need_room() {
    let run = |context: &str| {
        let args = [
            "run",
            "builtin",
            "-p",
            "What is 23 + 45?",
            "--temp",
            "0",
            "--think",
            "on",
            "--think-budget",
            "2",
        ];
        json(&qwip(&[&args[..], &["--json", "-c", context]].concat()).ok())
    };
    let full = run("24");
    assert_eq!((&full["finish_reason"], &full["context_full"]), (&"length".into(), &true.into()), "{full}");
    let roomy = run("2048");
    let held = tokens(&full);
    assert!(held.len() > 3 && held.len() < 24 && tokens(&roomy).starts_with(&held), "{full}");
}

#[test]
fn the_context_is_what_the_model_was_trained_for() {
    let verbose = |more: &[&str]| {
        let found = qwip(&[&["run", "builtin", "-p", "Hello", "-n", "2", "-v"], more].concat());
        assert_eq!(found.code, Some(0), "{found:?}");
        found.stderr
    };
    assert!(verbose(&[]).contains(", context 2048, "));
    assert!(verbose(&["-c", "0"]).contains(", context 2048, "));
    assert!(verbose(&["-c", "512"]).contains(", context 512, "));
    let dir = tempfile::tempdir().unwrap();
    let path = model(dir.path(), LOOPS, "f16");
    // More than the 8192 that were the most before memory was asked.
    let shown = json(&qwip(&["show", arg(&path), "--json"]).ok());
    assert_eq!(shown["memory"]["context"], 32768);
    let greeting = outcome(program().args(["chat", arg(&path)]), b"").stderr;
    assert!(greeting.contains("context 32768"), "{greeting}");
}

#[test]
fn what_draws_the_tokens_is_said_and_the_same_in_run_and_chat() {
    let settings = |text: &str| {
        let start = text.find("temperature").unwrap_or_else(|| panic!("{text}"));
        text[start..].split(", seed").next().unwrap().to_string()
    };
    let common = ["builtin", "-n", "2", "-v", "--top-k", "7", "--presence-penalty", "0.5"];
    let run = qwip(&[&["run", "-p", "Hi"], &common[..]].concat()).stderr;
    let chat = outcome(program().arg("chat").args(common), b"Hi\n").stderr;
    assert_eq!(settings(&run), settings(&chat));
    assert!(run.contains("top-k 7, ") && run.contains("presence penalty 0.5"), "{run}");
    let greedy = qwip(&["run", "builtin", "-p", "Hi", "-n", "2", "-v", "--temp", "0"]).stderr;
    assert!(greedy.contains("the most probable token, "), "{greedy}");
}
