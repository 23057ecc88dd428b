// One message on the page. While an answer is being made its view is refreshed at most once a frame, and less often
// when a refresh is expensive, so that a very long answer costs a fixed share of one core.

import { $, announce, copyWith, el, icon, iconButton } from "./dom.js";
import { LiveMarkdown } from "./markdown.js";
import { number, t } from "./text.js";

const SHARE = 8; // a refresh that took 1 ms is followed by at least 8 ms without one

/** A user's message: its words as they are, with copy and edit. */
export class UserView {
  constructor(message, { onEdit, onRegenerate }) {
    this.message = message;
    this.onEdit = onEdit;
    this.onRegenerate = onRegenerate;
    this.last = false;
    this.node = el("article", { class: "message user", "aria-label": t("you") });
    this.show();
  }

  show() {
    const copy = iconButton("copy", t("copyMessage"), () => copyWith(copy, this.message.content));
    const edit = iconButton("edit", t("edit"), () => this.edit());
    const tools = el("div", { class: "tools" }, copy, edit);
    if (this.last) tools.append(iconButton("again", t("regenerate"), () => this.onRegenerate()));
    this.node.replaceChildren(el("div", { class: "bubble" }, this.message.content), tools);
    this.editButton = edit;
  }

  /** A last message has no answer: it was refused, or the page was closed too early. */
  setLast(last) {
    if (this.last === last) return;
    this.last = last;
    if (!this.node.querySelector(".editor")) this.show();
  }

  edit() {
    const area = el("textarea", { rows: "3", "aria-label": t("edit"), "aria-describedby": "edit-hint" });
    area.value = this.message.content;
    const cancel = el("button", { type: "button", class: "plain-button" }, t("cancel"));
    const send = el("button", { type: "submit", class: "main-button" }, t("sendEdited"));
    const hint = el("p", { id: "edit-hint", class: "hint" }, t("editHint"));
    const form = el("form", { class: "editor" }, area, el("div", { class: "buttons" }, hint, cancel, send));
    const close = () => {
      this.show();
      this.editButton.focus();
    };
    cancel.addEventListener("click", close);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (area.value.trim() && this.onEdit(this.message, area.value)) return;
      area.focus();
    });
    form.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        // Here Escape gives up the edit; it must not stop an answer too.
        event.stopPropagation();
        close();
      } else if (event.target === area && sends(event)) {
        event.preventDefault();
        form.requestSubmit();
      }
    });
    this.node.replaceChildren(form);
    area.focus();
    area.setSelectionRange(area.value.length, area.value.length);
  }
}

/** Whether this key press sends: Enter alone, and not the Enter that ends the composition of an input method. */
export function sends(event) {
  return event.key === "Enter" && !event.shiftKey && !event.ctrlKey && !event.altKey && !event.metaKey && !event.isComposing && event.keyCode !== 229;
}

/**
 * An answer. `run` is set while it is being made: {phase: "loading" | "reading" | "thinking" | "answering", error}.
 */
export class AnswerView {
  constructor(message, { run = null, onRegenerate, onRefreshed }) {
    this.message = message;
    this.run = run;
    this.last = false;
    this.onRegenerate = onRegenerate;
    this.onRefreshed = onRefreshed;
    this.frame = 0;
    this.notBefore = 0;
    this.thoughts = null;
    this.answer = el("div", { class: "markdown" });
    this.markdown = new LiveMarkdown(this.answer);
    this.after = el("div", { class: "after" });
    this.node = el("article", { class: "message answer", "aria-label": t("assistant") }, this.answer, this.after);
    this.refresh();
  }

  /** Only the last answer can be made again. */
  setLast(last) {
    if (this.last === last) return;
    this.last = last;
    this.refresh();
  }

  /** Asks for a refresh soon. */
  changed() {
    if (this.frame) return;
    const frame = () => {
      if (performance.now() < this.notBefore) {
        this.frame = requestAnimationFrame(frame);
        return;
      }
      this.frame = 0;
      const start = performance.now();
      this.refresh();
      const end = performance.now();
      this.notBefore = end + (end - start) * SHARE;
    };
    this.frame = requestAnimationFrame(frame);
  }

  /** The answer is finished (or will never be): shows everything now. */
  finish() {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    this.run = null;
    this.refresh();
  }

  refresh() {
    const { message, run } = this;
    this.node.setAttribute("aria-busy", run ? "true" : "false");
    this.refreshThoughts();
    if (message.content !== this.shown) {
      this.shown = message.content;
      this.markdown.update(message.content);
    }
    this.after.replaceChildren(...(run ? this.progress() : this.ending()));
    this.onRefreshed?.();
  }

  refreshThoughts() {
    const { message, run } = this;
    if (!message.reasoning) return;
    if (!this.thoughts) {
      const summary = el("summary", {}, icon("chevron"), el("span"));
      this.thoughts = el("details", { class: "thoughts" }, summary, el("div", { class: "thoughts-text" }, document.createTextNode("")));
      this.thoughtsText = this.thoughts.lastElementChild.firstChild;
      this.node.prepend(this.thoughts);
      this.thoughts.open = run?.phase === "thinking";
    }
    const now = this.thoughtsText.data;
    if (message.reasoning.startsWith(now)) this.thoughtsText.appendData(message.reasoning.slice(now.length));
    else this.thoughtsText.data = message.reasoning;
    const thinking = run?.phase === "thinking";
    // Closed once, when the thinking ends: whoever opens it again wants to read.
    if (this.wasThinking && !thinking) this.thoughts.open = false;
    this.wasThinking = thinking;
    const seconds = message.thinkingMs === undefined ? null : number(message.thinkingMs / 1000, 1);
    const label = thinking ? t("thinking") : seconds === null ? t("thoughts") : t("thought", { seconds });
    this.thoughts.querySelector("span").textContent = label;
    this.thoughts.classList.toggle("running", thinking);
  }

  progress() {
    if (this.run.phase === "loading" || this.run.phase === "reading") {
      return [el("p", { class: "progress" }, el("span", { class: "dots", "aria-hidden": "true" }, el("i"), el("i"), el("i")), t(this.run.phase))];
    }
    return [];
  }

  ending() {
    const { message } = this;
    const parts = [];
    const notes = { length: "cutOff", stopped: "stopped", content_filter: "filtered" };
    if (message.error) {
      const words = [el("p", {}, message.error.text)];
      if (message.error.hint) words.push(el("p", {}, message.error.hint));
      const again = el("button", { type: "button", class: "plain-button" }, t("retry"));
      again.addEventListener("click", () => this.onRegenerate());
      parts.push(el("div", { class: "failure", role: "alert" }, icon("alert"), el("div", {}, ...words, this.last ? again : null)));
    } else if (notes[message.finish]) {
      parts.push(el("p", { class: "note" }, t(notes[message.finish])));
    } else if (!message.content) {
      parts.push(el("p", { class: "note" }, t("emptyAnswer")));
    }
    const tools = el("div", { class: "tools" });
    if (message.content) {
      const copy = iconButton("copy", t("copyAnswer"), () => copyWith(copy, message.content));
      tools.append(copy);
    }
    if (this.last && !message.error) tools.append(iconButton("again", t("regenerate"), () => this.onRegenerate()));
    const rate = message.timings?.predicted_per_second;
    const facts = [];
    if (message.model) facts.push(message.model);
    if (Number.isFinite(rate)) facts.push(t("speed", { rate: number(rate, 1) }));
    if (Number.isFinite(message.timings?.predicted_n)) facts.push(t("tokens", { count: number(message.timings.predicted_n) }));
    if (facts.length) tools.append(el("span", { class: "measured" }, facts.join(" · ")));
    parts.push(tools);
    return parts;
  }
}

/** Reads an answer to a screen reader sentence by sentence, each when it is finished. */
export class Speaker {
  constructor() {
    this.said = 0;
  }

  update(text, finished) {
    let end = text.length;
    if (!finished) {
      const tail = text.slice(this.said);
      const stop = Math.max(...[". ", "! ", "? ", "\n", "。", "！", "？"].map((mark) => tail.lastIndexOf(mark)));
      if (stop < 0) return;
      end = this.said + stop + 1;
    }
    const line = text.slice(this.said, end).replace(/[*_`#|>]+/g, " ").replace(/\s+/g, " ").trim();
    this.said = end;
    if (line) announce(line);
  }
}

/** Keeps the reader at the end of the messages as long as that is where the reader is. */
export class Follower {
  constructor() {
    this.box = $("scroll");
    this.button = $("to-end");
    this.atEnd = true;
    this.box.addEventListener("scroll", () => this.look(), { passive: true });
    this.button.addEventListener("click", () => {
      this.toEnd();
      $("input").focus();
    });
    const observer = new ResizeObserver(() => this.follow());
    for (const node of [this.box, $("messages")]) observer.observe(node);
  }

  look() {
    this.atEnd = this.box.scrollHeight - this.box.scrollTop - this.box.clientHeight < 40;
    this.button.hidden = this.atEnd;
  }

  follow() {
    if (this.atEnd) this.box.scrollTop = this.box.scrollHeight;
    else this.look();
  }

  toEnd() {
    this.atEnd = true;
    this.follow();
    this.button.hidden = true;
  }
}
