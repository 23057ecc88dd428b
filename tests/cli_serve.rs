//! `qwip serve` with the built program: OpenAI's API, bad input, limits, and the process itself.

#[path = "cli_serve/bad_input.rs"]
mod bad_input;
mod cli_common;
#[path = "cli_serve/openai.rs"]
mod openai;
#[path = "cli_serve/other_tasks.rs"]
mod other_tasks;
#[path = "cli_serve/process.rs"]
mod process;
#[path = "cli_common/serving.rs"]
mod serving;
#[path = "cli_serve/storm.rs"]
mod storm;
