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
    assert_eq!(read(&path)["messages"].as_array().unwrap().len(), 4, "/clear leaves it alone");
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
mod terminal {
    use std::path::PathBuf;
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    use super::*;

    /// A tmux server of our own with one window.
    struct Tmux {
        socket: PathBuf,
        home: tempfile::TempDir,
    }

    fn skipped() -> bool {
        let there = Command::new("tmux").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if there.is_ok_and(|status| status.success()) {
            return false;
        }
        let required = std::env::var("QWIP_REQUIRE_TMUX").is_ok_and(|value| value == "1");
        assert!(!required, "QWIP_REQUIRE_TMUX=1, but there is no tmux");
        eprintln!("SKIPPED: there is no tmux; what the chat looks like in a terminal was not tested");
        true
    }

    /// Without spaces and ends of lines, which a terminal puts anywhere.
    fn squeezed(text: &str) -> String {
        text.split_whitespace().collect()
    }

    impl Tmux {
        fn new() -> Tmux {
            let home = tempfile::tempdir().expect("a folder");
            Tmux { socket: home.path().join("tmux"), home }
        }

        fn call(&self, args: &[&str]) -> String {
            let output =
                Command::new("tmux").arg("-f/dev/null").arg("-S").arg(&self.socket).args(args).output();
            let output = output.expect("tmux runs");
            assert!(output.status.success(), "tmux {args:?}: {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8_lossy(&output.stdout).into_owned()
        }

        /// Starts the chat in a window of 60 by 80.
        fn start(&self, more: &str) {
            let home = self.home.path().display();
            let command = format!(
                "env LC_ALL=C.UTF-8 TERM=tmux-256color QWIP_DEVICE=cpu QWIP_DATA_DIR='{home}/data' \
                 QWIP_CACHE_DIR='{home}/cache' '{}' {} {more}; echo ended $?; sleep 60",
                env!("CARGO_BIN_EXE_qwip"),
                PLAIN.join(" ")
            );
            self.call(&["-u", "new-session", "-d", "-s", "chat", "-x", "60", "-y", "80", &command]);
            self.wait("/help lists");
        }

        fn keys(&self, keys: &[&str]) {
            self.call(&[&["send-keys", "-t", "chat"], keys].concat());
        }

        fn say(&self, text: &str) {
            let count = |screen: &str| squeezed(screen).matches(&squeezed(text)).count();
            let before = count(&self.screen());
            self.call(&["send-keys", "-t", "chat", "-l", text]);
            self.until(text, |screen| count(screen) > before);
            self.keys(&["Enter"]);
        }

        fn cursor_comes_to(&self, x: usize) {
            let started = Instant::now();
            while self.cursor().0 != x {
                let late = started.elapsed() > Duration::from_secs(20);
                assert!(!late, "the cursor is at {:?}, not at {x}:\n{}", self.cursor(), self.screen());
                std::thread::sleep(Duration::from_millis(20));
            }
        }

        fn screen(&self) -> String {
            self.call(&["capture-pane", "-p", "-t", "chat"])
        }

        /// With escape sequences.
        fn styled(&self) -> String {
            self.call(&["capture-pane", "-p", "-e", "-t", "chat"])
        }

        fn cursor(&self) -> (usize, usize) {
            let at = self.call(&["display-message", "-p", "-t", "chat", "#{cursor_x} #{cursor_y}"]);
            let (x, y) = at.trim().split_once(' ').expect("two numbers");
            (x.parse().expect("x"), y.parse().expect("y"))
        }

        fn until(&self, what: &str, found: impl Fn(&str) -> bool) -> String {
            let started = Instant::now();
            loop {
                let screen = self.screen();
                if found(&screen) {
                    return screen;
                }
                assert!(started.elapsed() < Duration::from_secs(60), "no {what} on the screen:\n{screen}");
                std::thread::sleep(Duration::from_millis(50));
            }
        }

        fn wait(&self, words: &str) -> String {
            self.until(words, |screen| screen.contains(words))
        }

        /// Waits for an answer to have ended: the prompt stands alone on the last line that is not empty, and stays
        /// there. (It also does so for a moment while a line is drawn anew.)
        fn prompt(&self) -> String {
            loop {
                let screen = self.until("prompt", |screen| screen.trim_end().ends_with("\n>"));
                std::thread::sleep(Duration::from_millis(150));
                if self.screen() == screen {
                    return screen;
                }
            }
        }

        fn show(&self, title: &str) {
            if std::env::var_os("QWIP_SHOW_SCREENS").is_some() {
                eprintln!("──── {title}\n{}", self.screen().trim_end());
            }
        }
    }

    impl Drop for Tmux {
        fn drop(&mut self) {
            let _ = Command::new("tmux").arg("-S").arg(&self.socket).arg("kill-server").output();
        }
    }

    #[test]
    fn a_conversation_in_two_languages() {
        if skipped() {
            return;
        }
        let tmux = Tmux::new();
        tmux.start("");
        tmux.prompt();
        tmux.say("What is 1+1?");
        tmux.prompt();
        tmux.say("你好，你是谁？");
        tmux.prompt();
        tmux.show("two languages");
        let kept: Vec<PathBuf> = sessions(&tmux);
        assert_eq!(kept.len(), 1);
        assert_eq!(read(&kept[0])["messages"].as_array().unwrap().len(), 4);

        // Editing: the cursor stands behind wide characters.
        tmux.say("/edit");
        tmux.until("the message again", |screen| screen.trim_end().ends_with("> 你好，你是谁？"));
        tmux.cursor_comes_to(2 + 2 * 7);
        tmux.keys(&["Left", "Left"]);
        tmux.cursor_comes_to(2 + 2 * 5);
        tmux.call(&["send-keys", "-t", "chat", "-l", "到底"]);
        tmux.until("what was typed", |screen| screen.trim_end().ends_with("> 你好，你是到底谁？"));
        tmux.cursor_comes_to(2 + 2 * 7);
        tmux.keys(&["BSpace", "BSpace", "End", "Enter"]);
        tmux.prompt();
        tmux.say("/regen");
        tmux.prompt();
        assert_eq!(read(&kept[0])["messages"].as_array().unwrap().len(), 4);
        tmux.show("edited and answered again");

        tmux.say("/save 第一次");
        tmux.wait("Kept in");
        tmux.prompt();
        assert_eq!(sessions(&tmux).len(), 1, "the name that was made up is gone");
        tmux.say("/clear");
        tmux.wait("starts again");
        tmux.prompt();
        tmux.say("/load 第一次");
        tmux.wait("4 messages");
        tmux.prompt();
        tmux.show("loaded");
        tmux.say("/exit");
        tmux.wait("ended 0");
        tmux.show("left");

        let history = std::fs::read_to_string(tmux.home.path().join("data/history")).unwrap();
        assert!(history.contains("你好，你是谁？") && history.contains("/save 第一次"), "{history}");
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(tmux.home.path().join("data/history")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    fn sessions(tmux: &Tmux) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(tmux.home.path().join("data/sessions")).expect("sessions");
        entries.map(|entry| entry.expect("an entry").path()).collect()
    }

    #[test]
    fn markdown_and_long_lines_of_chinese() {
        if skipped() {
            return;
        }
        let tmux = Tmux::new();
        let text = "## 春天\n\n春天来了，万物复苏。小河里的冰融化了，河水“哗啦啦”地流着，**油菜花开了**，像一片金色的海洋！\n\n\
                    1. 使用`cargo build`命令来编译整个项目，然后运行测试程序，看看结果对不对。\n\n\
                    | 城市 | 人口 |\n|---|---:|\n| 北京 | 2189 |\n| Rome | 275 |\n\n```c\nint x;\u{1b}[2J // **\n```\n";
        let path = tmux.home.path().join("s.json");
        let session = json!({"qwip_session": 1, "messages": [
            {"role": "user", "content": "写"}, {"role": "assistant", "content": text}]});
        std::fs::write(&path, session.to_string()).unwrap();
        tmux.start(&format!("--session {}", path.display()));
        let screen = tmux.prompt();
        tmux.show("Markdown");
        for words in [
            "\n北京 │ 2189\nRome │  275\n",
            "\n1. 使用cargo build命令",
            "\nint x;\\u001b[2J // **\n",
            "┌─ c\n",
        ] {
            assert!(screen.contains(words), "{words}:\n{screen}");
        }
        // Broken between characters, not before a stop, with the rest of an item below its text.
        assert!(
            screen.lines().all(|line| !line.trim_start().starts_with(['，', '。', '！', '”'])),
            "{screen}"
        );
        assert!(
            screen.lines().any(|line| line.starts_with("   ") && line.contains("结果对不对。")),
            "{screen}"
        );
        assert!(tmux.styled().contains("\u{1b}[1m油菜花开了"), "{}", tmux.styled());

        // A line that goes on in the next row: 29 characters of two columns stand behind the prompt.
        let row = tmux.cursor().1;
        tmux.call(&["send-keys", "-t", "chat", "-l", &"长".repeat(40)]);
        tmux.cursor_comes_to(22);
        assert_eq!(tmux.cursor().1, row + 1);
        tmux.keys(&["Home"]);
        tmux.cursor_comes_to(2);
        assert_eq!(tmux.cursor().1, row);
        tmux.keys(&["C-c"]);
        tmux.prompt();
        tmux.say("/exit");
        tmux.wait("ended 0");
    }

    #[test]
    fn keys_that_stop_clear_and_leave() {
        if skipped() {
            return;
        }
        let tmux = Tmux::new();
        // Without an end, so that there is something to stop.
        tmux.start("--ignore-eos --no-loop-guard");
        tmux.prompt();
        tmux.say("Hello!");
        tmux.until("an answer", |screen| {
            screen
                .lines()
                .skip_while(|line| *line != "> Hello!")
                .nth(1)
                .is_some_and(|line| !line.trim().is_empty())
        });
        tmux.keys(&["C-c"]);
        tmux.wait("[stopped]");
        tmux.prompt();
        tmux.show("stopped");
        let kept = sessions(&tmux);
        let answer = read(&kept[0])["messages"][1]["content"].as_str().unwrap().to_string();
        assert!(!answer.is_empty(), "what came stays");

        // What was typed goes, the chat does not.
        tmux.call(&["send-keys", "-t", "chat", "-l", "never sent"]);
        tmux.keys(&["C-c"]);
        tmux.prompt();
        tmux.keys(&["C-c"]);
        tmux.wait("Ctrl-C again leaves");
        tmux.prompt();
        tmux.keys(&["C-c"]);
        tmux.wait("ended 0");
        tmux.show("left with Ctrl-C");
        assert_eq!(read(&kept[0])["messages"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn pasted_lines_and_blocks_are_one_message() {
        if skipped() {
            return;
        }
        let tmux = Tmux::new();
        tmux.start("-n 8");
        tmux.prompt();
        tmux.call(&["set-buffer", "第一行\nsecond line\n  third\\\nfourth"]);
        tmux.call(&["paste-buffer", "-p", "-t", "chat"]);
        tmux.wait("fourth");
        tmux.show("pasted");
        tmux.keys(&["Enter"]);
        tmux.prompt();
        let kept = sessions(&tmux);
        assert_eq!(read(&kept[0])["messages"][0]["content"], "第一行\nsecond line\n  third\\\nfourth");
        tmux.say("\"\"\"one");
        tmux.say("two");
        tmux.say("\"\"\"");
        tmux.prompt();
        tmux.show("a block");
        assert_eq!(read(&kept[0])["messages"][2]["content"], "one\ntwo");
        // The history brings it back.
        tmux.keys(&["Up"]);
        tmux.until("the block again", |screen| screen.matches("\"\"\"one").count() == 2);
        tmux.keys(&["C-c"]);
        tmux.prompt();
        tmux.keys(&["C-d"]);
        tmux.wait("ended 0");
    }

    #[test]
    fn thinking_is_dimmed_or_folded() {
        if skipped() {
            return;
        }
        let tmux = Tmux::new();
        tmux.start("");
        tmux.prompt();
        tmux.say("/think on");
        tmux.prompt();
        tmux.say("What is 2+3?");
        tmux.prompt();
        tmux.show("dimmed");
        let styled = tmux.styled();
        assert!(styled.contains("\u{1b}[2m"), "{styled}");
        tmux.say("/set fold on");
        tmux.prompt();
        tmux.say("What is 3+4?");
        let screen = tmux.wait("thought for");
        assert!(!screen.contains("thinking…"), "{screen}");
        tmux.prompt();
        tmux.say("/think show");
        tmux.prompt();
        tmux.show("folded");
    }

    #[test]
    fn a_full_context_is_offered_to_be_emptied() {
        if skipped() {
            return;
        }
        let tmux = Tmux::new();
        tmux.start("-c 192 -n 8");
        tmux.prompt();
        let long = "tell me about the word word word word word word word ".repeat(3);
        let mut asked = false;
        for _ in 0..6 {
            tmux.say(&long);
            let screen = tmux.until("an end", |screen| {
                let end = screen.trim_end();
                end.ends_with("\n>") || end.ends_with("[y/n]")
            });
            if screen.trim_end().ends_with("[y/n]") {
                asked = true;
                tmux.show("nearly full");
                tmux.say("y");
                tmux.prompt();
                break;
            }
        }
        assert!(asked, "{}", tmux.screen());
        let kept = read(&sessions(&tmux)[0]);
        let forgotten = kept["forgotten"].as_u64().expect("a number");
        assert!(forgotten > 0 && kept["messages"].as_array().unwrap().len() as u64 > forgotten, "{kept}");
        tmux.say("/stats");
        tmux.wait("are forgotten");
        tmux.show("stats");
    }

    #[test]
    fn tab_completes_commands() {
        if skipped() {
            return;
        }
        let tmux = Tmux::new();
        tmux.start("");
        tmux.prompt();
        tmux.call(&["send-keys", "-t", "chat", "-l", "/sta"]);
        tmux.keys(&["Tab"]);
        tmux.wait("> /stats");
        tmux.keys(&["Enter"]);
        tmux.wait("sampling");
        tmux.show("completed");
        tmux.keys(&["C-d"]);
        tmux.wait("ended 0");
    }
}
