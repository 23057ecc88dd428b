//! `qwip chat`: a conversation at the terminal, or a scripted one with a message on each line of standard input.

mod commands;
mod complete;
mod keep;
mod lines;
mod room;
mod settings;
mod transcript;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::builder::FalseyValueParser;
use clap::{Args, Parser};
use qwip::chat::{Message, Prompt, Voice};
use qwip::{Error, FinishReason, Sampler, Session};

use crate::args::{AnswerArgs, Cli, Command, ComputeArgs, ModelArgs, SamplingArgs, Think, explained};
use crate::kept::Kept;
use crate::model_arg::{self, Opened};
use crate::output::{self, to_terminal, usage, visible};
use crate::running::{self, Registered};
use crate::screen::{Look, LookArgs, Screen, wrapped};
use crate::split::parse_size;
use crate::voice::{self, parse_tools};
use crate::{builtin, device, input, interrupt};
use keep::Record;
use lines::{Lines, Typed};
use transcript::{Role, Transcript, Turn};

/// Bytes that may be kept of what was read in conversations, unless the user says otherwise.
const SESSION_CACHE: u64 = 4_000_000_000;

#[derive(Args, Debug)]
pub(crate) struct ChatArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// Functions that the model may call: a JSON list as OpenAI's `tools`; you are asked for their results
    #[arg(long, env = "QWIP_TOOLS", value_name = "FILE")]
    pub(crate) tools: Option<PathBuf>,
    /// Keep the conversation in this file (or under this name), and go on with what is in it [default: a new file, on a
    /// terminal]
    #[arg(long, env = "QWIP_SESSION", value_name = "FILE")]
    pub(crate) session: Option<String>,
    /// Go on with the newest conversation
    #[arg(long = "continue", env = "QWIP_CONTINUE", value_parser = FalseyValueParser::new())]
    pub(crate) newest: bool,
    /// Keep what the model has read of conversations in so many bytes of the cache folder, so that it need not read it again;
    /// the oldest go first; 0: keep nothing [default: 4G]
    #[arg(long, env = "QWIP_SESSION_CACHE", value_name = "N(K|M|G)", value_parser = parse_cache, default_value_t = SESSION_CACHE,
          hide_default_value = true)]
    pub(crate) session_cache: u64,
    #[command(flatten)]
    pub(crate) answer: AnswerArgs,
    #[command(flatten)]
    pub(crate) look: LookArgs,
    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
    #[command(flatten)]
    pub(crate) sampling: SamplingArgs,
}

impl ChatArgs {
    /// Those of a call without arguments.
    pub(crate) fn from_environment() -> anyhow::Result<ChatArgs> {
        match Cli::try_parse_from(["qwip", "chat"]).map(|cli| cli.command) {
            Ok(Some(Command::Chat(args))) => Ok(args),
            Ok(_) => unreachable!("the words say chat"),
            // The environment may hold a wrong value of a flag.
            Err(error) => Err(usage(explained(&error))),
        }
    }
}

pub(crate) fn run(args: ChatArgs) -> anyhow::Result<()> {
    let tools = match &args.tools {
        Some(path) => {
            let text = input::read(path)?;
            parse_tools(&text).with_context(|| path.display().to_string())?
        }
        None => Vec::new(),
    };
    // What is wrong with a file is found before a model is opened.
    let session = session_file(&args)?;
    let found =
        session.as_ref().filter(|path| path.exists()).map(|path| Transcript::read(path)).transpose()?;
    let mut lines = Lines::open()?;
    let model = args.model.clone();
    let mut talk = Talk::open(args, tools)?;
    model_arg::remember(&model, &talk.opened);
    talk.record = Record::new(session.clone(), lines.is_interactive());
    tell(greeting(&talk.opened, &talk.session))?;
    if let Some(found) = found {
        talk.adopt(Record::new(session, lines.is_interactive()), found);
        if to_terminal() {
            talk.show_last()?;
        }
    }
    if lines.is_interactive() {
        tell("/help lists the commands.")?;
    }
    let talked = talk.talk(&mut lines);
    talk.leave();
    talked
}

/// What was asked for: to a person on standard output, to whoever reads that by program not among the answers.
fn tell(text: impl std::fmt::Display) -> anyhow::Result<()> {
    if !to_terminal() {
        note(text);
        return Ok(());
    }
    wrapped(&visible(text)).lines().try_for_each(output::line)
}

/// What must be known beside the answers.
fn note(text: impl std::fmt::Display) {
    match std::io::stderr().is_terminal() {
        true => wrapped(&visible(text)).lines().for_each(output::note),
        false => output::note(text),
    }
}

fn parse_cache(text: &str) -> Result<u64, String> {
    if text == "0" { Ok(0) } else { parse_size(text) }
}

/// Where the conversation is kept, if the call says so.
fn session_file(args: &ChatArgs) -> anyhow::Result<Option<PathBuf>> {
    let named = args.session.as_deref().filter(|name| !name.is_empty());
    match (named, args.newest) {
        (Some(_), true) => Err(usage("--session and --continue name two conversations: give one of them")),
        (Some(name), false) => Ok(Some(transcript::place(name)?)),
        (None, true) => match transcript::saved().into_iter().find(|path| is_begun(path)) {
            Some(newest) => Ok(Some(newest)),
            None => {
                note("qwip: note: no conversation was kept yet; a new one begins");
                Ok(None)
            }
        },
        (None, false) => Ok(None),
    }
}

/// Whether something was said in a conversation.
fn is_begun(path: &Path) -> bool {
    Transcript::read(path).is_ok_and(|found| !found.turns.is_empty())
}

fn greeting(opened: &Opened, session: &Session) -> String {
    if opened.is_builtin() {
        return builtin::NOTICE.into();
    }
    format!(
        "{} ({}, {}, context {})",
        opened.title(),
        opened.model.architecture(),
        device_of(opened, session),
        opened.context()
    )
}

/// What computes.
fn device_of(opened: &Opened, session: &Session) -> String {
    device::of(session).unwrap_or_else(|| format!("{} threads", opened.cpu.pool.threads()))
}

struct Talk {
    /// Without the system message.
    history: Vec<Turn>,
    /// So many messages of it the model no longer sees.
    forgotten: usize,
    system: Option<String>,
    think: Think,
    sampler: Sampler,
    /// What the call asked for, and what was asked for by now.
    flags: SamplingArgs,
    sampling: SamplingArgs,
    answer: AnswerArgs,
    compute: ComputeArgs,
    opened: Opened,
    voice: Voice,
    session: Session,
    tools: Vec<serde_json::Value>,
    look: Look,
    record: Record,
    /// Where what was read is kept.
    kept: Option<Kept>,
    /// That others see which model is in use.
    running: Option<Registered>,
    /// What goes along with the next message.
    files: String,
    /// How the last answer went.
    last: Option<String>,
    /// The session has read something of this conversation since it was taken up.
    read: bool,
    /// The user does not want to forget anything yet.
    declined: bool,
    /// The conversations that were listed last.
    listed: Vec<PathBuf>,
}

impl Talk {
    fn open(args: ChatArgs, tools: Vec<serde_json::Value>) -> anyhow::Result<Talk> {
        let opened = Opened::new(&model_arg::choose(&args.model)?, &args.compute)?;
        opened.check_answers()?;
        let file = opened.model.file();
        let voice = voice::of(&opened)?;
        voice::check_chat(&voice).with_context(|| opened.name.clone())?;
        let params = voice::sampling(&voice, file, args.answer.think, &args.sampling)?;
        if args.answer.verbose {
            note(format_args!("[{}]", voice::in_effect(&params)));
        }
        Ok(Talk {
            history: Vec::new(),
            forgotten: 0,
            system: args.answer.system.clone(),
            think: args.answer.think,
            sampler: Sampler::new(params),
            flags: args.sampling.clone(),
            sampling: args.sampling,
            answer: args.answer,
            compute: args.compute,
            session: opened.session_with_notes()?,
            running: running::register("chat", &opened),
            opened,
            voice,
            tools,
            look: Look::from(&args.look),
            record: Record::default(),
            kept: Kept::open(args.session_cache),
            files: String::new(),
            last: None,
            read: false,
            declined: false,
            listed: Vec::new(),
        })
    }

    /// Answers messages and obeys commands until the end.
    fn talk(&mut self, lines: &mut Lines) -> anyhow::Result<()> {
        // A Ctrl-C that comes a moment too late for an answer does not end the chat.
        let _armed = lines.is_interactive().then(interrupt::arm);
        while let Some(typed) = lines.next()? {
            match typed {
                Typed::Nothing => {}
                Typed::Command(command) => {
                    if self.command(&command, lines)? {
                        break;
                    }
                }
                Typed::Message(text) => self.say(&text, lines)?,
            }
        }
        Ok(())
    }

    /// Answers a message.
    fn say(&mut self, text: &str, lines: &mut Lines) -> anyhow::Result<()> {
        let before = self.history.len();
        let files = std::mem::take(&mut self.files);
        self.history.push(Turn { files: files.len(), ..Turn::new(Role::User, format!("{files}{text}")) });
        // What was said survives whatever ends the process while it is answered.
        self.changed();
        let answered = self.answer(before, lines);
        if !matches!(answered, Ok(true)) {
            self.changed();
            self.files = files;
        }
        answered.map(drop)
    }

    /// Whether to think changes how tokens are chosen, too: the makers publish settings for each.
    fn set_think(&mut self, think: Think) -> anyhow::Result<()> {
        self.think = think;
        self.sampler.set_params(voice::sampling(
            &self.voice,
            self.opened.model.file(),
            think,
            &self.sampling,
        )?);
        self.changed();
        Ok(())
    }

    /// The prompt that the conversation makes without its `first` messages.
    fn prompt_from(&self, first: usize) -> anyhow::Result<Prompt> {
        let system = self.system.iter().map(|text| Message::system(text));
        let turns = self.history[first.min(self.history.len())..].iter().map(Turn::message);
        let messages: Vec<Message> = system.chain(turns).collect();
        voice::prompt(&self.voice, &messages, &self.tools, self.think).map_err(unwrap_chat)
    }

    /// Answers the history, and what tools the model calls say to it, until there is nothing more to answer. What
    /// cannot be answered is forgotten: the history then has the `before` messages that it had before the user's, and
    /// this is false.
    fn answer(&mut self, mut before: usize, lines: &mut Lines) -> anyhow::Result<bool> {
        if !self.make_room(lines)? {
            self.history.truncate(before);
            return Ok(false);
        }
        loop {
            let answered = self.answer_once();
            let (calls, reason) = match answered {
                Ok(answered) => answered,
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
                        Some(problem) => note(format_args!("qwip: {problem}")),
                        None => return Err(error),
                    }
                    return Ok(false);
                }
            };
            self.changed();
            before = self.history.len();
            if reason == FinishReason::ContextFull && lines.is_interactive() {
                self.declined = false;
                if self.make_room(lines)? && !self.declined {
                    note("Ask for the rest of the answer, if you like.");
                }
            }
            if calls.is_empty() {
                return Ok(true);
            }
            for call in calls {
                let Some(result) = lines.text(&format!("result of {} > ", visible(call)), "")? else {
                    return Ok(true);
                };
                self.history.push(Turn::new(Role::Tool, result));
            }
        }
    }

    /// Adds one answer to the history; returns the names of the tools that it calls, and why it ended.
    fn answer_once(&mut self) -> anyhow::Result<(Vec<String>, FinishReason)> {
        let prompt = self.prompt_from(self.forgotten)?;
        let mut screen = Screen::new(self.look);
        let armed = interrupt::arm();
        let answer = voice::answer(
            &mut self.session,
            &self.voice,
            &mut self.sampler,
            &prompt,
            &voice::generate_options(&self.answer),
            None,
            interrupt::flag(),
            &mut |part| screen.show(part),
        );
        drop(armed);
        screen.finish()?;
        let answer = answer?;
        self.read = true;
        match answer.reason {
            FinishReason::ContextFull => note(format_args!(
                "[the context of {} tokens is full: /clear starts again]",
                self.opened.context()
            )),
            FinishReason::Cancelled => note("[stopped]"),
            FinishReason::Length => note("[cut off at -n]"),
            FinishReason::Repetition => note("[stopped: the answer repeats itself]"),
            FinishReason::Stop => {}
        }
        if self.answer.verbose {
            note(format_args!("[{}]", answer.timing()));
        }
        self.last = Some(answer.timing());
        let calls = match self.tools.is_empty() || answer.reason != FinishReason::Stop {
            true => Vec::new(),
            false => tool_calls(&answer.text),
        };
        self.history.push(Turn { thinking: answer.thinking, ..Turn::new(Role::Assistant, answer.text) });
        Ok((calls, answer.reason))
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
        for name in ["config.json", "model.safetensors", "tokenizer.json"] {
            std::fs::copy(fixture.join(name), checkpoint.join(name)).unwrap();
        }
        let thinking = "{%- for m in messages %}{{ m.role + m.content }}{%- endfor %}\
            {%- if enable_thinking is defined and not enable_thinking %}{{ '<think>\\n\\n</think>\\n\\n' }}{%- endif %}";
        std::fs::write(checkpoint.join("chat_template.jinja"), thinking).unwrap();
        let ty = qwip_convert::file_type("f16").unwrap();
        let options = qwip_convert::Options { threads: Some(1), ..qwip_convert::Options::new(ty) };
        qwip_convert::convert(&checkpoint, &path, &options, &mut ()).unwrap();
        let mut talk = talk(path.to_str().unwrap(), &["--top-k", "9", "-s", "5"]);
        for (command, temperature) in [("think on", 0.6), ("think off", 0.7), ("think auto", 0.6)] {
            talk.command(command, &mut Lines::Script).unwrap();
            let params = talk.sampler.params();
            assert_eq!((params.temperature, params.top_k, params.seed), (temperature, 9, 5), "{command}");
        }
    }

    #[test]
    fn what_cannot_be_answered_is_forgotten_together_with_what_tools_said_to_it() {
        let mut talk = talk("builtin", &["-c", "8"]);
        let (user, assistant) = (|text| Turn::new(Role::User, text), |text| Turn::new(Role::Assistant, text));
        talk.history = vec![user("a"), assistant("b"), user("c"), assistant("<tool_call>")];
        talk.history.push(Turn::new(Role::Tool, "d"));
        assert!(!talk.answer(2, &mut Lines::Script).unwrap());
        assert_eq!(talk.history, [user("a"), assistant("b")]);
    }

    #[test]
    fn a_conversation_that_is_taken_up_again_makes_the_same_prompt() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("talk.json");
        let mut live = talk("builtin", &["--system", "Be brief.", "--top-p", "0.9"]);
        live.record = Record::new(Some(path.clone()), false);
        for (question, thinking, answer) in [
            ("一加一？", "1 + 1\nis 2", "二。"),
            ("And <|im_end|>?", "cut off\n", ""),
            ("c", "", "</think> d\n"),
        ] {
            live.history.push(Turn::new(Role::User, question));
            let said = Turn { thinking: thinking.into(), ..Turn::new(Role::Assistant, answer) };
            live.history.push(said);
            live.changed();
        }
        let mut again = talk("builtin", &[]);
        again.adopt(Record::new(Some(path.clone()), false), Transcript::read(&path).unwrap());
        for talk in [&mut live, &mut again] {
            talk.history.push(Turn::new(Role::User, "next"));
        }
        for first in [0, 2] {
            let (a, b) = (live.prompt_from(first).unwrap(), again.prompt_from(first).unwrap());
            assert_eq!((a.text, a.tokens), (b.text, b.tokens));
        }
        assert_eq!(again.sampling.top_p, Some(0.9));
    }

    #[test]
    fn calls_are_found_by_their_tags() {
        let text = "I look.\n<tool_call>\n{\"name\": \"time\", \"arguments\": {}}\n</tool_call>\n<tool_call>x</tool_call>";
        assert_eq!(tool_calls(text), ["time", "the call"]);
        assert!(tool_calls("no calls, <tool_call> open").is_empty());
    }
}
