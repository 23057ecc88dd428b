// The field for the next message: it grows with its text, Enter sends, an input method's Enter does not.

import { $ } from "./dom.js";
import { sends } from "./messages.js";

/** `send(text)` returns whether the message was taken; then the field is emptied. */
export class Composer {
  constructor({ send }) {
    this.input = $("input");
    this.send = send;
    this.input.addEventListener("input", () => this.changed());
    this.input.addEventListener("keydown", (event) => {
      const page = { PageUp: -0.9, PageDown: 0.9 }[event.key];
      if (page && !event.shiftKey) {
        // Reading back without leaving the field.
        event.preventDefault();
        $("scroll").scrollBy({ top: page * $("scroll").clientHeight });
      }
      if (!sends(event)) return;
      event.preventDefault();
      this.submit();
    });
    $("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
      this.input.focus();
    });
  }

  submit() {
    if (!this.send(this.input.value)) return;
    this.input.value = "";
    this.changed();
  }

  /** As high as its text, up to the limit that the style sheet sets; nothing to send, no button. */
  changed() {
    this.input.style.height = "auto";
    this.input.style.height = `${this.input.scrollHeight}px`;
    $("send").disabled = this.input.value.trim() === "";
  }

  /** Shows the button that fits: stop while an answer is being made, else send. */
  showRunning(running) {
    const held = document.activeElement === (running ? $("send") : $("stop"));
    $("send").hidden = running;
    $("stop").hidden = !running;
    // A hidden button loses the focus to the page; it goes to the one in its place.
    if (held) (running ? $("stop") : this.input).focus();
    $("send").disabled = this.input.value.trim() === "";
  }
}
