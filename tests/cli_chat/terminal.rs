//! What a person sees, in a terminal of tmux.

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
        let output = Command::new("tmux").arg("-f/dev/null").arg("-S").arg(&self.socket).args(args).output();
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
    for words in
        ["\n北京 │ 2189\nRome │  275\n", "\n1. 使用cargo build命令", "\nint x;\\u001b[2J // **\n", "┌─ c\n"]
    {
        assert!(screen.contains(words), "{words}:\n{screen}");
    }
    // Broken between characters, not before a stop, with the rest of an item below its text.
    assert!(screen.lines().all(|line| !line.trim_start().starts_with(['，', '。', '！', '”'])), "{screen}");
    assert!(screen.lines().any(|line| line.starts_with("   ") && line.contains("结果对不对。")), "{screen}");
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
