//! Qwen models over HTTP: the APIs of OpenAI, Anthropic and Ollama, and a page to chat on. The only crate with an async
//! runtime, which shuttles bytes; models compute on threads of their own.
//!
//! | module | what it holds |
//! |---|---|
//! | [`library`] | where models come from: the program that embeds the server says |
//! | [`engine`] | one loaded model: sequences that are evaluated together, their pages, the queue |
//! | [`models`] | which models are loaded, loading on demand and unloading |
//! | [`http`] | connections and their limits, who may ask, errors, streams, the page |
//! | [`openai`], [`anthropic`], [`ollama`] | what a request says and how an answer is told, in each dialect |
//! | [`chat`] | a conversation in no one's dialect: prompt, answer, thinking, calls of tools |

pub mod anthropic;
pub mod chat;
pub mod engine;
mod events;
mod fields;
pub mod http;
mod insert;
pub mod library;
mod logprob;
pub mod models;
pub mod ollama;
pub mod openai;
mod parts;
mod time;
