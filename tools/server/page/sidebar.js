// The list of conversations: grouped by age, found by words, renamed, deleted with a way back. On a narrow screen it
// lies over the page.

import { $, ask, el, iconButton, toast } from "./dom.js";
import { find, listHeads, load, remove, save } from "./store.js";
import { t } from "./text.js";

const DAY = 24 * 60 * 60 * 1000;
const narrow = matchMedia("(max-width: 800px)");

/** `open(id)` shows a conversation, `renamed(id, title)` and `deleted(id)` tell that it changed. */
export class Sidebar {
  constructor({ open, renamed, deleted }) {
    this.open = open;
    this.renamed = renamed;
    this.deleted = deleted;
    this.current = null;
    this.running = new Set();
    this.found = null; // ids that the search left, or null
    this.box = $("list");
    $("list-open").addEventListener("click", () => this.toggle());
    $("list-close").addEventListener("click", () => this.hide());
    $("shade").addEventListener("click", () => this.hide());
    let wait = 0;
    $("search").addEventListener("input", () => {
      clearTimeout(wait);
      wait = setTimeout(() => this.search(), 150);
    });
    narrow.addEventListener("change", () => this.place());
    this.place();
  }

  get overlay() {
    return document.body.classList.contains("list-shown");
  }

  // Out of sight means out of the tab order too.
  place() {
    document.body.classList.remove("list-shown");
    $("sidebar").inert = narrow.matches;
    $("main").inert = false;
    $("shade").hidden = true;
    $("list-open").setAttribute("aria-expanded", "false");
  }

  toggle() {
    document.body.classList.add("list-shown");
    $("sidebar").inert = false;
    $("main").inert = true;
    $("shade").hidden = false;
    $("list-open").setAttribute("aria-expanded", "true");
    $("new").focus();
  }

  hide() {
    if (!this.overlay) return;
    this.place();
    $("list-open").focus();
  }

  async search() {
    const words = $("search").value.trim();
    this.found = words ? await find(words) : null;
    if (words === $("search").value.trim()) await this.refresh();
  }

  /** Reads the list again and shows it. */
  async refresh() {
    const heads = (await listHeads()).filter(({ id }) => !this.found || this.found.has(id));
    const focused = document.activeElement?.closest?.("#list li")?.dataset.id;
    const midnight = new Date().setHours(0, 0, 0, 0);
    const groups = [
      ["today", heads.filter(({ updated }) => updated >= midnight)],
      ["week", heads.filter(({ updated }) => updated < midnight && updated >= midnight - 6 * DAY)],
      ["earlier", heads.filter(({ updated }) => updated < midnight - 6 * DAY)],
    ];
    const parts = [];
    for (const [name, group] of groups) {
      if (!group.length) continue;
      const heading = el("h2", { id: `group-${name}` }, t(name));
      parts.push(heading, el("ul", { "aria-labelledby": heading.id }, ...group.map((head) => this.item(head))));
    }
    if (!parts.length) parts.push(el("p", { class: "hint" }, t(this.found ? "noneFound" : "noneYet")));
    this.box.replaceChildren(...parts);
    if (focused) this.box.querySelector(`li[data-id="${CSS.escape(focused)}"] .open`)?.focus();
  }

  item(head) {
    const { id, title } = head;
    const here = id === this.current;
    const open = el("button", { type: "button", class: "open", title, "aria-current": here ? "true" : null }, title);
    open.addEventListener("click", () => {
      this.open(id);
      if (this.overlay) {
        this.place();
        $("input").focus();
      }
    });
    const rename = iconButton("edit", t("renameOf", { title }), () => this.rename(id));
    const drop = iconButton("trash", t("deleteOf", { title }), () => this.drop(id));
    const classes = [here ? "here" : "", this.running.has(id) ? "running" : ""].join(" ").trim();
    return el("li", { "data-id": id, class: classes }, open, rename, drop);
  }

  async rename(id) {
    const conversation = await load(id);
    if (!conversation) return;
    $("rename-input").value = conversation.title;
    const answer = ask($("rename"));
    $("rename-input").select();
    const title = (await answer) ? $("rename-input").value.trim() : "";
    if (!title || title === conversation.title) return;
    await this.renamed(id, title);
    await this.refresh();
  }

  async drop(id) {
    const conversation = await load(id);
    if (!conversation) return;
    const next = this.box.querySelector(`li[data-id="${CSS.escape(id)}"]`)?.nextElementSibling?.dataset.id;
    await this.deleted(id);
    await remove(id);
    await this.refresh();
    const target = next ? this.box.querySelector(`li[data-id="${CSS.escape(next)}"] .open`) : null;
    (target ?? $("new")).focus();
    toast(t("deleted", { title: conversation.title }), {
      label: t("undo"),
      run: async () => {
        await save(conversation);
        await this.refresh();
        this.open(id);
      },
    });
  }
}
