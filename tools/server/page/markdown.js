// Blocks of Markdown as DOM nodes, and a live view that re-renders only the end of a growing text. Raw HTML is text.
// The text is hostile: nesting is bounded (deeper marks stay text), and so is the number of elements (what comes
// after them is shown as plain text), so no answer can hang the page or overflow its stack.

import { inline } from "./inline.js";
import { el, icon } from "./dom.js";
import { t } from "./text.js";

const MAX_DEPTH = 10; // quotes and lists inside one another
const MAX_ELEMENTS = 10_000; // elements of one message
const MAX_COLUMNS = 64;

const FENCE = /^ {0,3}(`{3,}|~{3,})[ \t]*([^`\n]*)$/;
const ITEM = /^( {0,3})([-*+]|\d{1,9}[.)])([ \t]+|$)/;
const RULE = /^ {0,3}([-*_])(?:[ \t]*\1){2,}[ \t]*$/;
const HEADING = /^ {0,3}(#{1,6})(?:[ \t]|$)/;
const QUOTE = /^ {0,3}>/;
const DELIMITERS = /^[ \t|:-]+$/;

/** Replaces what `target` shows by the Markdown `source`. */
export function render(source, target) {
  target.replaceChildren();
  blocks(split(source), target, 0, { left: MAX_ELEMENTS });
}

/** A view of a text that only grows at its end: finished blocks are rendered once and then left alone. */
export class LiveMarkdown {
  constructor(target) {
    this.target = target;
    this.reset();
  }

  reset() {
    this.target.replaceChildren();
    this.frozen = ""; // the text of the finished blocks
    this.kept = 0; // their nodes
    this.budget = { left: MAX_ELEMENTS };
  }

  update(source) {
    if (!source.startsWith(this.frozen)) this.reset();
    while (this.target.childNodes.length > this.kept) this.target.lastChild.remove();
    let tail = source.slice(this.frozen.length);
    const cut = lastBoundary(tail);
    if (cut > 0) {
      blocks(split(tail.slice(0, cut)), this.target, 0, this.budget);
      this.kept = this.target.childNodes.length;
      this.frozen += tail.slice(0, cut);
      tail = tail.slice(cut);
    }
    blocks(split(tail), this.target, 0, { left: this.budget.left });
  }
}

// Where the last block that may still change starts: after a blank line, outside a fence, before a line that cannot
// belong to what stands above it.
function lastBoundary(text) {
  let cut = 0;
  let fence = "";
  let blank = false;
  let at = 0;
  while (at < text.length) {
    let end = text.indexOf("\n", at);
    if (end < 0) end = text.length;
    const head = text.slice(at, Math.min(end, at + 200));
    const mark = /^\s*(`{3,}|~{3,})/.exec(head)?.[1];
    if (fence) {
      if (mark?.startsWith(fence)) fence = "";
    } else {
      // Of a line that has only begun, "1" or "*" may still become an item of the list above.
      const whole = end < text.length || head.length > 12;
      if (blank && whole && /^\S/.test(head) && !ITEM.test(head)) cut = at;
      if (mark) fence = mark;
    }
    blank = end - at < 200 && head.trim() === "";
    at = end + 1;
  }
  return cut;
}

function split(source) {
  return source.split(/\r\n|\r|\n/);
}

function isBlank(line) {
  return line.length < 1000 && line.trim() === "";
}

function isRule(line) {
  return line.length < 200 && RULE.test(line);
}

// A fence's parts. Marks and language of a real one are short, and the pattern is not linear on a line of blanks.
function fenceOf(line) {
  return line.length < 1000 ? FENCE.exec(line) : null;
}

function indentOf(line) {
  let n = 0;
  while (line[n] === " " || line[n] === "\t") n += 1;
  return n;
}

// A line that ends a paragraph. Only a list that starts with 1 may do so: "in\n1984. That year" is one sentence.
function startsBlock(line) {
  if (fenceOf(line) || HEADING.test(line) || QUOTE.test(line) || isRule(line)) return true;
  const item = ITEM.exec(line);
  return item !== null && item[3] !== "" && !/^(?!1[.)])\d/.test(item[2]);
}

function blocks(lines, parent, depth, budget, tight = false) {
  let i = 0;
  while (i < lines.length) {
    if (isBlank(lines[i])) {
      i += 1;
    } else if (budget.left <= 0) {
      plain(lines.slice(i), parent);
      return;
    } else {
      i = block(lines, i, parent, depth, budget, tight);
    }
  }
}

// Lines as they are, in pieces that the browser lays out only when they come into view.
function plain(lines, parent) {
  const size = Math.max(200, Math.ceil(lines.length / 500));
  for (let i = 0; i < lines.length; i += size) parent.append(el("p", { class: "plain" }, lines.slice(i, i + size).join("\n")));
}

// Renders the block that starts at line `i` and returns the line after it.
function block(lines, i, parent, depth, budget, tight) {
  const line = lines[i];
  budget.left -= 1;
  const fence = fenceOf(line);
  if (fence) return fenced(lines, i, fence, parent, budget);
  if (HEADING.test(line)) {
    const level = HEADING.exec(line)[1].length;
    // The page owns h1 and h2.
    const node = el(`h${Math.min(level + 2, 6)}`, { class: `h${level}` });
    let text = line.trim().slice(level).trim();
    let end = text.length;
    while (end > 0 && text[end - 1] === "#") end -= 1;
    if (end < text.length && (end === 0 || text[end - 1] === " ")) text = text.slice(0, end).trim();
    inline(text, node, budget);
    parent.append(node);
    return i + 1;
  }
  if (isRule(line)) {
    parent.append(el("hr"));
    return i + 1;
  }
  if (depth < MAX_DEPTH && QUOTE.test(line)) {
    const inside = [];
    while (i < lines.length && QUOTE.test(lines[i])) inside.push(lines[i++].replace(/^ {0,3}> ?/, ""));
    const node = el("blockquote");
    blocks(inside, node, depth + 1, budget);
    parent.append(node);
    return i;
  }
  if (depth < MAX_DEPTH && ITEM.test(line)) return list(lines, i, parent, depth, budget);
  if (isTable(lines, i)) return table(lines, i, parent, budget);
  if (/^(?: {4}|\t)/.test(line)) {
    const inside = [];
    while (i < lines.length && (/^(?: {4}|\t)/.test(lines[i]) || isBlank(lines[i]))) {
      inside.push(lines[i++].replace(/^(?: {4}|\t)/, ""));
    }
    while (isBlank(inside[inside.length - 1])) inside.pop();
    parent.append(codeBlock(inside.join("\n"), "", budget));
    return i;
  }
  return paragraph(lines, i, parent, budget, tight);
}

function paragraph(lines, i, parent, budget, tight) {
  const text = [lines[i].trim()];
  let next = i + 1;
  let tag = tight ? "span" : "p";
  while (next < lines.length && !isBlank(lines[next])) {
    const line = lines[next];
    if (line.length < 200 && /^ {0,3}(?:=+|-+)[ \t]*$/.test(line)) {
      tag = line.includes("=") ? "h3" : "h4";
      next += 1;
      break;
    }
    if (startsBlock(line) || isTable(lines, next)) break;
    text.push(line.trim());
    next += 1;
  }
  const node = el(tag, tag === "span" ? { class: "line" } : {});
  inline(text.join("\n"), node, budget);
  parent.append(node);
  return next;
}

function fenced(lines, i, fence, parent, budget) {
  const [, mark, info] = fence;
  const close = new RegExp(`^ {0,3}${mark[0]}{${mark.length > 99 ? 99 : mark.length},}[ \\t]*$`);
  const indent = indentOf(lines[i]);
  const inside = [];
  i += 1;
  while (i < lines.length && !(lines[i].length < 200 && close.test(lines[i]))) {
    inside.push(lines[i].slice(Math.min(indent, indentOf(lines[i]))));
    i += 1;
  }
  parent.append(codeBlock(inside.join("\n"), info.trim().split(/\s/, 1)[0].slice(0, 30), budget));
  return i + 1;
}

function codeBlock(text, language, budget) {
  budget.left -= 9;
  const name = language || t("code");
  const copy = el("button", { type: "button", class: "quiet copy-code", "aria-label": t("copyCode") }, icon("copy"), el("span", {}, t("copy")));
  const code = el("code", {}, text);
  const pre = el("pre", { tabindex: "0", role: "region", "aria-label": name }, code);
  return el("div", { class: "code" }, el("div", { class: "code-head" }, el("span", {}, language), copy), pre);
}

// Whether a line is an item of a list whose markers end in `kind` ("-", "*", "+", "." or ")").
function continues(line, kind) {
  const mark = ITEM.exec(line);
  return mark !== null && mark[2][mark[2].length - 1] === kind && !isRule(line);
}

function list(lines, i, parent, depth, budget) {
  const first = ITEM.exec(lines[i]);
  const ordered = /\d/.test(first[2]);
  const kind = first[2][first[2].length - 1];
  const start = parseInt(first[2], 10);
  const node = el(ordered ? "ol" : "ul", ordered && start !== 1 ? { start: String(start) } : {});
  const items = [];
  let loose = false;
  while (i < lines.length) {
    if (!continues(lines[i], kind)) break;
    const mark = ITEM.exec(lines[i]);
    const width = mark[3].length > 4 || mark[3] === "" ? mark[1].length + mark[2].length + 1 : mark[0].length;
    const inside = [lines[i].slice(mark[0].length)];
    i += 1;
    let blanks = 0;
    while (i < lines.length) {
      const line = lines[i];
      if (isBlank(line)) {
        blanks += 1;
        inside.push("");
        i += 1;
        continue;
      }
      const indent = indentOf(line);
      // Models indent by two, three or four spaces, whatever the marker's width.
      if (indent >= Math.min(width, 2)) {
        if (blanks) loose = true;
        inside.push(line.slice(Math.min(indent, width)));
      } else if (!blanks && !startsBlock(line) && !ITEM.test(line)) {
        inside.push(line);
      } else {
        break;
      }
      blanks = 0;
      i += 1;
    }
    if (blanks && i < lines.length && continues(lines[i], kind)) loose = true;
    items.push(inside);
  }
  for (const [at, inside] of items.entries()) {
    if (budget.left <= 0) {
      const rest = el("li");
      plain(items.slice(at).flat(), rest);
      node.append(rest);
      break;
    }
    budget.left -= 1;
    const item = el("li");
    const task = /^\[([ xX])\][ \t]/.exec(inside[0]);
    if (task) {
      item.className = "task";
      inside[0] = `${task[1] === " " ? "\u2610" : "\u2611"} ${inside[0].slice(task[0].length)}`;
    }
    blocks(inside, item, depth + 1, budget, !loose);
    node.append(item);
  }
  parent.append(node);
  return i;
}

function cells(line) {
  const found = [];
  let cell = "";
  let ticks = false;
  for (const hit of line.trim().matchAll(/\\\||[|`]|[^\\|`]+|\\/g)) {
    if (hit[0] === "|" && !ticks) {
      found.push(cell.trim());
      cell = "";
    } else {
      if (hit[0] === "`") ticks = !ticks;
      cell += hit[0] === "\\|" ? "|" : hit[0];
    }
  }
  found.push(cell.trim());
  if (found[0] === "") found.shift();
  if (found[found.length - 1] === "") found.pop();
  return found;
}

function isTable(lines, i) {
  const [head, rule] = [lines[i], lines[i + 1]];
  if (rule === undefined || head.length > 10_000 || rule.length > 2000) return false;
  if (!head.includes("|") || !rule.includes("-") || !DELIMITERS.test(rule)) return false;
  const columns = cells(head).length;
  return columns > 0 && columns <= MAX_COLUMNS && cells(rule).length === columns;
}

function table(lines, i, parent, budget) {
  const head = cells(lines[i]);
  const sides = cells(lines[i + 1]).map((cell) => (cell.endsWith(":") ? (cell.startsWith(":") ? "center" : "right") : ""));
  const row = (values, tag) => {
    budget.left -= head.length + 1;
    const node = el("tr");
    for (let at = 0; at < head.length; at += 1) {
      const cell = el(tag, sides[at] ? { class: sides[at] } : {});
      if (tag === "th") cell.scope = "col";
      inline(values[at] ?? "", cell, budget);
      node.append(cell);
    }
    return node;
  };
  const body = el("tbody");
  const node = el("table", {}, el("thead", {}, row(head, "th")), body);
  i += 2;
  while (i < lines.length && budget.left > 0 && lines[i].length <= 100_000 && lines[i].includes("|") && !isBlank(lines[i])) {
    body.append(row(cells(lines[i]), "td"));
    i += 1;
  }
  parent.append(el("div", { class: "table", tabindex: "0", role: "region", "aria-label": t("table") }, node));
  return i;
}
