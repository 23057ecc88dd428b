//! `qwip chat`: as a filter without a terminal, and in a terminal (tmux) as a person sees it.
//!
//! Without tmux the second part is skipped, loudly; QWIP_REQUIRE_TMUX=1 makes that a failure. QWIP_SHOW_SCREENS=1 prints
//! what the terminal showed, to be looked at.

mod cli_common;

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use cli_common::{Outcome, arg, outcome, own_home, program};

const PLAIN: [&str; 6] = ["chat", "--temp", "0", "--think", "off", "builtin"];

/// A scripted chat with the built-in model, without chance.
fn chat(more: &[&str], script: &str) -> Outcome {
    let limit: &[&str] = if more.contains(&"-n") { &[] } else { &["-n", "24"] };
    outcome(program().args(PLAIN).args(limit).args(more), script.as_bytes())
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("a transcript")).expect("JSON")
}

#[test]
fn without_a_terminal_it_is_a_filter() {
    let found = chat(&[], "Hello!\n/stats\n/think show\n/set\n/nosuch\n/hepl\n/load\n\n//etc?\n");
    assert_eq!(found.code, Some(0), "{found:?}");
    for words in ["context", "sampling", "temperature", "/nosuch is not a command", "did you mean /help?"] {
        assert!(found.stderr.contains(words), "{words}: {found:?}");
    }
    // Nothing but the two answers, and not a byte for a terminal.
    let answers = [chat(&[], "Hello!\n").ok(), chat(&[], "Hello!\n//etc?\n").ok()];
    assert_eq!(found.stdout, answers[1]);
    assert!(found.stdout.starts_with(&answers[0]) && answers[0].len() < answers[1].len());
    assert!(!found.stdout.contains('\u{1b}') && !found.stderr.contains('\u{1b}'), "{found:?}");
    // Nothing was asked to be kept, and what a script says is not what somebody typed.
    let data = own_home().join("data");
    assert!(!data.join("history").exists() && !data.join("sessions").join("history").exists());
}

#[test]
fn messages_may_have_several_lines() {
    let one = chat(&["-n", "0", "-v"], "\"\"\"\nline one\n\nline three\n\"\"\"\n");
    let two = chat(&["-n", "0", "-v"], "line one\\\n\\\nline three\n");
    let prompt = |found: &Outcome| {
        let line = found.stderr.lines().find(|line| line.contains("prompt")).map(str::to_string);
        line.and_then(|line| Some(line.split(" tokens").next()?.to_string())).expect("a count")
    };
    assert_eq!(prompt(&one), prompt(&two), "{one:?} {two:?}");
}

#[test]
fn a_session_is_kept_and_taken_up_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("talk.json");
    let session = ["--session", arg(&path), "--system", "Be brief.", "--top-k", "7"];
    let first = chat(&session, "Hello!\n").ok();
    let kept = read(&path);
    assert_eq!(kept["qwip_session"], 1);
    assert_eq!((&kept["system"], &kept["think"]), (&json!("Be brief."), &json!("off")));
    assert_eq!(kept["sampling"], json!({"temperature": 0.0, "top_k": 7}));
    assert_eq!(kept["messages"][0], json!({"role": "user", "content": "Hello!"}));
    assert_eq!(kept["messages"][1]["content"], first.trim_end());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    // The second half of a conversation answers as if there had been no end in between.
    let second = chat(&["--session", arg(&path)], "What is 1+1?\n");
    assert!(second.stderr.contains("2 messages"), "{second:?}");
    let whole = chat(&["--system", "Be brief.", "--top-k", "7"], "Hello!\nWhat is 1+1?\n").ok();
    assert_eq!(format!("{first}{}", second.ok()), whole);
    assert_eq!(read(&path)["messages"].as_array().unwrap().len(), 4);

    let undone = chat(&["--session", arg(&path)], "/undo\n/undo\n/undo\n");
    assert!(undone.stderr.contains("Taken back: What is 1+1?"), "{undone:?}");
    assert!(undone.stderr.contains("nothing to take back"), "{undone:?}");
    assert_eq!(read(&path)["messages"], json!([]));
}

#[test]
fn the_newest_conversation_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let chat = |more: &[&str], script: &str| {
        let mut command = program();
        command.env("QWIP_DATA_DIR", dir.path()).args(PLAIN).args(["-n", "8"]).args(more);
        outcome(&mut command, script.as_bytes())
    };
    let none = chat(&["--continue"], "Hello!\n");
    assert!(none.stderr.contains("no conversation was kept yet"), "{none:?}");
    // A name stands for a file in our folder.
    chat(&["--session", "first"], "Hello!\n").ok();
    let path = dir.path().join("sessions/first.json");
    assert_eq!(read(&path)["messages"].as_array().unwrap().len(), 2);
    let found = chat(&["--continue"], "/load\nHi\n/clear\nHi\n");
    assert!(found.stderr.contains("2 messages") && found.stderr.contains("first  "), "{found:?}");
    // A script keeps what it says where the call says; what was there before is kept elsewhere.
    assert_eq!(read(&path)["messages"].as_array().unwrap().len(), 2);
    let names = fs::read_dir(dir.path().join("sessions")).unwrap().flatten().map(|entry| entry.path());
    let moved = names.into_iter().find(|found| *found != path).expect("a copy");
    assert_eq!(read(&moved)["messages"].as_array().unwrap().len(), 4);
    let line = chat(&["--continue", "--session", "first"], "").fails(2);
    assert!(line.contains("--session and --continue"), "{line}");
}

#[test]
fn a_conversation_in_a_file_of_the_users_survives_its_clearing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.json");
    let mut command = program();
    command.env("QWIP_DATA_DIR", dir.path()).args(PLAIN).args(["-n", "8", "--session", arg(&path)]);
    let found = outcome(&mut command, b"Hello!\n/clear\nHi\n");
    assert!(found.stderr.contains("What was said is kept in"), "{found:?}");
    assert_eq!(read(&path)["messages"][0]["content"], "Hi");
    let moved = fs::read_dir(dir.path().join("sessions")).unwrap().next().unwrap().unwrap().path();
    assert_eq!(read(&moved)["messages"][0]["content"], "Hello!");
}

#[test]
fn what_was_read_is_not_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let (path, text) = (dir.path().join("talk.json"), dir.path().join("text.txt"));
    fs::write(&text, "One fish, two fish, red fish, blue fish. ".repeat(30)).unwrap();
    let session = ["--session", arg(&path), "-c", "2048", "-v"];
    let script = format!("/file {}\nHello!\n", arg(&text));
    let new_tokens = |found: &Outcome| -> usize {
        let line = found.stderr.lines().rfind(|line| line.contains(" new)")).expect("a timing");
        line.split('(').nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok()).expect("a number")
    };
    let first = chat(&session, &script);
    let whole = new_tokens(&first);
    assert!(whole > 300, "{first:?}");
    let transcript = fs::read(&path).unwrap();
    let second = chat(&session, "What is 1+1?\n/stats\n");
    assert!(second.stderr.contains("need not be read again") && new_tokens(&second) < 40, "{second:?}");
    assert!(second.stderr.contains("of what was read in conversations, at most 4.00 GB"), "{second:?}");
    let answer = second.ok();

    // Without what was kept, and where it is of no use, the answer is the same.
    let again = |more: &[&str]| {
        fs::write(&path, &transcript).unwrap();
        chat(&[&session[..], more].concat(), "What is 1+1?\n")
    };
    let none = again(&["--session-cache", "0"]);
    assert!(new_tokens(&none) > whole && !none.stderr.contains("again"), "{none:?}");
    assert_eq!(none.ok(), answer);
    let f32s = again(&["--cache-type-k", "f32"]);
    assert!(f32s.stderr.contains("has cache types f16") && new_tokens(&f32s) > whole, "{f32s:?}");
    // Kept anew, as it is wanted.
    again(&[]).ok();
    let kept = own_home().join("cache/sessions");
    for file in fs::read_dir(&kept).unwrap().flatten() {
        let mut bytes = fs::read(file.path()).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
        fs::write(file.path(), bytes).unwrap();
    }
    let damaged = again(&[]);
    assert!(damaged.stderr.contains("checksum") && damaged.stderr.contains("is read again"), "{damaged:?}");
    assert_eq!(damaged.ok(), answer);
}

#[test]
fn what_the_model_no_longer_sees_can_be_asked_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.json");
    let said = |role: &str, text: &str| json!({"role": role, "content": text});
    let messages = [
        said("user", "Hi"),
        said("assistant", "Hello!"),
        said("user", "What is 1+1?"),
        said("assistant", "2"),
    ];
    let write = || {
        let session = json!({"qwip_session": 1, "forgotten": 2, "messages": messages});
        fs::write(&path, session.to_string()).unwrap();
    };
    for (script, last) in [("/undo\n/regen\n", "Hi"), ("/undo\n/edit Hello!\n", "Hello!")] {
        write();
        chat(&["--session", arg(&path), "-n", "4"], script).ok();
        let kept = read(&path);
        let messages = kept["messages"].as_array().unwrap();
        assert_eq!(messages.len(), 2, "{kept}");
        assert_eq!(messages[0]["content"], last);
        assert!(kept.get("forgotten").is_none(), "{kept}");
    }
}

#[test]
fn a_script_may_clear_a_conversation_of_a_name_again_and_again() {
    let dir = tempfile::tempdir().unwrap();
    let chat = |script: &str| {
        let mut command = program();
        command.env("QWIP_DATA_DIR", dir.path()).args(PLAIN).args(["-n", "4", "--session", "work"]);
        outcome(&mut command, script.as_bytes()).ok()
    };
    let path = dir.path().join("sessions/work.json");
    for text in ["one", "two", "three"] {
        chat(&format!("/clear\n{text}\n"));
        assert_eq!(read(&path)["messages"][0]["content"], text);
    }
}

#[test]
fn nothing_is_cleared_that_cannot_be_kept_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let (path, blocked) = (dir.path().join("s.json"), dir.path().join("file"));
    fs::write(&blocked, "").unwrap();
    let mut command = program();
    command.env("QWIP_DATA_DIR", blocked.join("below")).args(PLAIN).args([
        "-n",
        "4",
        "--session",
        arg(&path),
    ]);
    let found = outcome(&mut command, b"Hello!\n/clear\n/system Be brief.\n");
    assert!(found.stderr.contains("It is not cleared"), "{found:?}");
    assert_eq!(read(&path)["messages"][0]["content"], "Hello!");
    assert_eq!(read(&path)["system"], Value::Null);
}

#[test]
fn files_are_still_files_when_a_conversation_is_taken_up_again() {
    let dir = tempfile::tempdir().unwrap();
    let (path, text) = (dir.path().join("s.json"), dir.path().join("text.txt"));
    fs::write(&text, "Red fish, blue fish.").unwrap();
    let session = ["--session", arg(&path), "-n", "4"];
    chat(&session, &format!("/file {}\nHow many?\n", arg(&text))).ok();
    chat(&session, "/edit Which?\n").ok();
    let said = read(&path)["messages"][0]["content"].as_str().unwrap().to_string();
    assert!(said.contains("blue fish") && said.ends_with("Which?"), "{said}");
}

#[test]
fn turns_are_changed_saved_and_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (dir.path().join("a.json"), dir.path().join("b.json"));
    let script = format!(
        "Hello!\nWhat is 2+2?\n/edit What is 1+1?\n/regen\n/save {}\n/clear\nHi\n/save {}\n/save {}\n/load {}\n",
        a.display(),
        b.display(),
        a.display(),
        a.display()
    );
    let found = chat(&[], &script);
    assert!(found.stderr.contains("another conversation: it is not overwritten"), "{found:?}");
    assert!(found.stderr.contains("4 messages"), "{found:?}");
    assert_eq!(found.code, Some(0));
    let roles = |path: &Path| -> Vec<String> {
        let kept = read(path);
        let messages = kept["messages"].as_array().unwrap();
        messages.iter().map(|message| message["role"].as_str().unwrap().to_string()).collect()
    };
    assert_eq!(roles(&a), ["user", "assistant", "user", "assistant"]);
    assert_eq!(read(&a)["messages"][2]["content"], "What is 1+1?");
    assert_eq!(roles(&b), ["user", "assistant"]);
}

#[test]
fn files_go_along_if_they_are_text_and_fit() {
    let dir = tempfile::tempdir().unwrap();
    let (text, binary, long) =
        (dir.path().join("a b 文.txt"), dir.path().join("x.bin"), dir.path().join("long.txt"));
    fs::write(&text, "The word is ``` pear.\n").unwrap();
    fs::write(&binary, b"\x00\xff\x00").unwrap();
    fs::write(&long, "word ".repeat(5000)).unwrap();
    let session = dir.path().join("s.json");
    let script = format!(
        "/file {}\n/file {}\n/file {}\n/file {}\n/file {}\nWhich word?\n",
        text.display(),
        binary.display(),
        long.display(),
        dir.path().display(),
        dir.path().join("none").display()
    );
    let found = chat(&["-c", "512", "--session", arg(&session)], &script);
    assert_eq!(found.code, Some(0), "{found:?}");
    for words in
        ["tokens go along", "not UTF-8 text (at byte 1)", "of the context of 512 only", "is not a file"]
    {
        assert!(found.stderr.contains(words), "{words}: {found:?}");
    }
    let said = read(&session)["messages"][0]["content"].as_str().unwrap().to_string();
    assert_eq!(said, "a b 文.txt:\n````\nThe word is ``` pear.\n````\n\nWhich word?");
}

#[test]
fn hostile_sessions_are_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.json");
    let cases = [
        ("", "not JSON"),
        ("[1]", "not a JSON object"),
        ("{}", "there is no field qwip_session"),
        ("{\"qwip_session\": 9}", "qwip_session is 9, but this qwip reads sessions of version 1"),
        (
            "{\"qwip_session\": 1, \"messages\": [{\"role\": \"user\", \"content\": 5}]}",
            "messages[0].content is a number",
        ),
    ];
    for (text, words) in cases {
        fs::write(&path, text).unwrap();
        let line = chat(&["--session", arg(&path)], "Hello\n").fails(1);
        assert!(line.contains(words) && line.contains("s.json"), "{line}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        let loaded = chat(&[], &format!("/load {}\n/save {}\n", path.display(), path.display()));
        assert!(loaded.stderr.contains(words) && loaded.stderr.contains("not overwritten"), "{loaded:?}");
    }
    // Of another model: said, and read again.
    let other = json!({
        "qwip_session": 1,
        "model": {"name": "x", "title": "X\u{1b}[2J", "architecture": "qwen2"},
        "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}],
    });
    fs::write(&path, other.to_string()).unwrap();
    let found = chat(&["--session", arg(&path)], "Hello\n");
    assert!(found.stderr.contains("this was said with X\\u001b[2J (qwen2)"), "{found:?}");
    assert_eq!(found.code, Some(0));
}

#[test]
fn what_does_not_fit_is_said_and_refused() {
    let long = "word ".repeat(100);
    let found = chat(&["-c", "128"], &format!("Hello!\n{long}{long}\nHello!\n"));
    assert_eq!(found.code, Some(0), "{found:?}");
    assert!(found.stderr.contains("no longer fits the context of 128 tokens"), "{found:?}");
    // Nearly full is announced, wherever that begins.
    let mut nearly =
        (40..130).step_by(4).map(|n| chat(&["-c", "128", "-n", "2"], &format!("{}\n", "word ".repeat(n))));
    let told = |found: Outcome| found.stderr.contains("of 128 tokens of the context are used");
    assert!(nearly.any(told));
}

#[test]
fn a_place_that_cannot_be_written_does_not_end_the_chat() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "x").unwrap();
    let found = chat(&["--session", arg(&file.join("s.json"))], "Hello!\nHello!\n");
    assert_eq!(found.code, Some(0), "{found:?}");
    assert_eq!(found.stderr.matches("the conversation is not kept").count(), 1, "{found:?}");
}

#[test]
fn settings_change_what_comes() {
    let found =
        chat(&[], "/set seed 7\n/set temperature 2000\n/set top_k x\n/set nosuch 1\n/set fold on\n/set\n");
    for words in
        ["seed is 7", "temperature", "'x' is not a whole number", "no setting 'nosuch'", "fold is on"]
    {
        assert!(found.stderr.contains(words), "{words}: {found:?}");
    }
    assert_eq!(found.code, Some(0));
}

#[cfg(unix)]
#[path = "cli_chat/terminal.rs"]
mod terminal;
