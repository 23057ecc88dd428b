// Making one answer: sends the conversation, adds what comes back to the answer's message, keeps what was there when
// it is stopped or breaks. It goes on while the reader looks at another conversation.

import { chat } from "./api.js";
import { requestFor } from "./parameters.js";
import { t } from "./text.js";

/** An answer being made. `changed` is called after every piece, `done` once at the end, whatever the end is. */
export class Run {
  constructor(conversation, model, { changed, done }) {
    this.conversation = conversation;
    this.model = model;
    this.changed = changed;
    this.done = done;
    this.phase = model.meta?.loaded === false ? "loading" : "reading";
    this.message = { role: "assistant", content: "", model: model.id };
    this.controller = new AbortController();
    // What a key prompt or a retry needs to know: the kind of the error that ended it.
    this.failure = null;
  }

  /** Stops the answer; what has come so far stays. */
  stop() {
    this.controller.abort();
  }

  async start() {
    const { conversation, message, model } = this;
    const thinks = model.meta?.thinks !== false;
    const request = requestFor(model.id, conversation.parameters, conversation.messages, thinks);
    conversation.messages.push(message);
    let thinkingSince = 0;
    try {
      for await (const piece of chat(request, this.controller.signal)) {
        if (piece.reasoning) {
          if (!thinkingSince) thinkingSince = performance.now();
          this.phase = "thinking";
          message.reasoning = (message.reasoning ?? "") + piece.reasoning;
        } else if (piece.content) {
          if (this.phase === "thinking") message.thinkingMs = Math.round(performance.now() - thinkingSince);
          this.phase = "answering";
          message.content += piece.content;
        } else if (piece.finish) {
          message.finish = piece.finish;
        } else if (piece.timings) {
          message.timings = piece.timings;
        }
        this.changed();
      }
    } catch (error) {
      this.fail(error);
    }
    if (this.phase === "thinking") message.thinkingMs = Math.round(performance.now() - thinkingSince);
    this.done();
  }

  fail(error) {
    const { message } = this;
    if (error.name === "AbortError" || this.controller.signal.aborted) {
      message.finish = "stopped";
      return;
    }
    this.failure = error.kind ?? "page";
    const words = { offline: t("noServer"), broke: t("broke") };
    message.error = { text: words[error.kind] ?? error.message, hint: error.code === "context_length_exceeded" ? t("tooLongHint") : null };
  }
}
