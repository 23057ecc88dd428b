//! From messages to the prompt text, and from the answer's text back to thinking, answer and calls of tools.
//!
//! The prompt is made by the model file's own Jinja template ([`ChatTemplate`]), byte for byte as Hugging Face's
//! `apply_chat_template` makes it: `tests/chat_templates.rs` compares with the output of Python's jinja2. A template is
//! untrusted: parsing and rendering are bounded in time, memory and stack and end in a one-line error. So are messages:
//! [`Guarded`] keeps them from spelling out control tokens.
//!
//! ```
//! use qwip::chat::{ChatTemplate, Message, RenderOptions};
//!
//! let options = RenderOptions { add_generation_prompt: true, ..RenderOptions::default() };
//! let prompt = ChatTemplate::chatml().render(&[Message::user("Hi")], &[], &options).unwrap();
//! assert_eq!(prompt, "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
//! ```

mod answer;
mod asked;
mod calls;
#[cfg(feature = "constrain")]
mod form;
mod guard;
mod jinja;
mod message;
mod name;
mod thinking;
mod tools;
mod voice;

pub use answer::{AnswerSplitter, Delta};
pub use asked::{CALL_END, Format, ToolChoice, call_stop, declared};
#[cfg(feature = "constrain")]
pub use form::{FormError, FormField, answer_grammar};
pub use guard::Guarded;
use jinja::Fail;
pub use message::{Message, json_kind, messages_from_openai};
pub use name::random_name;
pub use thinking::{Part, ThinkingSplitter, prompt_opens_thinking};
pub use tools::{ToolFormat, ToolPart, ToolSplitter};
pub use voice::{Prompt, Voice};

/// What was wrong with a template, a render or a message list. Every error shows as one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChatError {
    /// The template's source cannot be used.
    #[error("chat template, line {line}: {message}")]
    Parse {
        /// Line of the template, from 1.
        line: u32,
        /// What is wrong there.
        message: String,
    },
    /// The template does not render these messages, by its own decision (`raise_exception`) or by a fault of it.
    #[error("chat template{}: {message}", at_line(*line))]
    Render {
        /// Line of the template, from 1; 0 where the fault belongs to no line.
        line: u32,
        /// What is wrong there, or what the template says.
        message: String,
    },
    /// A message list that is none.
    #[error("{0}")]
    Messages(String),
    /// A model that was not made for conversations.
    #[error("the model has no chat template, it only continues text")]
    NoTemplate,
}

/// A model's chat template, parsed once. Threads may render the same template at the same time.
#[derive(Debug)]
pub struct ChatTemplate {
    template: jinja::Template,
}

/// What a template is told besides messages and tools.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RenderOptions {
    /// Ends the prompt with the header of the assistant's turn.
    pub add_generation_prompt: bool,
    /// The variable `enable_thinking`; absent, the template decides.
    pub thinking: Option<bool>,
    /// The variable `bos_token`: text of the beginning-of-text token.
    pub bos_token: Option<String>,
    /// The variable `eos_token`: text of the end-of-text token.
    pub eos_token: Option<String>,
    /// The clock that `strftime_now` shows, in seconds since 1970 (UTC); absent, the system's.
    pub now: Option<i64>,
    /// Further variables (`chat_template_kwargs`); they win over all others.
    pub extra: serde_json::Map<String, serde_json::Value>,
}

/// What most Qwen models expect where a file has no template of its own.
const CHATML: &str = "\
{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
";

impl ChatTemplate {
    /// Parses the source that a file carries. The error names the line.
    pub fn parse(source: &str) -> Result<ChatTemplate, ChatError> {
        match jinja::parse(source) {
            Ok(template) => Ok(ChatTemplate { template }),
            Err(fail) => Err(ChatError::Parse { line: fail.line, message: one_line(&fail.message) }),
        }
    }

    /// Plain ChatML without a default system message and without tools: the fallback for a file without a template.
    pub fn chatml() -> ChatTemplate {
        ChatTemplate::parse(CHATML).expect("the built-in template parses")
    }

    /// The prompt for `messages`, with `tools` (OpenAI's `{"type": "function", "function": {..}}` objects) declared.
    ///
    /// An error says why the template refused, on one line: what it raised itself, a value that it cannot handle, or
    /// a limit (steps, bytes, nesting) that it ran into.
    pub fn render(
        &self,
        messages: &[Message],
        tools: &[serde_json::Value],
        options: &RenderOptions,
    ) -> Result<String, ChatError> {
        self.try_render(messages, tools, options)
            .map_err(|fail| ChatError::Render { line: fail.line, message: one_line(&fail.message) })
    }

    fn try_render(
        &self,
        messages: &[Message],
        tools: &[serde_json::Value],
        options: &RenderOptions,
    ) -> Result<String, Box<Fail>> {
        let mut size = (0, 0);
        let tools = match tools {
            [] => jinja::Value::None,
            some => jinja::from_json(&serde_json::Value::from(some), &mut size)?,
        };
        let mut variables = vec![
            ("messages", jinja::from_maps(messages.iter().map(Message::as_map), &mut size)?),
            ("tools", tools),
            ("documents", jinja::Value::None),
            ("add_generation_prompt", jinja::Value::Bool(options.add_generation_prompt)),
        ];
        variables.extend(options.thinking.map(|on| ("enable_thinking", jinja::Value::Bool(on))));
        for (name, token) in [("bos_token", &options.bos_token), ("eos_token", &options.eos_token)] {
            variables.extend(token.as_deref().map(|text| (name, jinja::Value::Str(text.into()))));
        }
        for (name, value) in &options.extra {
            variables.retain(|(found, _)| found != name);
            variables.push((name, jinja::from_json(value, &mut size)?));
        }
        let now = match options.now {
            Some(now) => now,
            // Not every platform has a clock, so only a template that shows it makes us look.
            None if self.template.uses("strftime_now") => clock(),
            None => 0,
        };
        jinja::render(&self.template, variables, size, now)
    }
}

fn at_line(line: u32) -> String {
    if line > 0 { format!(", line {line}") } else { String::new() }
}

fn clock() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

/// A message from a template, which may hold anything, as one line of bounded length.
fn one_line(message: &str) -> String {
    const LONGEST: usize = 300;
    let line: String = message.chars().take(LONGEST).map(|c| if c.is_control() { ' ' } else { c }).collect();
    let line = line.trim();
    if line.is_empty() {
        "the template refused without a reason".to_owned()
    } else if message.chars().nth(LONGEST).is_some() {
        format!("{line}...")
    } else {
        line.to_owned()
    }
}
