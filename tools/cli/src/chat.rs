//! `qwip chat`: a conversation at the terminal, or a scripted one with a message on each line of standard input.

use std::io::{BufRead, IsTerminal, Read};

use anyhow::{Context, bail};
use qwip::chat::Message;
use qwip::{Error, FinishReason, Sampler, Session};
use rustyline::error::ReadlineError;

use crate::args::{AnswerArgs, ChatArgs, SamplingArgs, Think};
use crate::model_arg::{self, Opened};
use crate::output::{line, note, to_terminal, visible};
use crate::voice::{self, Screen, Voice, parse_tools};
use crate::{builtin, device, input, interrupt, running};

const HELP: &str = "\
  /help              this list
  /system [TEXT]     set the system message, or remove it, and start again
  /think on|off|auto whether the model thinks before it answers
  /regen             answer the last message again
  /clear             start again
  /exit              leave (also Ctrl-D)
A line that ends with \\ goes on in the next one. Ctrl-C stops an answer.";

pub(crate) fn run(args: ChatArgs) -> anyhow::Result<()> {
    let tools = match &args.tools {
        Some(path) => {
            let text = input::read(path)?;
            parse_tools(&text).with_context(|| path.display().to_string())?
        }
        None => Vec::new(),
    };
    let model = args.model.clone();
    let mut talk = Talk::open(args, tools)?;
    model_arg::remember(&model, &talk.opened);
    let _running = running::register("chat", &talk.opened);
    let mut lines = Lines::open()?;
    // Whoever reads the answers by program does not want this among them.
    match to_terminal() {
        true => line(greeting(&talk.opened, &talk.session))?,
        false => note(greeting(&talk.opened, &talk.session)),
    }
    if lines.is_interactive() {
        line("/help lists the commands.")?;
    }
    while let Some(text) = lines.message("> ")? {
        let text = text.trim();
        match text.strip_prefix('/') {
            _ if text.is_empty() => {}
            Some(command) => {
                if talk.command(command, &mut lines)? {
                    break;
                }
            }
            None => {
                let before = talk.history.len();
                talk.history.push(Message::user(text));
                talk.answer(before, &mut lines)?;
            }
        }
    }
    Ok(())
}

fn greeting(opened: &Opened, session: &Session) -> String {
    if opened.is_builtin() {
        return builtin::NOTICE.into();
    }
    let threads = || format!("{} threads", opened.cpu.pool.threads());
    format!(
        "{} ({}, {}, context {})",
        opened.title(),
        opened.model.architecture(),
        device::of(session).unwrap_or_else(threads),
        opened.context()
    )
}

struct Talk {
    /// Without the system message.
    history: Vec<Message>,
    system: Option<String>,
    think: Think,
    sampler: Sampler,
    sampling: SamplingArgs,
    answer: AnswerArgs,
    opened: Opened,
    voice: Voice,
    session: Session,
    tools: Vec<serde_json::Value>,
}

impl Talk {
    fn open(args: ChatArgs, tools: Vec<serde_json::Value>) -> anyhow::Result<Talk> {
        let opened = Opened::new(&model_arg::choose(&args.model)?, &args.compute)?;
        opened.check_answers()?;
        let file = opened.model.file();
        let voice = Voice::new(file, opened.tokenizer()?).with_context(|| opened.name.clone())?;
        voice.check_chat().with_context(|| opened.name.clone())?;
        let params = voice.sampling(file, args.answer.think, &args.sampling)?;
        Ok(Talk {
            history: Vec::new(),
            system: args.answer.system.clone(),
            think: args.answer.think,
            sampler: Sampler::new(params),
            sampling: args.sampling,
            answer: args.answer,
            session: opened.session_with_notes()?,
            opened,
            voice,
            tools,
        })
    }

    /// Whether to think changes how tokens are chosen, too: the makers publish settings for each.
    fn set_think(&mut self, think: Think) -> anyhow::Result<()> {
        self.think = think;
        self.sampler.set_params(self.voice.sampling(self.opened.model.file(), think, &self.sampling)?);
        Ok(())
    }

    /// Obeys what follows the slash; true to leave.
    fn command(&mut self, command: &str, lines: &mut Lines) -> anyhow::Result<bool> {
        let (name, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
        let rest = rest.trim();
        match name {
            "exit" | "quit" | "bye" => return Ok(true),
            "help" | "?" => HELP.lines().try_for_each(line)?,
            "clear" => {
                self.history.clear();
                note("The conversation starts again.");
            }
            "system" => {
                self.system = (!rest.is_empty()).then(|| rest.to_string());
                self.history.clear();
                let what = if rest.is_empty() { "removed" } else { "set" };
                note(format_args!("The system message is {what}; the conversation starts again."));
            }
            "think" => match rest {
                "on" => self.set_think(Think::On)?,
                "off" => self.set_think(Think::Off)?,
                "auto" => self.set_think(Think::Auto)?,
                _ => note("/think on, /think off or /think auto"),
            },
            "regen" => {
                match self.history.iter().rposition(|message| message.role() == "user") {
                    Some(last) => {
                        self.history.truncate(last + 1);
                        self.answer(last, lines)?;
                    }
                    None => note("There is nothing to answer yet."),
                };
            }
            _ => note(format_args!("/{name} is not a command; /help lists them.")),
        }
        Ok(false)
    }

    /// Answers the history, and what tools the model calls say to it, until there is nothing more to answer. What
    /// cannot be answered is forgotten: the history then has the `before` messages that it had before the user's.
    fn answer(&mut self, before: usize, lines: &mut Lines) -> anyhow::Result<()> {
        loop {
            let calls = match self.answer_once() {
                Ok(calls) => calls,
                Err(error) => {
                    // A conversation survives what only concerns this message.
                    self.history.truncate(before);
                    match error.downcast_ref::<Error>() {
                        Some(Error::PromptTooLong { .. }) => note(format_args!(
                            "The conversation no longer fits the context of {} tokens: /clear starts again, \
                             a larger -c helps too.",
                            self.opened.context()
                        )),
                        Some(Error::Cancelled) => {
                            note("Stopped before the answer began; the message is forgotten.")
                        }
                        Some(Error::Chat(problem)) => note(format_args!("qwip: {problem}")),
                        _ => return Err(error),
                    }
                    return Ok(());
                }
            };
            if calls.is_empty() {
                return Ok(());
            }
            for call in calls {
                let Some(result) = lines.message(&format!("result of {} > ", visible(call)))? else {
                    return Ok(());
                };
                self.history.push(Message::tool(&result));
            }
        }
    }

    /// Adds one answer to the history; returns the names of the tools that it calls.
    fn answer_once(&mut self) -> anyhow::Result<Vec<String>> {
        let system = self.system.iter().map(|text| Message::system(text));
        let messages: Vec<Message> = system.chain(self.history.iter().cloned()).collect();
        let prompt = self.voice.prompt(&messages, &self.tools, self.think).map_err(unwrap_chat)?;
        let mut screen = Screen::new();
        let armed = interrupt::arm();
        let answer = voice::answer(
            &mut self.session,
            &self.voice,
            &mut self.sampler,
            &prompt,
            &voice::generate_options(&self.answer),
            interrupt::flag(),
            &mut |part| screen.show(part),
        )?;
        drop(armed);
        screen.finish()?;
        match answer.reason {
            FinishReason::ContextFull => note(format_args!(
                "[the context of {} tokens is full: /clear starts again]",
                self.opened.context()
            )),
            FinishReason::Cancelled => note("[stopped]"),
            FinishReason::Length => note("[cut off at -n]"),
            FinishReason::Stop => {}
        }
        if self.answer.verbose {
            note(format_args!("[{}]", answer.timing()));
        }
        self.history.push(answer.message());
        match self.tools.is_empty() || answer.reason != FinishReason::Stop {
            true => Ok(Vec::new()),
            false => Ok(tool_calls(&answer.text)),
        }
    }
}

/// Names of the functions called in an answer in the Hermes style: JSON between `<tool_call>` tags.
fn tool_calls(text: &str) -> Vec<String> {
    let calls = text.split("<tool_call>").skip(1).filter_map(|rest| rest.split_once("</tool_call>"));
    let name = |body: &str| {
        let json: Option<serde_json::Value> = serde_json::from_str(body.trim()).ok();
        json.and_then(|call| call["name"].as_str().map(str::to_string)).unwrap_or_else(|| "the call".into())
    };
    calls.map(|(body, _)| name(body)).collect()
}

/// Where messages come from.
enum Lines {
    Terminal(Box<rustyline::DefaultEditor>),
    Script,
}

impl Lines {
    fn open() -> anyhow::Result<Lines> {
        if !input::from_terminal() || !std::io::stdout().is_terminal() {
            return Ok(Lines::Script);
        }
        Ok(Lines::Terminal(Box::new(rustyline::DefaultEditor::new().context("the terminal")?)))
    }

    fn is_interactive(&self) -> bool {
        matches!(self, Lines::Terminal(_))
    }

    /// The next message, of one line or of several joined by backslashes; `None` at the end.
    fn message(&mut self, prompt: &str) -> anyhow::Result<Option<String>> {
        let Some(mut text) = self.line(prompt)? else { return Ok(None) };
        while text.ends_with('\\') {
            text.pop();
            text.push('\n');
            match self.line(". ")? {
                Some(more) => text.push_str(&more),
                None => break,
            }
        }
        if let Lines::Terminal(editor) = self {
            // Only for the arrow keys of this conversation; that it fails costs nothing.
            let _ = editor.add_history_entry(&text);
        }
        Ok(Some(text))
    }

    fn line(&mut self, prompt: &str) -> anyhow::Result<Option<String>> {
        match self {
            Lines::Terminal(editor) => match editor.readline(prompt) {
                Ok(text) => Ok(Some(text)),
                Err(ReadlineError::Eof | ReadlineError::Interrupted) => Ok(None),
                Err(error) => Err(error).context("the terminal"),
            },
            Lines::Script => {
                const LONGEST: u64 = 16 << 20;
                let mut bytes = Vec::new();
                let mut stdin = std::io::stdin().lock().take(LONGEST);
                let read = stdin.read_until(b'\n', &mut bytes).context("standard input")?;
                if read == 0 {
                    return Ok(None);
                }
                if read as u64 == LONGEST {
                    bail!("standard input: a line is longer than {LONGEST} bytes");
                }
                let text = String::from_utf8(bytes).ok().context("standard input is not UTF-8 text")?;
                Ok(Some(text.trim_end_matches(['\n', '\r']).to_string()))
            }
        }
    }
}

/// The runtime's own error type, so that a template's refusal is told from other failures.
fn unwrap_chat(error: anyhow::Error) -> anyhow::Error {
    match error.downcast::<qwip::chat::ChatError>() {
        Ok(error) => Error::Chat(error).into(),
        Err(error) => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command};
    use clap::Parser;

    fn talk(model: &str, more: &[&str]) -> Talk {
        let words = ["qwip", "chat", model, "-t", "1", "--think", "on", "--device", "cpu"];
        let cli = Cli::try_parse_from([&words, more].concat()).unwrap();
        let Some(Command::Chat(args)) = cli.command else { panic!("not chat") };
        Talk::open(args, Vec::new()).unwrap()
    }

    #[test]
    fn each_mode_of_thinking_has_its_sampling() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.gguf");
        let fixture = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../tests/fixtures/models/qwen3-wide-heads");
        let checkpoint = dir.path().join("checkpoint");
        std::fs::create_dir(&checkpoint).unwrap();
        // Without generation_config.json, so that the family's settings count.
        for name in ["config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"] {
            std::fs::copy(fixture.join(name), checkpoint.join(name)).unwrap();
        }
        let ty = qwip_convert::file_type("f16").unwrap();
        let options = qwip_convert::Options { threads: Some(1), ..qwip_convert::Options::new(ty) };
        qwip_convert::convert(&checkpoint, &path, &options, &mut ()).unwrap();
        let mut talk = talk(path.to_str().unwrap(), &["--top-k", "9", "-s", "5"]);
        // As if this were a model that thinks.
        talk.voice.thinks = true;
        for (command, temperature) in [("think on", 0.6), ("think off", 0.7), ("think auto", 0.6)] {
            talk.command(command, &mut Lines::Script).unwrap();
            let params = talk.sampler.params();
            assert_eq!((params.temperature, params.top_k, params.seed), (temperature, 9, 5), "{command}");
        }
    }

    #[test]
    fn what_cannot_be_answered_is_forgotten_together_with_what_tools_said_to_it() {
        let mut talk = talk("builtin", &["-c", "8"]);
        talk.history = vec![Message::user("a"), Message::assistant("b")];
        talk.history.extend([Message::user("c"), Message::assistant("<tool_call>"), Message::tool("d")]);
        talk.answer(2, &mut Lines::Script).unwrap();
        assert_eq!(talk.history, [Message::user("a"), Message::assistant("b")]);
    }

    #[test]
    fn calls_are_found_by_their_tags() {
        let text = "I look.\n<tool_call>\n{\"name\": \"time\", \"arguments\": {}}\n</tool_call>\n<tool_call>x</tool_call>";
        assert_eq!(tool_calls(text), ["time", "the call"]);
        assert!(tool_calls("no calls, <tool_call> open").is_empty());
    }
}
