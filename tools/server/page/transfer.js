// A conversation as a file: JSON that can be read back, and Markdown for people. What is read back comes from
// anywhere, so every field is checked and unknown ones are dropped.

import { newId } from "./store.js";
import { cleanParameters } from "./parameters.js";
import { t } from "./text.js";

const FORMAT = "qwip-conversation";
const MAX_FILE = 32 * 1024 * 1024;
const MAX_MESSAGES = 10_000;
const MAX_TITLE = 200;

/** A file name made of the title, safe on every system. */
export function fileName(title, extension) {
  const safe = title.replace(/[\p{C}<>:"/\\|?*.\s]+/gu, "-").replace(/^-+|-+$/g, "").slice(0, 60);
  return `${safe || "qwip"}.${extension}`;
}

/** The conversation as JSON text. */
export function toJson({ title, created, updated, model, parameters, messages }) {
  return `${JSON.stringify({ format: FORMAT, version: 1, title, created, updated, model, parameters, messages }, null, 2)}\n`;
}

/** The conversation as Markdown text. Thoughts are left out. */
export function toMarkdown({ title, model, parameters, messages }) {
  const parts = [`# ${title}`];
  if (model) parts.push(`*${model}*`);
  if (parameters.system) parts.push(`> ${parameters.system.replaceAll("\n", "\n> ")}`);
  for (const { role, content } of messages) parts.push(`## ${t(role === "user" ? "you" : "assistant")}`, content);
  return `${parts.join("\n\n")}\n`;
}

function fail(reason) {
  throw new Error(reason);
}

function text(value, name, limit = MAX_FILE) {
  if (typeof value !== "string") fail(`${name} is not text`);
  return value.slice(0, limit);
}

function time(value) {
  return Number.isFinite(value) && value > 0 && value < 8.64e15 ? value : Date.now();
}

function rates(value) {
  const names = ["prompt_n", "prompt_per_second", "predicted_n", "predicted_per_second"];
  if (typeof value !== "object" || value === null || !names.every((name) => Number.isFinite(value[name]))) return undefined;
  return Object.fromEntries(names.map((name) => [name, value[name]]));
}

function message(value, at) {
  const name = `messages[${at}]`;
  if (typeof value !== "object" || value === null) fail(`${name} is not an object`);
  if (value.role !== "user" && value.role !== "assistant") fail(`${name}.role is neither "user" nor "assistant"`);
  const clean = { role: value.role, content: text(value.content, `${name}.content`) };
  if (value.role === "assistant") {
    if (value.reasoning !== undefined) clean.reasoning = text(value.reasoning, `${name}.reasoning`);
    if (value.model !== undefined) clean.model = text(value.model, `${name}.model`, 500);
    if (["stop", "length", "stopped"].includes(value.finish)) clean.finish = value.finish;
    if (Number.isFinite(value.thinkingMs)) clean.thinkingMs = value.thinkingMs;
    const timings = rates(value.timings);
    if (timings) clean.timings = timings;
  }
  return clean;
}

/** Reads a file made by `toJson`. Returns a new conversation; throws an Error that names what is wrong. */
export async function fromFile(file) {
  if (file.size > MAX_FILE) fail(`${file.size} bytes, at most ${MAX_FILE} are read`);
  let value;
  try {
    value = JSON.parse(await file.text());
  } catch {
    fail("not JSON");
  }
  if (value?.format !== FORMAT) fail(`format is not "${FORMAT}"`);
  if (value.version !== 1) fail(`version is ${JSON.stringify(value.version)?.slice(0, 20)}, this page reads 1`);
  if (!Array.isArray(value.messages)) fail("messages is not a list");
  if (value.messages.length > MAX_MESSAGES) fail(`${value.messages.length} messages, at most ${MAX_MESSAGES} are read`);
  return {
    id: newId(),
    title: text(value.title ?? t("untitled"), "title", MAX_TITLE) || t("untitled"),
    created: time(value.created),
    updated: Date.now(),
    model: value.model === null || value.model === undefined ? null : text(value.model, "model", 500),
    parameters: cleanParameters(value.parameters),
    messages: value.messages.map(message),
  };
}
