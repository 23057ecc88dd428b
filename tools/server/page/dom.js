// Small helpers over the DOM. Text reaches the page as text nodes and attributes of known names only.

import { t } from "./text.js";

const SVG = "http://www.w3.org/2000/svg";

/** The element with this id. */
export function $(id) {
  return document.getElementById(id);
}

/** A new element with attributes (`class`, `aria-label`, ...) and children (nodes or strings; null is left out). */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) node.setAttribute(name, value);
  }
  for (const child of children) if (child !== null && child !== undefined) node.append(child);
  return node;
}

/** One of the drawings at the top of index.html. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

/** A button that shows only a drawing; `label` is its name and its tooltip. */
export function iconButton(name, label, onClick) {
  const button = el("button", { type: "button", class: "icon-button", "aria-label": label, title: label }, icon(name));
  button.addEventListener("click", onClick);
  return button;
}

/** Copies text. The clipboard API exists only on https and localhost, so a phone on the local network needs the old way. */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const focused = document.activeElement;
    const area = el("textarea", { class: "hidden-visually", "aria-hidden": "true" });
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    focused?.focus?.();
    return done;
  }
}

/** Shows for two seconds that a copy button did its work (or could not). */
export async function copyWith(button, text) {
  const done = await copyText(text);
  button.querySelector("use")?.setAttribute("href", done ? "#i-check" : "#i-alert");
  const word = button.querySelector("span");
  if (word) word.textContent = t(done ? "copied" : "copyFailed");
  announce(t(done ? "copied" : "copyFailed"));
  setTimeout(() => {
    button.querySelector("use")?.setAttribute("href", "#i-copy");
    if (word) word.textContent = t("copy");
  }, 2000);
}

/** Hands the browser a file to save. */
export function download(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = el("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 30_000);
}

const SPOKEN = 30; // lines kept in the log that screen readers follow

/** Says one line to a screen reader, after what it says now. */
export function announce(line) {
  const log = $("spoken");
  log.append(el("p", {}, line));
  while (log.childElementCount > SPOKEN) log.firstElementChild.remove();
}

let toastTimer = 0;

/** A short message at the bottom, with an optional action such as "undo"; it stays while it is pointed at or focused. */
export function toast(message, action = null) {
  const box = $("toast");
  clearTimeout(toastTimer);
  box.replaceChildren(el("span", {}, message));
  const hide = () => {
    if (box.matches(":hover, :focus-within")) toastTimer = setTimeout(hide, 2000);
    else box.replaceChildren();
  };
  if (action) {
    const button = el("button", { type: "button" }, action.label);
    button.addEventListener("click", () => {
      clearTimeout(toastTimer);
      box.replaceChildren();
      action.run();
    });
    box.append(button);
  }
  toastTimer = setTimeout(hide, action ? 10_000 : 5000);
}

/**
 * Opens a dialog of index.html and waits: true when its form was sent, false when it was closed. The form is never
 * submitted to anywhere.
 */
export function ask(dialog) {
  return new Promise((resolve) => {
    const form = dialog.querySelector("form");
    const controller = new AbortController();
    const { signal } = controller;
    let sent = false;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      sent = true;
      dialog.close();
    }, { signal });
    for (const button of dialog.querySelectorAll("[data-close]")) {
      button.addEventListener("click", () => dialog.close(), { signal });
    }
    dialog.addEventListener("close", () => {
      controller.abort();
      resolve(sent);
    }, { signal });
    dialog.showModal();
  });
}
