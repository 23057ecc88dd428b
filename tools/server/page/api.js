// Talks to the server that served this page, and to nothing else.

const KEY = "qwip.key"; // in sessionStorage: forgotten with the tab
const MAX_LINE = 16 * 1024 * 1024; // characters of one event; a longer one is no answer of ours

/** What went wrong: `kind` is "offline", "broke", "key" or "server"; `message` are the server's words. */
export class ApiError extends Error {
  constructor(kind, message, code = null) {
    super(message);
    this.kind = kind;
    this.code = code;
  }
}

/** Keeps the server's key for this tab. */
export function setKey(key) {
  try {
    sessionStorage.setItem(KEY, key);
  } catch {
    memoryKey = key;
  }
}

let memoryKey = "";

function headers() {
  let key = memoryKey;
  try {
    key = sessionStorage.getItem(KEY) ?? key;
  } catch {
    // Storage is forbidden here: the key lives as long as the page.
  }
  return key ? { Authorization: `Bearer ${key}` } : {};
}

// Sends a request; anything but a 2xx answer throws.
async function call(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { ...options, headers: { ...headers(), ...options.headers }, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("offline", error.message);
  }
  if (response.ok) return response;
  const body = await response.json().catch(() => null);
  const error = body?.error;
  const message = typeof error?.message === "string" ? error.message : `${response.status} ${response.statusText}`;
  throw new ApiError(response.status === 401 ? "key" : "server", message, error?.code ?? null);
}

/** The models that can chat. A server that says nothing about a model's task gets the benefit of the doubt. */
export async function chatModels() {
  const response = await call("/v1/models");
  const body = await response.json().catch(() => null);
  if (!Array.isArray(body?.data)) throw new ApiError("server", "/v1/models did not answer with a list");
  return body.data.filter((model) => typeof model?.id === "string" && (model.meta?.task ?? "chat") === "chat");
}

/**
 * Sends a chat request and yields the answer piece by piece: {content}, {reasoning}, {finish}, {timings, usage}.
 * Throws ApiError, or AbortError when `signal` fired.
 */
export async function* chat(request, signal) {
  const response = await call("/v1/chat/completions", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ ...request, stream: true, stream_options: { include_usage: true } }),
    signal,
  });
  let finished = false;
  for await (const data of events(response.body)) {
    if (data === "[DONE]") return;
    let chunk;
    try {
      chunk = JSON.parse(data);
    } catch {
      throw new ApiError("broke", `not JSON: ${data.slice(0, 80)}`);
    }
    if (chunk?.error) throw new ApiError("server", String(chunk.error.message ?? "error"), chunk.error.code ?? null);
    const choice = chunk?.choices?.[0];
    const delta = choice?.delta ?? {};
    if (typeof delta.reasoning_content === "string" && delta.reasoning_content) yield { reasoning: delta.reasoning_content };
    if (typeof delta.content === "string" && delta.content) yield { content: delta.content };
    if (choice?.finish_reason) {
      finished = true;
      yield { finish: choice.finish_reason };
    }
    if (chunk?.usage || chunk?.timings) yield { usage: chunk.usage ?? null, timings: chunk.timings ?? null };
  }
  if (!finished) throw new ApiError("broke", "the stream ended early");
}

// The data of each server-sent event. Ours are one line each; comments (": ping") and other fields are skipped.
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      let piece;
      try {
        piece = await reader.read();
      } catch (error) {
        if (error.name === "AbortError") throw error;
        throw new ApiError("broke", error.message);
      }
      if (piece.done) return;
      const lines = (rest + piece.value).split("\n");
      rest = lines.pop();
      if (rest.length > MAX_LINE) throw new ApiError("broke", `an event of more than ${MAX_LINE} characters`);
      for (const line of lines) {
        if (line.startsWith("data:")) yield line.slice(line[5] === " " ? 6 : 5).trimEnd();
      }
    }
  } finally {
    // Whoever stops reading wants the server to stop writing.
    reader.cancel().catch(() => {});
  }
}
