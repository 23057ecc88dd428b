//! Setting a request up. All of these come before `qwip_request_start`.

use std::ffi::c_char;
use std::sync::Arc;

use runtime::chat::{Format, ToolChoice, messages_from_openai};
use serde_json::Value;

use super::asked::Input;
use super::{RequestThing, qwip_request};
use crate::call::{self, on};
use crate::handle;
use crate::sampler::qwip_sampler;
use crate::session::qwip_session;
use crate::status::{Fault, Outcome, QWIP_STATUS_UNSUPPORTED, qwip_status};
use crate::values::{self, Out, flag, text};

/// Who speaks in a conversation; OpenAI's developer is the system.
const ROLES: [&str; 4] = ["system", "user", "assistant", "tool"];

/// A new request on a session. Free it with `qwip_request_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_request_new(
    session: *mut qwip_session,
    request: *mut *mut qwip_request,
) -> qwip_status {
    // SAFETY: the header asks for a place to write to.
    let out = unsafe { Out::new(request, "the place of the request", std::ptr::null_mut()) };
    on(session, |thing| {
        let out = out?;
        out.set(handle::insert(Arc::new(RequestThing::new(thing.clone()))));
        Ok(())
    })
}

/// The message of the last call on this request that failed, "" if none did.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_request_error(
    request: *mut qwip_request,
    message: *mut *mut c_char,
) -> qwip_status {
    // SAFETY: the header asks for a place to write to.
    unsafe { call::error_of(request, message) }
}

/// The conversation: OpenAI's message list, JSON: [{"role": "user", "content": "Hi"}]. The session keeps what it has in common
/// with the one before, so send the whole conversation each time. In place of a prompt, if one was set; JSON of up to 8 MiB.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_request_set_messages(
    request: *mut qwip_request,
    json: *const c_char,
) -> qwip_status {
    on(request, |thing| {
        // SAFETY: the header asks for text.
        let json = values::json(unsafe { text(json, "messages") }?, "messages")?;
        let messages = messages_from_openai(&json)?;
        if messages.is_empty() {
            return Err(Fault::argument("there are no messages"));
        }
        // Templates pass over what they do not know.
        if let Some(message) = messages.iter().find(|message| !ROLES.contains(&message.role())) {
            let (role, known) = (message.role(), ROLES.join(", "));
            return Err(Fault::argument(format!(
                "a message is of the role '{role}', expected one of {known}"
            )));
        }
        thing.set(|asked| {
            asked.input = Some(Input::Messages(messages));
            Ok(())
        })
    })
}

/// In place of messages, if they were set: exactly this text, in which control tokens count as such; the model goes on with it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_request_set_prompt(
    request: *mut qwip_request,
    prompt: *const c_char,
) -> qwip_status {
    on(request, |thing| {
        // SAFETY: the header asks for text.
        let prompt = unsafe { text(prompt, "the prompt") }?.to_owned();
        thing.set(|asked| {
            asked.input = Some(Input::Text(prompt));
            Ok(())
        })
    })
}

/// Tools that the model may call: OpenAI's list, JSON: [{"type": "function", "function": {"name": .., "parameters": ..}}].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_request_set_tools(
    request: *mut qwip_request,
    json: *const c_char,
) -> qwip_status {
    on(request, |thing| {
        // SAFETY: the header asks for text.
        let tools = values::tools(unsafe { text(json, "tools") }?)?;
        thing.set(|asked| {
            asked.tools = tools;
            Ok(())
        })
    })
}

/// Whether tools are called: "auto" (the default), "none", "required", or one by its name, as OpenAI writes it: {"type":
/// "function", "function": {"name": ".."}}. The last two need the feature "constrain".
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_request_set_tool_choice(
    request: *mut qwip_request,
    choice: *const c_char,
) -> qwip_status {
    on(request, |thing| {
        // SAFETY: the header asks for text.
        let choice = match unsafe { text(choice, "the choice") }? {
            "auto" => ToolChoice::Auto,
            "none" => ToolChoice::None,
            "required" => ToolChoice::Required,
            json => match &values::json(json, "the choice")?["function"]["name"] {
                Value::String(name) => ToolChoice::Named(name.clone()),
                _ => {
                    let want = "\"auto\", \"none\", \"required\" or an object with function.name";
                    return Err(Fault::argument(format!("the choice of tools is {json}, expected {want}")));
                }
            },
        };
        if matches!(choice, ToolChoice::Required | ToolChoice::Named(_)) {
            can_constrain()?;
        }
        thing.set(|asked| {
            asked.tool_choice = choice;
            Ok(())
        })
    })
}

/// Whether one answer may call several tools (1, the default) or one (0).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_request_set_parallel_tool_calls(
    request: *mut qwip_request,
    on_off: i32,
) -> qwip_status {
    on(request, |thing| {
        let several = flag(on_off, "parallel_tool_calls")?;
        thing.set(|asked| {
            asked.single_call = !several;
            Ok(())
        })
    })
}

/// Holds the answer to a JSON schema; "{}" asks for any JSON, {"type": "object"} for any object. Thinking is left free. In
/// place of a grammar, if one was set. That it cannot be used is said by the answer. Needs the feature "constrain".
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_request_set_json_schema(
    request: *mut qwip_request,
    schema: *const c_char,
) -> qwip_status {
    on(request, |thing| {
        // SAFETY: the header asks for text.
        let schema = values::json(unsafe { text(schema, "the schema") }?, "the schema")?;
        if schema["type"] == "json_schema" {
            return Err(Fault::argument(
                "this is OpenAI's response_format: what is wanted is its json_schema.schema",
            ));
        }
        can_constrain()?;
        thing.set(|asked| {
            (asked.format, asked.lark) = (Format::JsonSchema(schema), None);
            Ok(())
        })
    })
}

/// Holds the answer to a grammar in Lark's notation, as llguidance reads it, in place of a schema, if one was set. That it
/// cannot be used is said by the answer. Needs the feature "constrain".
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_request_set_grammar(
    request: *mut qwip_request,
    lark: *const c_char,
) -> qwip_status {
    on(request, |thing| {
        // SAFETY: the header asks for text.
        let lark = unsafe { text(lark, "the grammar") }?.to_owned();
        can_constrain()?;
        thing.set(|asked| {
            (asked.format, asked.lark) = (Format::Text, Some(lark));
            Ok(())
        })
    })
}

fn can_constrain() -> Outcome {
    match cfg!(feature = "constrain") {
        true => Ok(()),
        false => {
            let message = "this build of the library cannot hold answers to a form (feature \"constrain\")";
            Err(Fault::new(QWIP_STATUS_UNSUPPORTED, message))
        }
    }
}

/// Whether the model thinks before it answers: 1, 0, or -1 (the default) for what its template does by itself.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_request_set_thinking(request: *mut qwip_request, thinking: i32) -> qwip_status {
    on(request, |thing| {
        let thinking = values::thinking(thinking)?;
        thing.set(|asked| {
            asked.thinking = thinking;
            Ok(())
        })
    })
}

/// Most tokens of thinking; then it is closed, and the answer begins.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_request_set_thinking_budget(
    request: *mut qwip_request,
    tokens: u32,
) -> qwip_status {
    on(request, |thing| {
        thing.set(|asked| {
            asked.thinking_budget = Some(tokens as usize);
            Ok(())
        })
    })
}

/// Further variables for the model's template: a JSON object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_request_set_template_kwargs(
    request: *mut qwip_request,
    json: *const c_char,
) -> qwip_status {
    on(request, |thing| {
        // SAFETY: the header asks for text.
        let Value::Object(kwargs) =
            values::json(unsafe { text(json, "template_kwargs") }?, "template_kwargs")?
        else {
            return Err(Fault::argument("template_kwargs is no JSON object"));
        };
        thing.set(|asked| {
            asked.template_kwargs = kwargs;
            Ok(())
        })
    })
}

/// Most tokens of the answer, thinking included; without it, it may fill the context.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_request_set_max_tokens(request: *mut qwip_request, tokens: u32) -> qwip_status {
    on(request, |thing| {
        thing.set(|asked| {
            asked.max_tokens = Some(tokens as usize);
            Ok(())
        })
    })
}

/// A text that ends the answer, and does not belong to it; up to 64 of them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_request_add_stop(
    request: *mut qwip_request,
    stop: *const c_char,
) -> qwip_status {
    const MOST: usize = 64;
    on(request, |thing| {
        // SAFETY: the header asks for text.
        let stop = unsafe { text(stop, "the stop text") }?.to_owned();
        if stop.is_empty() {
            return Err(Fault::argument("the stop text is empty"));
        }
        thing.set(|asked| {
            if asked.stop.len() == MOST {
                return Err(Fault::argument(format!("there are {MOST} stop texts already, and no more fit")));
            }
            asked.stop.push(stop);
            Ok(())
        })
    })
}

/// Whether the answer goes on when the model says that it is done (0, the default, or 1).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_request_set_ignore_eos(request: *mut qwip_request, on_off: i32) -> qwip_status {
    on(request, |thing| {
        let ignore = flag(on_off, "ignore_eos")?;
        thing.set(|asked| {
            asked.ignore_eos = ignore;
            Ok(())
        })
    })
}

/// Copies the settings of a sampler; without one the model's own count, with a new seed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_request_set_sampler(
    request: *mut qwip_request,
    sampler: *mut qwip_sampler,
) -> qwip_status {
    on(request, |thing| {
        let draw = handle::get(sampler)?.draw();
        thing.set(|asked| {
            asked.draw = draw;
            Ok(())
        })
    })
}
