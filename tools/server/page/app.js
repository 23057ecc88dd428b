// The page: one conversation on show, the answers being made, and how the parts hear of each other.

import { chatModels, setKey } from "./api.js";
import { startChoices } from "./choices.js";
import { Composer } from "./composer.js";
import { $, announce, ask, copyWith, el, toast } from "./dom.js";
import { startFiles } from "./files.js";
import { AnswerView, Follower, Speaker, UserView } from "./messages.js";
import { Panel, facts } from "./panel.js";
import { cleanParameters } from "./parameters.js";
import { Run } from "./run.js";
import { Sidebar } from "./sidebar.js";
import { choice, choose, load, newId, onChange, openStore, remove, save } from "./store.js";
import { t } from "./text.js";

const SAVE_EVERY = 1000; // ms between two saves of an answer that is being made
const TITLE = 60; // characters of the first message that name a conversation

let ready = false; // the store is open and the conversation of the address is on show
let models = [];
let conversation = fresh();
let views = new Map(); // message -> view, of the conversation on show
const runs = new Map(); // conversation id -> Run
const follower = new Follower();
const panel = new Panel({ changed: settingsChanged });
const composer = new Composer({ send });
const sidebar = new Sidebar({ open, renamed, deleted });

function fresh() {
  const now = Date.now();
  return {
    id: newId(),
    title: "",
    created: now,
    updated: now,
    model: null,
    parameters: cleanParameters(choice("parameters", null)),
    messages: [],
  };
}

function model() {
  return models.find(({ id }) => id === $("model").value) ?? null;
}

function lastTimings() {
  return conversation.messages.findLast(({ timings, model: name }) => timings && name === $("model").value)?.timings ?? null;
}

// ---- showing ----

function show(place = "end") {
  const { messages, title } = conversation;
  const before = views;
  views = new Map();
  for (const message of messages) views.set(message, before.get(message) ?? view(message));
  const last = messages[messages.length - 1];
  for (const [message, shown] of views) shown.setLast(message === last);
  $("messages").replaceChildren(...[...views.values()].map(({ node }) => node));
  $("title").textContent = title || t("newChat");
  document.title = title ? `${title} – qwip` : "qwip";
  $("welcome").hidden = messages.length > 0;
  document.body.classList.toggle("empty", messages.length === 0);
  showModel();
  showRunning();
  if (place === "end") follower.toEnd();
  else follower.follow();
}

function view(message) {
  if (message.role === "user") return new UserView(message, { onEdit: edited, onRegenerate: regenerate });
  return new AnswerView(message, { run: runOf(message), onRegenerate: regenerate, onRefreshed: () => follower.follow() });
}

function runOf(message) {
  const run = runs.get(conversation.id);
  return run?.message === message ? run : null;
}

function showModel() {
  const wanted = [conversation.model, choice("model", null), models.find(({ meta }) => meta?.loaded)?.id, models[0]?.id];
  const id = wanted.find((name) => name && models.some((known) => known.id === name));
  const options = models.map((known) => el("option", { value: known.id }, known.id));
  if (!options.length) options.push(el("option", { value: "" }, t("noModel")));
  $("model").replaceChildren(...options);
  $("model").value = id ?? "";
  $("model").disabled = models.length === 0;
  $("facts").textContent = facts(model(), lastTimings());
  panel.show(conversation.parameters, model(), lastTimings());
}

function showRunning() {
  composer.showRunning(runs.has(conversation.id));
  sidebar.running = new Set(runs.keys());
}

function notice(text, retry = null) {
  const parts = text ? [el("span", {}, text)] : [];
  if (retry) {
    const button = el("button", { type: "button", class: "plain-button" }, t("retry"));
    button.addEventListener("click", retry);
    parts.push(button);
  }
  $("notice").replaceChildren(...parts);
}

// ---- the server ----

async function readModels(asked = false) {
  try {
    models = await chatModels();
    notice(models.length ? "" : t("noModels"), models.length ? null : () => readModels());
  } catch (error) {
    if (error.kind === "key") {
      if (await askKey(asked)) return readModels(true);
      notice(error.message, () => readModels());
    } else {
      notice(error.kind === "offline" ? t("noServer") : error.message, () => readModels());
    }
  }
  showModel();
}

async function askKey(wrong) {
  if ($("key").open) return false;
  $("key-wrong").hidden = !wrong;
  $("key-input").value = "";
  if (!(await ask($("key")))) return false;
  setKey($("key-input").value.trim());
  $("key-input").value = "";
  return true;
}

// ---- answers ----

async function answer() {
  const here = conversation;
  if (!model()) await readModels();
  const chosen = model();
  // The reader may have gone elsewhere, or asked again, while the models were read.
  if (!chosen || conversation !== here || runs.has(here.id)) return;
  here.model = chosen.id;
  const speaker = new Speaker();
  let saved = 0;
  const run = new Run(here, chosen, {
    changed: () => {
      if (conversation === here) {
        views.get(run.message)?.changed();
        speaker.update(run.message.content, false);
      }
      if (performance.now() - saved > SAVE_EVERY) {
        saved = performance.now();
        keep(here);
      }
    },
    done: () => finished(run, speaker),
  });
  runs.set(here.id, run);
  const working = run.start();
  await keep(here);
  if (conversation === here) show();
  announce(t("answering"));
  await sidebar.refresh();
  await working;
}

async function finished(run, speaker) {
  const here = run.conversation;
  runs.delete(here.id);
  here.updated = Date.now();
  const { message } = run;
  // Nothing came: the note says so, but there is nothing to keep.
  const empty = !message.content && !message.reasoning;
  if (conversation === here) {
    views.get(message)?.finish();
    speaker.update(message.content, true);
    announce(message.error?.text ?? t(message.finish === "stopped" ? "stopped" : "answered"));
    showRunning();
  }
  if (!here.dropped) await keep(here);
  await sidebar.refresh();
  if (run.failure === "key" && (await askKey(false)) && conversation === here && !runs.has(here.id)) {
    regenerate();
    return;
  }
  if (!empty || run.failure === null) await readModels();
  else if (conversation === here) $("facts").textContent = facts(model(), lastTimings());
}

// Stores what is worth keeping: errors are of the moment, and an answer without a word is none.
async function keep(here) {
  const messages = here.messages
    .filter(({ role, content, reasoning }) => role === "user" || content || reasoning)
    .map(({ error, ...rest }) => rest);
  try {
    await save({ ...here, messages });
  } catch (error) {
    notice(t("saveFailed", { reason: error?.message ?? String(error) }));
  }
}

function send(text) {
  if (!ready || !text.trim() || busy()) return false;
  const here = conversation;
  dropUnanswered();
  here.messages.push({ role: "user", content: text });
  if (!here.title) here.title = titleOf(text);
  here.updated = Date.now();
  sidebar.current = here.id;
  if (location.hash !== `#${here.id}`) history.pushState(null, "", `#${here.id}`);
  show();
  answer();
  return true;
}

// An answer that failed before its first word is not part of the conversation.
function dropUnanswered() {
  const last = conversation.messages[conversation.messages.length - 1];
  if (last?.role === "assistant" && !last.content && !last.reasoning) conversation.messages.pop();
}

function titleOf(text) {
  const line = text.trim().split("\n", 1)[0].replace(/\s+/g, " ");
  const letters = [...line.slice(0, 4 * TITLE)];
  return letters.length > TITLE ? `${letters.slice(0, TITLE - 1).join("")}…` : line;
}

function busy() {
  if (!runs.has(conversation.id)) return false;
  toast(t("wait"));
  return true;
}

function regenerate() {
  if (busy()) return;
  const { messages } = conversation;
  while (messages.length && messages[messages.length - 1].role === "assistant") messages.pop();
  if (!messages.length) return;
  show();
  answer();
  $("input").focus();
}

function edited(message, text) {
  if (busy()) return false;
  const { messages } = conversation;
  const at = messages.indexOf(message);
  if (at < 0) return false;
  messages.splice(at);
  if (at === 0) conversation.title = titleOf(text);
  const sent = send(text);
  $("input").focus();
  return sent;
}

function stop() {
  const run = runs.get(conversation.id);
  run?.stop();
  return run !== undefined;
}

// ---- conversations ----

async function open(id, push = true) {
  const found = runs.get(id)?.conversation ?? (await load(id));
  conversation = found ?? fresh();
  conversation.parameters = cleanParameters(conversation.parameters);
  sidebar.current = found ? id : null;
  if (push) history.pushState(null, "", found ? `#${id}` : location.pathname);
  notice("");
  show();
  await sidebar.refresh();
}

async function startNew() {
  conversation = fresh();
  sidebar.current = null;
  history.pushState(null, "", location.pathname);
  if (sidebar.overlay) sidebar.place();
  show();
  $("input").focus();
  await sidebar.refresh();
}

async function renamed(id, title) {
  const target = id === conversation.id ? conversation : (runs.get(id)?.conversation ?? (await load(id)));
  if (!target) return;
  target.title = title;
  await keep(target);
  if (target === conversation) {
    $("title").textContent = title;
    document.title = `${title} – qwip`;
  }
}

async function deleted(id) {
  const run = runs.get(id);
  if (run) {
    // Its last save must not bring it back.
    run.conversation.dropped = true;
    run.stop();
  }
  if (id === conversation.id) await startNew();
}

async function deleteAll() {
  if (!(await ask($("confirm")))) return;
  for (const run of runs.values()) {
    run.conversation.dropped = true;
    run.stop();
  }
  await remove();
  $("panel").close();
  await startNew();
  toast(t("deletedAll"));
}

function settingsChanged(parameters) {
  conversation.parameters = cleanParameters(parameters);
  choose("parameters", conversation.parameters);
  if (conversation.messages.length && !runs.has(conversation.id)) keep(conversation);
  panel.show(conversation.parameters, model(), lastTimings());
}

function modelChosen() {
  choose("model", $("model").value);
  conversation.model = $("model").value;
  if (conversation.messages.length && !runs.has(conversation.id)) keep(conversation);
  showModel();
}

// ---- wiring ----

function wire() {
  $("stop").addEventListener("click", stop);
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || event.isComposing || document.querySelector("dialog[open], :popover-open")) return;
    if (sidebar.overlay) sidebar.hide();
    else if (stop()) event.preventDefault();
  });
  $("model").addEventListener("change", modelChosen);
  $("skip").addEventListener("click", (event) => {
    event.preventDefault();
    $("input").focus();
  });
  $("new").addEventListener("click", startNew);
  $("settings").addEventListener("click", () => {
    showModel();
    panel.open();
  });
  $("delete-all").addEventListener("click", deleteAll);
  startFiles({ current: () => conversation, open });
  $("messages").addEventListener("click", (event) => {
    const button = event.target.closest?.(".copy-code");
    if (button) copyWith(button, button.closest(".code").querySelector("code").textContent);
  });
  // Opened or closed folds change the height under the reader.
  $("messages").addEventListener("toggle", () => follower.look(), true);
  addEventListener("popstate", () => open(location.hash.slice(1), false));
  onChange(async (id) => {
    await sidebar.refresh();
    // Another tab went on with what is on show here.
    if (id === conversation.id && !runs.has(id)) {
      const found = await load(id);
      if (found && !runs.has(id)) {
        conversation = found;
        show("stay");
      }
    }
  });
}

async function start() {
  const persistent = await openStore();
  startChoices(() => {
    views = new Map();
    show("stay");
    sidebar.refresh();
  });
  wire();
  await open(location.hash.slice(1), false);
  ready = true;
  if (!persistent) notice(t("noStore"));
  $("input").focus();
  await readModels();
}

start();
