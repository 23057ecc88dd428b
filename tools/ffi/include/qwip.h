// libqwip: Qwen models on the device, for programs in C and whatever speaks C.
//
// Made by `QWIP_BLESS=1 cargo test -p qwip-ffi --test header` from the documentation in tools/ffi/src. How everything fits
// together is in docs/embedding.md.
//
// The same everywhere:
//
// - A handle is opaque, and never read through: one that is NULL, was freed or belongs to something else gives
//   QWIP_STATUS_INVALID_HANDLE. What one call uses lives until the call ends, whoever frees it meanwhile.
// - A call returns a status. What is not QWIP_STATUS_OK has failed and changed nothing; the handle's `_error` function says why.
// - Text is UTF-8. What goes in ends with 0, unless a length stands beside it, and is copied. What comes out through a `char **`
//   is the caller's, who frees it with qwip_string_free; it is NULL if the call failed. U+0000 comes out as U+FFFD (JSON escapes
//   it).
// - Pointers must be valid for what the function does with them; NULL is refused where it means nothing.
// - The float control word (flush-to-zero, rounding) is IEEE's inside of a call, in callbacks, too, and the host's again
//   afterwards: no result depends on it.
// - A thread that calls should have 256 KiB of stack: templates are read on it, whose nesting is bounded.
// - Nothing unwinds or aborts: a defect of the library is QWIP_STATUS_INTERNAL.
// - "Any thread" means: also at the same time. Calls on a session come one at a time; a second one gets QWIP_STATUS_BUSY.


#ifndef QWIP_H
#define QWIP_H

#include <stddef.h>
#include <stdint.h>

// The version of this interface. It is raised when something that was there changes; what is added does not raise it.
#define QWIP_ABI_VERSION 1

// Something failed that should not.
#define QWIP_LOG_ERROR 1

// Something is not as it could be.
#define QWIP_LOG_WARN 2

// A model was loaded, or was sent to the background.
#define QWIP_LOG_INFO 3

// Every request.
#define QWIP_LOG_DEBUG 4

// Memory that is clean: mapped from the file. The system may take it and read it again.
#define QWIP_MEMORY_MAPPED 0

// Memory of our own, which counts against an app: decoded norms, tables of the tokenizer, keys and values of a full context,
// buffers; the file itself, where it is copied.
#define QWIP_MEMORY_DIRTY 1

// Memory of the GPU.
#define QWIP_MEMORY_GPU 2

// What every token of a session adds.
#define QWIP_MEMORY_KV_PER_TOKEN 3

// All of it together.
#define QWIP_MEMORY_TOTAL 4

// There is memory enough.
#define QWIP_PRESSURE_NORMAL 0

// Memory gets short: what is cheap to have again goes. (iOS: a memory warning; Android: TRIM_MEMORY_RUNNING_LOW.)
#define QWIP_PRESSURE_MODERATE 1

// The app may be ended soon: all that can be computed or read again goes. (Android: TRIM_MEMORY_RUNNING_CRITICAL and
// above TRIM_MEMORY_UI_HIDDEN.)
#define QWIP_PRESSURE_CRITICAL 2

// The device is cool. (Android: THERMAL_STATUS_NONE.)
#define QWIP_THERMAL_NOMINAL 0

// Three quarters of the threads. (Android: THERMAL_STATUS_LIGHT.)
#define QWIP_THERMAL_FAIR 1

// Half of the threads, resting a third of the time. (Android: THERMAL_STATUS_MODERATE and SEVERE.)
#define QWIP_THERMAL_SERIOUS 2

// One thread, resting two thirds of the time. (Android: THERMAL_STATUS_CRITICAL and worse.)
#define QWIP_THERMAL_CRITICAL 3

// Control tokens that the text spells, as "<|im_end|>", count as such; otherwise they are text like any other.
#define QWIP_TOKENIZE_SPECIAL 1

// The beginning-of-text token comes first, if the model has one and wants it.
#define QWIP_TOKENIZE_BOS 2

// No event.
#define QWIP_EVENT_NONE 0

// So much of the prompt has been read: {"done": 512, "total": 2048}, in tokens.
#define QWIP_EVENT_PROGRESS 1

// More of the answer: whole characters.
#define QWIP_EVENT_TEXT 2

// More of the thinking.
#define QWIP_EVENT_REASONING 3

// A complete call of a tool, as in OpenAI's messages: {"index": 0, "id": "call_..", "type": "function", "function":
// {"name": "f", "arguments": "{..}"}}. What the model has broken off or spoilt comes as text instead.
#define QWIP_EVENT_TOOL_CALL 4

// Tokens, as in OpenAI's answers: {"prompt_tokens": .., "completion_tokens": .., "total_tokens": ..,
// "prompt_tokens_details": {"cached_tokens": ..}, "completion_tokens_details": {"reasoning_tokens": ..}}.
#define QWIP_EVENT_USAGE 5

// The end, and why: "stop", "length", "tool_calls", "cancelled" or "repetition" (it had become a cycle).
#define QWIP_EVENT_FINISH 6

// The end, because it cannot go on: the message. `qwip_request_wait` returns the status.
#define QWIP_EVENT_ERROR 7

// Keys or values as 16-bit floats: the default.
#define QWIP_CACHE_F16 0

// Keys or values as 32-bit floats.
#define QWIP_CACHE_F32 1

// Keys or values in 8 bits, with a scale for every 32 of them.
#define QWIP_CACHE_Q8_0 2

// Positions as the file says.
#define QWIP_ROPE_MODEL 0

// No scaling, whatever the file says.
#define QWIP_ROPE_NONE 1

// Positions are divided by the factor.
#define QWIP_ROPE_LINEAR 2

// YaRN, by the factor.
#define QWIP_ROPE_YARN 3

// A model. Sessions share its weights. All calls on it may come from any thread, several at the same time.
typedef struct qwip_model qwip_model;

// One answer. Its settings are for one thread at a time; once it is started, all calls may come from any thread.
typedef struct qwip_request qwip_request;

// How tokens are chosen: what is not set is the model's own, as its file or its makers say. All calls on it may come from any
// thread.
typedef struct qwip_sampler qwip_sampler;

// A sequence of tokens on a model. One call at a time may use it, on any thread; a second one gets `QWIP_STATUS_BUSY`.
typedef struct qwip_session qwip_session;

// What came of a call: one of the `QWIP_STATUS_` constants. More may come with later versions: what is not
// `QWIP_STATUS_OK` has failed.
typedef int32_t qwip_status;

// Hears what happens: `level` is one of the `QWIP_LOG_` constants, `message` one line that is valid for the length of the
// call. It comes on any thread, and on several at the same time. What it causes itself is not logged.
typedef void (*qwip_log_callback)(int32_t level, const char *message, void *user);

// Hears how far loading is, in bytes; anything but 0 stops it, and the load returns `QWIP_STATUS_CANCELLED`. It is called on
// the thread that loads. Calls on the model out of it get `QWIP_STATUS_BUSY`.
typedef int32_t (*qwip_progress_callback)(uint64_t done, uint64_t total, void *user);

// Hears that memory is no longer used. It is called once, on whichever thread uses it last, and must not call back into
// the library.
typedef void (*qwip_release_callback)(void *user);

// Hears what comes of a request: `kind` is one of the `QWIP_EVENT_` constants (more may be added: ignore what you do not know),
// `data` its text of `length` bytes, with a 0 behind it, valid for the length of the call. It comes on a thread of the
// request, one call at a time. Return 0 to go on; anything else cancels the request. It may call everything but what it would
// have to wait for itself (`qwip_request_wait`, `qwip_request_free`, calls that use the session): those give `QWIP_STATUS_BUSY`.
// From `QWIP_EVENT_USAGE` on the session is free for the next request. Numbers of floating point are handled as IEEE has it.
// It must not unwind.
typedef int32_t (*qwip_event_callback)(int32_t kind, const char *data, size_t length, void *user);

// It is done.
#define QWIP_STATUS_OK 0

// An argument is NULL, out of range, not UTF-8, or broken JSON.
#define QWIP_STATUS_INVALID_ARGUMENT 1

// The handle is NULL, was freed, or is that of something else.
#define QWIP_STATUS_INVALID_HANDLE 2

// Too early or too late: the model is not loaded, the request has been started already.
#define QWIP_STATUS_WRONG_STATE 3

// Another call uses it at this moment, or the call came out of a callback that has to return first.
#define QWIP_STATUS_BUSY 4

// It was cancelled.
#define QWIP_STATUS_CANCELLED 5

// The time was over before anything happened.
#define QWIP_STATUS_TIMEOUT 6

// There are no more events.
#define QWIP_STATUS_DONE 7

// There is no such file, or no such key.
#define QWIP_STATUS_NOT_FOUND 8

// Reading or writing failed.
#define QWIP_STATUS_IO 9

// The file is damaged, or is no model.
#define QWIP_STATUS_INVALID_MODEL 10

// This model cannot do it, or this build, or this platform.
#define QWIP_STATUS_UNSUPPORTED 11

// The memory limit does not allow it, or the system has no more.
#define QWIP_STATUS_OUT_OF_MEMORY 12

// It does not fit the context.
#define QWIP_STATUS_CONTEXT_FULL 13

// The array is too short; the count says how long it has to be.
#define QWIP_STATUS_BUFFER_TOO_SMALL 14

// The model is in the background, where no new work begins.
#define QWIP_STATUS_BACKGROUND 15

// A defect of the library. Everything can still be used and freed.
#define QWIP_STATUS_INTERNAL 16

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The version of the interface that the library has; compare it with `QWIP_ABI_VERSION`. Any thread.
uint32_t qwip_abi_version(void);

// The version of the library, as "0.1.0"; not to be freed. Any thread.
const char *qwip_version(void);

// The name of a status, as "QWIP_STATUS_BUSY"; not to be freed. Any thread.
const char *qwip_status_name(qwip_status status);

// Whether the library was built with a feature: "constrain" (JSON schemas, grammars, required calls of tools) or "gpu".
// 1 or 0. Any thread.
int32_t qwip_has_feature(const char *name);

// Frees text that a call gave out. NULL is fine. Any thread.
void qwip_string_free(char *text);

// The message of the last call on this thread that failed, "" if none did. For calls that fail without a handle; for
// others the handle's own message is as good.
qwip_status qwip_last_error(char **message);

// Has `callback` hear messages up to the level `most_verbose`; NULL: nobody, as in the beginning. Afterwards the former
// callback is no longer running; `QWIP_STATUS_BUSY` if it has not returned within a second, though it will not be called
// again. Any thread, but not out of the callback.
qwip_status qwip_set_log(qwip_log_callback callback,
                         void *user,
                         int32_t most_verbose);

// A new model, without a file yet. Free it with `qwip_model_free`.
qwip_status qwip_model_new(struct qwip_model **model);

// Frees a model. Sessions, samplers and requests that still live keep its weights for as long as they do. What waits in the
// background is cancelled: nobody could bring it back.
qwip_status qwip_model_free(struct qwip_model *model);

// The message of the last call on this model that failed, "" if none did.
qwip_status qwip_model_error(struct qwip_model *model, char **message);

// How many threads compute, the calling one or the request's among them, 1 to 1024; 0 (the default): one per performance
// core that the process may use. Results do not depend on it. Before loading.
qwip_status qwip_model_set_threads(struct qwip_model *model,
                                   int32_t threads);

// The logical processors that the threads run on, `[count]`; none (the default): any. Requests and the threads beside them
// are pinned, the host's own threads never. Linux and Android. Before loading.
qwip_status qwip_model_set_affinity(struct qwip_model *model,
                                    const uint32_t *cores,
                                    size_t count);

// Whether the file is mapped (1, the default), or copied into memory (0). A mapped file takes no memory that counts, but one
// that somebody truncates meanwhile ends the process; a copy survives that, once it is loaded. Before loading.
qwip_status qwip_model_set_mmap(struct qwip_model *model,
                                int32_t on_off);

// Whether the system is asked to keep the mapped pages in memory (0, the default, or 1). That it refuses is logged, and no
// error. Before loading.
qwip_status qwip_model_set_mlock(struct qwip_model *model,
                                 int32_t on_off);

// Whether loading reads the whole mapped file once, so that the first answer does not wait for it (0, the default, or 1).
// Before loading.
qwip_status qwip_model_set_prefault(struct qwip_model *model,
                                    int32_t on_off);

// A limit, in bytes, on the memory of our own (not the mapped pages) that the model and all its sessions take together; 0
// (the default): none. (What schemas and grammars need is not counted.) What would exceed it fails with `QWIP_STATUS_OUT_OF_MEMORY` and leaves everything as it was. Before
// loading.
qwip_status qwip_model_set_memory_limit(struct qwip_model *model,
                                        uint64_t bytes);

// So many of the last layers are on a GPU: 0 (the default): none; negative: all, and the output projection. Needs the feature
// "gpu". Before loading.
qwip_status qwip_model_set_gpu_layers(struct qwip_model *model,
                                      int32_t layers);

// Who hears how far loading is; NULL: nobody. There is something to hear where the file is copied, read ahead or put on a
// GPU. Before loading.
qwip_status qwip_model_set_progress(struct qwip_model *model,
                                    qwip_progress_callback callback,
                                    void *user);

// Opens a GGUF file, of a split model its first part: maps it and reads its header. Then `qwip_model_info` and
// `qwip_model_estimate` can be asked.
qwip_status qwip_model_open_path(struct qwip_model *model,
                                 const char *path);

// Opens a GGUF file that is a part of an open file, as an asset inside of an Android package is: `length` bytes (0: all that
// follow) from byte `offset` on, which need not be aligned. The descriptor is duplicated: the caller may close its own.
// Where there are file descriptors: not on Windows.
qwip_status qwip_model_open_fd(struct qwip_model *model,
                               int32_t fd,
                               uint64_t offset,
                               uint64_t length);

// Opens a GGUF file that is in memory already. `data` must be readable and must not change until `release` is called with
// `user`, which happens exactly once, also if this call fails; without a `release`, until the model and all its sessions,
// samplers and requests have been freed and their calls have ended.
qwip_status qwip_model_open_memory(struct qwip_model *model,
                                   const void *data,
                                   size_t length,
                                   qwip_release_callback release,
                                   void *user);

// Gets the model ready: tokenizer, template, threads; copies or reads the file ahead if that was asked for. The model stays
// open, and can be loaded again, if it fails.
qwip_status qwip_model_load(struct qwip_model *model);

// What the file says of itself, as a JSON object: "architecture", "name" (null if it has none), "file_type", "bytes",
// "parameters", "context" (positions it was trained for), "layers", "embedding", "vocab", "task" ("generate", "embed" or
// "rerank"), "dimensions" (of an embedding, else null), "has_template", "thinks", "tool_format" ("hermes", "xml", or null
// where the template knows of no tools). An open model.
qwip_status qwip_model_info(struct qwip_model *model,
                            char **json);

// The value of a key of the file's metadata, as JSON; of long arrays the first 1,000 values. `QWIP_STATUS_NOT_FOUND` if there
// is no such key. An open model.
qwip_status qwip_model_metadata(struct qwip_model *model,
                                const char *key,
                                char **json);

// What a session with so many positions (0: as many as the model was trained for) and default settings will take: `kind` is
// one of `QWIP_MEMORY_MAPPED`, `_DIRTY`, `_GPU`, `_KV_PER_TOKEN`, `_TOTAL`. Computed from sizes; nothing is taken. An open
// model, which need not be loaded; it goes by the settings as they are now.
qwip_status qwip_model_estimate(struct qwip_model *model,
                                uint32_t context,
                                int32_t kind,
                                uint64_t *bytes);

// Bytes of our own that the model and its sessions take now, as they count against the limit. A loaded model.
qwip_status qwip_model_memory_used(struct qwip_model *model, uint64_t *bytes);

// The host says how much memory there is: `level` is one of the `QWIP_PRESSURE_` constants. `QWIP_PRESSURE_MODERATE` gives
// back the buffers of sessions that nobody uses at this moment and what schemas and grammars have built up;
// `QWIP_PRESSURE_CRITICAL` also their keys and values, which the next use computes again from their tokens, and mapped pages,
// which are read again when needed. Answers do not change. A loaded model.
qwip_status qwip_model_on_memory_pressure(struct qwip_model *model,
                                          int32_t level);

// The host says how hot the device is: `state` is one of the `QWIP_THERMAL_` constants (iOS: ProcessInfo.thermalState has the
// same four). From the next step on, that is between two tokens, fewer threads compute, and they rest in between. Answers do
// not change. A loaded model.
qwip_status qwip_model_on_thermal(struct qwip_model *model,
                                  int32_t state);

// The app goes to the background: returns once nothing computes on this model any more, which takes some milliseconds (a
// schema that is being read is waited for).
// Requests wait, and go on where they were when `qwip_model_foreground` is called; of a prompt the slice is computed again that
// was broken off. Calls that compute on the caller's thread get `QWIP_STATUS_BACKGROUND` until then; one that runs already
// waits. It may be called from a callback of a request. A loaded model.
qwip_status qwip_model_background(struct qwip_model *model);

// The app is in front again: what waits goes on. A loaded model.
qwip_status qwip_model_foreground(struct qwip_model *model);

// The tokens of a text of `length` bytes: `*count` says how many, and they are written to `tokens` if there is room for
// `capacity`; else `QWIP_STATUS_BUFFER_TOO_SMALL`. With `tokens` NULL and `capacity` 0 it only counts. `flags` are
// `QWIP_TOKENIZE_` constants added up.
qwip_status qwip_model_tokenize(struct qwip_model *model,
                                const char *text,
                                size_t length,
                                uint32_t flags,
                                uint32_t *tokens,
                                size_t capacity,
                                size_t *count);

// The text of tokens, with control tokens spelled out if `show_special` is 1. Bytes that are no whole character become
// U+FFFD: for an answer that comes token by token, join what `qwip_model_token_bytes` gives.
qwip_status qwip_model_detokenize(struct qwip_model *model,
                                  const uint32_t *tokens,
                                  size_t count,
                                  int32_t show_special,
                                  char **text);

// The bytes of one token, none of a control token. Array and count as in `qwip_model_tokenize`.
qwip_status qwip_model_token_bytes(struct qwip_model *model,
                                   uint32_t token,
                                   uint8_t *bytes,
                                   size_t capacity,
                                   size_t *count);

// Whether a token ends an answer: 1 or 0.
qwip_status qwip_model_is_end(struct qwip_model *model, uint32_t token, int32_t *is_end);

// The prompt that the model's template makes of OpenAI's message list (`messages`, JSON) and tools (`tools`, JSON or NULL),
// up to where the answer begins. `thinking`: 1, 0, or -1 for what the template does by itself. Requests do this
// themselves.
qwip_status qwip_model_apply_template(struct qwip_model *model,
                                      const char *messages,
                                      const char *tools,
                                      int32_t thinking,
                                      char **prompt);

// A new request on a session. Free it with `qwip_request_free`.
qwip_status qwip_request_new(struct qwip_session *session, struct qwip_request **request);

// The message of the last call on this request that failed, "" if none did.
qwip_status qwip_request_error(struct qwip_request *request, char **message);

// The conversation: OpenAI's message list, JSON: [{"role": "user", "content": "Hi"}]. The session keeps what it has in common
// with the one before, so send the whole conversation each time. In place of a prompt, if one was set; JSON of up to 8 MiB.
qwip_status qwip_request_set_messages(struct qwip_request *request,
                                      const char *json);

// In place of messages, if they were set: exactly this text, in which control tokens count as such; the model goes on with it.
qwip_status qwip_request_set_prompt(struct qwip_request *request,
                                    const char *prompt);

// Tools that the model may call: OpenAI's list, JSON: [{"type": "function", "function": {"name": .., "parameters": ..}}].
qwip_status qwip_request_set_tools(struct qwip_request *request,
                                   const char *json);

// Whether tools are called: "auto" (the default), "none", "required", or one by its name, as OpenAI writes it: {"type":
// "function", "function": {"name": ".."}}. The last two need the feature "constrain".
qwip_status qwip_request_set_tool_choice(struct qwip_request *request,
                                         const char *choice);

// Whether one answer may call several tools (1, the default) or one (0).
qwip_status qwip_request_set_parallel_tool_calls(struct qwip_request *request, int32_t on_off);

// Holds the answer to a JSON schema; "{}" asks for any JSON, {"type": "object"} for any object. Thinking is left free. In
// place of a grammar, if one was set. That it cannot be used is said by the answer. Needs the feature "constrain".
qwip_status qwip_request_set_json_schema(struct qwip_request *request,
                                         const char *schema);

// Holds the answer to a grammar in Lark's notation, as llguidance reads it, in place of a schema, if one was set. That it
// cannot be used is said by the answer. Needs the feature "constrain".
qwip_status qwip_request_set_grammar(struct qwip_request *request,
                                     const char *lark);

// Whether the model thinks before it answers: 1, 0, or -1 (the default) for what its template does by itself.
qwip_status qwip_request_set_thinking(struct qwip_request *request, int32_t thinking);

// Most tokens of thinking; then it is closed, and the answer begins.
qwip_status qwip_request_set_thinking_budget(struct qwip_request *request, uint32_t tokens);

// Further variables for the model's template: a JSON object.
qwip_status qwip_request_set_template_kwargs(struct qwip_request *request, const char *json);

// Most tokens of the answer, thinking included; without it, it may fill the context.
qwip_status qwip_request_set_max_tokens(struct qwip_request *request, uint32_t tokens);

// A text that ends the answer, and does not belong to it; up to 64 of them.
qwip_status qwip_request_add_stop(struct qwip_request *request, const char *stop);

// Whether the answer goes on when the model says that it is done (0, the default, or 1).
qwip_status qwip_request_set_ignore_eos(struct qwip_request *request, int32_t on_off);

// Copies the settings of a sampler; without one the model's own count, with a new seed.
qwip_status qwip_request_set_sampler(struct qwip_request *request, struct qwip_sampler *sampler);

// Begins the answer, on a thread of the library, and returns at once. With a callback, that hears the events; without one
// (NULL) they are asked for with `qwip_request_poll`. `QWIP_STATUS_BUSY` if the session is in use. A request is started once.
// In the background it waits.
qwip_status qwip_request_start(struct qwip_request *request,
                               qwip_event_callback callback,
                               void *user);

// Waits for the next event, at most so many milliseconds (negative: for as long as it takes; 0: not at all). `*kind` is one of
// the `QWIP_EVENT_` constants, `*data` its text, which the caller frees. `QWIP_STATUS_TIMEOUT` if nothing has come,
// `QWIP_STATUS_DONE` after the last event. A started request without a callback.
qwip_status qwip_request_poll(struct qwip_request *request,
                              int64_t timeout_ms,
                              int32_t *kind,
                              char **data);

// Waits until the request is over, at most so many milliseconds (negative: for as long as it takes). `QWIP_STATUS_OK` if it has
// finished, also as cancelled; else why it could not; `QWIP_STATUS_TIMEOUT` if it is not over. With a callback, this has heard
// all events then. Not out of the request's own callback.
qwip_status qwip_request_wait(struct qwip_request *request,
                              int64_t timeout_ms);

// Ends the answer, from any thread, also from the callback: within 50 ms no more is computed, also in the middle of a prompt
// (one token of a hybrid is not broken off, nor a schema that is being read), and the last event is a finish as "cancelled". What has been read stays in the
// session. Nothing happens if the request is over, or has not been started.
qwip_status qwip_request_cancel(struct qwip_request *request);

// Once the request is over: {"message": .., "finish_reason": .., "usage": ..}. The message can be appended to the messages as it
// is: {"role": "assistant", "content": .., "reasoning_content": .., "tool_calls": [..]}.
qwip_status qwip_request_result(struct qwip_request *request,
                                char **json);

// Frees a request; what still runs is cancelled. Afterwards its callback is neither running nor called again: if it does not
// return within a second, the call gives `QWIP_STATUS_BUSY`, and nothing is freed. Not out of the request's own callback.
qwip_status qwip_request_free(struct qwip_request *request);

// A new sampler with a loaded model's own settings. Free it with `qwip_sampler_free`.
qwip_status qwip_sampler_new(struct qwip_model *model, struct qwip_sampler **sampler);

// Frees a sampler. Requests have copied its settings.
qwip_status qwip_sampler_free(struct qwip_sampler *sampler);

// The message of the last call on this sampler that failed, "" if none did.
qwip_status qwip_sampler_error(struct qwip_sampler *sampler, char **message);

// Divides the logits, 0 to 100; 0 takes the most probable token.
qwip_status qwip_sampler_set_temperature(struct qwip_sampler *sampler, float temperature);

// Keeps so many most probable tokens; 0 keeps all.
qwip_status qwip_sampler_set_top_k(struct qwip_sampler *sampler, uint32_t tokens);

// Keeps the smallest set of most probable tokens that holds this much probability, 0 to 1; 1 keeps all.
qwip_status qwip_sampler_set_top_p(struct qwip_sampler *sampler, float share);

// Drops tokens below this share of the most probable one, 0 to 1; 0 keeps all.
qwip_status qwip_sampler_set_min_p(struct qwip_sampler *sampler, float share);

// Divides positive and multiplies negative logits of tokens seen lately, 0.01 to 100; 1 is off.
qwip_status qwip_sampler_set_repeat_penalty(struct qwip_sampler *sampler, float penalty);

// Subtracted once from the logit of every token seen lately, -100 to 100; 0 is off.
qwip_status qwip_sampler_set_presence_penalty(struct qwip_sampler *sampler, float penalty);

// Subtracted for each time that a token was seen lately, -100 to 100; 0 is off.
qwip_status qwip_sampler_set_frequency_penalty(struct qwip_sampler *sampler, float penalty);

// How many tokens "lately" reaches back; 4294967295: all.
qwip_status qwip_sampler_set_penalty_last_n(struct qwip_sampler *sampler, uint32_t tokens);

// The seed of the draw; without one there is a new one each time. The same seed gives the same answer.
qwip_status qwip_sampler_set_seed(struct qwip_sampler *sampler, uint64_t seed);

// Chooses the next token from the logits of a session; penalties look at the tokens that it holds. Nothing is appended:
// that is what `qwip_session_decode` does.
qwip_status qwip_sampler_sample(struct qwip_sampler *sampler,
                                struct qwip_session *session,
                                uint32_t *token);

// A new, empty session on a loaded model. It takes its memory when it is first used, or by `qwip_session_prepare`. Free it with
// `qwip_session_free`.
qwip_status qwip_session_new(struct qwip_model *model,
                             struct qwip_session **session);

// Frees a session. What runs on it is cancelled and waited for; `QWIP_STATUS_BUSY`, and nothing is freed, if that takes longer
// than a second (a callback that does not return, a schema that is being read, a file that is being written), or if the
// call comes out of a callback of its request. Its requests can be asked for their results afterwards, but no longer be started, and must be freed, too.
qwip_status qwip_session_free(struct qwip_session *session);

// The message of the last call on this session that failed, "" if none did.
qwip_status qwip_session_error(struct qwip_session *session, char **message);

// Most positions, of prompts and answers together; 0 (the default): as many as the model was trained for, which can be more
// than a phone has memory for. Before the first use.
qwip_status qwip_session_set_context(struct qwip_session *session,
                                     uint32_t tokens);

// Tokens of a prompt that are computed at a time, 1 to 4096; 0 (the default): up to 512. More is faster, and takes more
// memory. Answers do not depend on it. Before the first use.
qwip_status qwip_session_set_batch(struct qwip_session *session,
                                   uint32_t tokens);

// How keys and values are kept: `QWIP_CACHE_` constants. Before the first use.
qwip_status qwip_session_set_cache_types(struct qwip_session *session, int32_t keys, int32_t values);

// How positions beyond the trained length are reached: `kind` is one of the `QWIP_ROPE_` constants; `factor` says by how much
// the length grows, 0: as much as the context needs. Before the first use.
qwip_status qwip_session_set_rope_scaling(struct qwip_session *session,
                                          int32_t kind,
                                          float factor);

// What the session will take when it is full, by its settings; `kind` as in `qwip_model_estimate`. Nothing is taken.
qwip_status qwip_session_estimate(struct qwip_session *session,
                                  int32_t kind,
                                  uint64_t *bytes);

// Takes the memory that does not depend on the length now, so that it is known whether there is enough; otherwise the first
// use does.
qwip_status qwip_session_prepare(struct qwip_session *session);

// A new session with the same settings that holds the same tokens. It shares their keys and values; from there on neither
// sees what the other does. It has no logits before its next token. (A hybrid's fork may hold fewer tokens:
// `qwip_session_length` tells.) Free it with `qwip_session_free`.
qwip_status qwip_session_fork(struct qwip_session *session,
                              struct qwip_session **fork);

// How many tokens the session holds. (`QWIP_STATUS_BUSY` while a request runs, as for every call on a session.)
qwip_status qwip_session_length(struct qwip_session *session,
                                size_t *tokens);

// Copies the tokens that the session holds. Array and count as in `qwip_model_tokenize`.
qwip_status qwip_session_tokens(struct qwip_session *session,
                                uint32_t *tokens,
                                size_t capacity,
                                size_t *count);

// Forgets all tokens from number `tokens` on; there are no logits then. A request does this by itself.
qwip_status qwip_session_truncate(struct qwip_session *session, size_t tokens);

// Writes the tokens and what was computed of them, so that a later process need not compute it again: to `path` with ".tmp"
// behind it, which is then renamed; only the user can read it. The file is of use for the same model, the same settings and the same version of the library. Nothing is
// computed: it works in the background, too. (Behind critical memory pressure there are only the tokens to write.)
qwip_status qwip_session_save(struct qwip_session *session,
                              const char *path);

// Becomes the session that was saved: what follows has the bits that it would have had there; there are no logits before the
// next token. If the file is not of use, the
// session is as it was. Nothing is computed: it works in the background, too.
qwip_status qwip_session_restore(struct qwip_session *session,
                                 const char *path);

// Ends the call or the request that uses the session, from any thread: a call returns `QWIP_STATUS_CANCELLED`, a request
// finishes as cancelled, within 50 ms, also in the middle of a prompt. (One token of a hybrid is not broken off.) The session
// is as it was before the step that was broken off. Nothing happens if nothing runs.
qwip_status qwip_session_cancel(struct qwip_session *session);

// Appends tokens, `[count]`, and computes; then `qwip_session_logits` gives the logits behind the last of them. If it fails or
// is cancelled the session is as it was before, without logits.
qwip_status qwip_session_decode(struct qwip_session *session,
                                const uint32_t *tokens,
                                size_t count);

// Copies the logits behind the last token: `[vocab]`, as many as "vocab" of `qwip_model_info` says. Array and count as in
// `qwip_model_tokenize`. The same bits on every CPU, for any number of threads.
qwip_status qwip_session_logits(struct qwip_session *session,
                                float *logits,
                                size_t capacity,
                                size_t *count);

// The vector of a text of `length` bytes, of length 1, cut to its first `dimensions` elements (0: all). Array and count as in
// `qwip_model_tokenize`; nothing is computed if there is no room. The tokens that the session holds stay. A model for
// embeddings.
qwip_status qwip_session_embed(struct qwip_session *session,
                               const char *text,
                               size_t length,
                               uint32_t dimensions,
                               float *vector,
                               size_t capacity,
                               size_t *count);

// How well `document` answers `query`, 0 to 1. A model for reranking. What one prompt shares with the one before is
// computed once. The tokens that the session holds stay.
qwip_status qwip_session_rerank(struct qwip_session *session,
                                const char *query,
                                const char *document,
                                double *score);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* QWIP_H */
