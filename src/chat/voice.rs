//! How a model is talked with: its template, its tokenizer, and what they make of a conversation.

use std::sync::Arc;

use super::{ChatError, ChatTemplate, Guarded, Message, RenderOptions, ToolFormat, prompt_opens_thinking};
#[cfg(feature = "constrain")]
use crate::constrain::Thinking;
use crate::file::ModelFile;
use crate::sample::{SamplingChoice, SamplingParams};
use crate::tokenizer::{Special, Tokenizer};

/// The template and the tokenizer of a file.
pub struct Voice {
    tokenizer: Arc<Tokenizer>,
    /// None for a base model, which only continues text.
    template: Option<ChatTemplate>,
    thinks: bool,
    tool_format: ToolFormat,
    bos: Option<String>,
    eos: Option<String>,
}

/// What a model is asked.
#[derive(Clone, Debug)]
pub struct Prompt {
    /// As the template wrote it.
    pub text: String,
    /// The same as the model sees it.
    pub tokens: Vec<u32>,
    /// Whether the answer begins inside the thinking: the text ends with an open `<think>`.
    pub inside_thinking: bool,
}

impl Voice {
    /// Reads the template of a file. One without a template of its own but with ChatML's tokens gets plain ChatML.
    ///
    /// # Errors
    /// [`Error::Chat`](crate::Error::Chat) if the template does not parse, [`Error::Metadata`](crate::Error::Metadata) if
    /// it is no text.
    pub fn new(file: &ModelFile, tokenizer: Tokenizer) -> crate::Result<Voice> {
        let source = file.header().str("tokenizer.chat_template")?;
        let template = match source {
            Some(source) => Some(ChatTemplate::parse(source)?),
            None if tokenizer.find("<|im_start|>").is_some() => Some(ChatTemplate::chatml()),
            None => None,
        };
        let text = |id: Option<u32>| Some(tokenizer.decode(&[id?], true));
        let (bos, eos) = (text(tokenizer.bos()), text(tokenizer.eos()));
        let thinks = source.is_some_and(|source| source.contains("<think>"));
        let tool_format = ToolFormat::of_template(source.unwrap_or_default());
        Ok(Voice { template, thinks, tool_format, bos, eos, tokenizer: Arc::new(tokenizer) })
    }

    /// The tokenizer of the file.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The same, for whoever keeps it.
    pub fn shared_tokenizer(&self) -> Arc<Tokenizer> {
        self.tokenizer.clone()
    }

    /// Whether the template knows of thinking.
    pub fn thinks(&self) -> bool {
        self.thinks
    }

    /// How the model writes calls of tools.
    pub fn tool_format(&self) -> ToolFormat {
        self.tool_format
    }

    /// The template.
    ///
    /// # Errors
    /// [`ChatError::NoTemplate`] for a base model.
    pub fn template(&self) -> Result<&ChatTemplate, ChatError> {
        self.template.as_ref().ok_or(ChatError::NoTemplate)
    }

    /// The prompt of a conversation, up to where the model's answer begins. What `options` leaves out of the names of
    /// tokens is the file's. Neither messages nor tools can spell control tokens.
    ///
    /// # Errors
    /// [`ChatError`], as one line.
    pub fn prompt(
        &self,
        messages: &[Message],
        tools: &[serde_json::Value],
        options: &RenderOptions,
    ) -> Result<Prompt, ChatError> {
        let template = self.template()?;
        let options = RenderOptions {
            add_generation_prompt: true,
            bos_token: options.bos_token.clone().or_else(|| self.bos.clone()),
            eos_token: options.eos_token.clone().or_else(|| self.eos.clone()),
            ..options.clone()
        };
        let guarded = Guarded::new(&self.tokenizer, messages, tools)?;
        let text = template.render(guarded.messages(), guarded.tools(), &options)?;
        let tokens = guarded.encode(&self.tokenizer, &text);
        let inside_thinking = prompt_opens_thinking(&text);
        Ok(Prompt { text: guarded.text(&text), tokens, inside_thinking })
    }

    /// The prompt that is exactly this text, control tokens included.
    pub fn raw_prompt(&self, text: String) -> Prompt {
        let tokens = self.tokenizer.encode_with_bos(&text, Special::Parse);
        Prompt { text, tokens, inside_thinking: false }
    }

    /// Whether the model thinks if it is asked to, or not to, like this: the prompt says, since some do not by themselves,
    /// and some always do.
    pub fn is_thinking(&self, thinking: Option<bool>) -> bool {
        let options = RenderOptions { thinking, ..RenderOptions::default() };
        let prompt = || self.prompt(&[Message::user("Hi")], &[], &options).map(|prompt| prompt.text);
        self.thinks
            && match (thinking, prompt()) {
                (Some(false), Ok(prompt)) => prompt_opens_thinking(&prompt),
                (_, Ok(prompt)) => !prompt.trim_end().ends_with("</think>"),
                (_, Err(_)) => thinking != Some(false),
            }
    }

    /// What a constraint has to leave free of the answer to a prompt that was made with this wish.
    #[cfg(feature = "constrain")]
    pub fn thinking_before(&self, prompt: &Prompt, thinking: Option<bool>) -> Thinking {
        match prompt.inside_thinking {
            true => Thinking::Inside,
            false if self.is_thinking(thinking) => Thinking::MayOpen,
            false => Thinking::None,
        }
    }

    /// The settings of the draw: what is chosen, over the file's, over what is published for the family when it thinks or
    /// not.
    ///
    /// # Errors
    /// As [`SamplingParams::for_model`].
    pub fn sampling(
        &self,
        file: &ModelFile,
        thinking: Option<bool>,
        choice: &SamplingChoice,
    ) -> crate::Result<SamplingParams> {
        SamplingParams::for_model(file.header(), self.is_thinking(thinking), choice)
    }
}
