// The settings: what the chosen model is, how it answers, what is stored. Every change holds at once.

import { $, el } from "./dom.js";
import { NUMBERS, inRange } from "./parameters.js";
import { bytes, count, number, t } from "./text.js";

/** `changed(parameters)` is called after every valid change. */
export class Panel {
  constructor({ changed }) {
    this.changed = changed;
    this.parameters = null;
    this.dialog = $("panel");
    $("panel-close").addEventListener("click", () => this.dialog.close());
    // A click beside the panel hits the dialog itself.
    this.dialog.addEventListener("click", (event) => {
      if (event.target === this.dialog) this.dialog.close();
    });
    $("system").addEventListener("input", () => this.set("system", $("system").value));
    for (const radio of document.querySelectorAll("#think input")) {
      radio.addEventListener("change", () => this.set("think", radio.value));
    }
    $("reset").addEventListener("click", () => {
      this.changed({ system: this.parameters.system, think: "auto" });
    });
    this.fields();
  }

  fields() {
    for (const [name, { min, max, step, whole }] of Object.entries(NUMBERS)) {
      const input = el("input", { type: "number", id: `set-${name}`, inputmode: whole ? "numeric" : "decimal", min, max, step: whole ? "1" : "any" });
      const wrong = el("span", { class: "wrong", id: `wrong-${name}`, role: "alert" });
      input.setAttribute("aria-describedby", wrong.id);
      input.addEventListener("input", () => {
        const empty = input.value === "" && !input.validity.badInput;
        const valid = empty || inRange(name, input.valueAsNumber);
        input.setAttribute("aria-invalid", String(!valid));
        wrong.textContent = valid ? "" : t(whole ? "wholeNumber" : "outOfRange", { min: number(min), max: number(max) });
        if (valid) this.set(name, empty ? undefined : input.valueAsNumber);
      });
      // The arrow keys of a number field without a step of its own would go by whole numbers.
      input.addEventListener("keydown", (event) => {
        if (whole || (event.key !== "ArrowUp" && event.key !== "ArrowDown")) return;
        event.preventDefault();
        const from = Number.isFinite(input.valueAsNumber) ? input.valueAsNumber : name === "presence_penalty" ? 0 : min;
        const to = from + (event.key === "ArrowUp" ? step : -step);
        input.value = String(Math.round(Math.min(max, Math.max(min, to)) * 1000) / 1000);
        input.dispatchEvent(new Event("input"));
      });
      $("numbers").append(el("div", { class: "number" }, el("label", { for: input.id }, el("span", {})), input, wrong));
    }
  }

  set(name, value) {
    const parameters = { ...this.parameters, [name]: value };
    if (value === undefined) delete parameters[name];
    this.parameters = parameters;
    this.changed(parameters);
  }

  /** Shows these settings of a conversation, the model, and the rates of its last answer (or null). */
  show(parameters, model, timings) {
    this.parameters = parameters;
    // The field that is being typed in is left alone.
    const typing = document.activeElement;
    if (typing !== $("system")) $("system").value = parameters.system;
    for (const radio of document.querySelectorAll("#think input")) radio.checked = radio.value === parameters.think;
    for (const name of Object.keys(NUMBERS)) {
      const input = $(`set-${name}`);
      input.placeholder = t("modelDefault");
      document.querySelector(`label[for="set-${name}"] span`).textContent = t(name);
      if (input === typing) continue;
      input.value = parameters[name] ?? "";
      input.setAttribute("aria-invalid", "false");
      $(`wrong-${name}`).textContent = "";
    }
    const never = model?.meta?.thinks === false;
    $("think").disabled = never;
    $("think-hint").hidden = !never;
    this.card(model, timings);
  }

  card(model, timings) {
    const meta = model?.meta ?? {};
    const rows = [];
    const row = (key, value) => rows.push(el("div", {}, el("dt", {}, t(key)), el("dd", {}, value)));
    if (typeof meta.architecture === "string") row("architecture", meta.architecture);
    if (Number.isFinite(meta.parameters)) row("parameters", count(meta.parameters));
    if (typeof meta.type === "string") row("type", meta.type);
    if (Number.isFinite(meta.bytes)) row("size", bytes(meta.bytes));
    if (Number.isFinite(meta.context)) row("context", t("tokens", { count: number(meta.context) }));
    row("memory", memory(meta));
    const rate = (value) => (Number.isFinite(value) ? t("speed", { rate: number(value, 1) }) : t("noSpeed"));
    row("lastSpeed", rate(timings?.predicted_per_second));
    row("promptSpeed", rate(timings?.prompt_per_second));
    $("card").replaceChildren(el("p", { class: "card-name" }, model?.id ?? t("noModel")), el("dl", {}, ...rows));
  }

  open() {
    this.dialog.showModal();
    this.dialog.scrollTop = 0;
  }
}

function memory(meta) {
  if (Number.isFinite(meta.memory_bytes)) return bytes(meta.memory_bytes);
  return t(meta.loaded ? "loaded" : "notLoaded");
}

/** The line beside the model's name: its memory and how fast it last answered. */
export function facts(model, timings) {
  if (!model) return "";
  const parts = [memory(model.meta ?? {})];
  if (Number.isFinite(timings?.predicted_per_second)) parts.push(t("speed", { rate: number(timings.predicted_per_second, 1) }));
  return parts.join(" · ");
}
