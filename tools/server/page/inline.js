// Inline Markdown: emphasis, code, links. Builds DOM nodes with createElement and text nodes only, so nothing in a
// model's answer can become markup. Every pass is linear (bounded look-ahead, bounded nesting), because the text is
// whatever a model, or a document it was given, wants it to be.

const MAX_DEPTH = 16; // open emphasis marks at one time
const MAX_TEXT = 100_000; // characters of one block read for marks; a longer one is shown as it is
const MAX_URL = 2048;

const SPECIAL = /[\\`*_~[!<$]|https?:\/\//g;
const AUTOLINK = /<(https?:\/\/[^\s<>]{1,2048}|mailto:[^\s<>]{1,320})>/iy;
const BARE_URL = /https?:\/\/[^\s<>"'`\u3000-\u303f\uff00-\uffef]{1,2048}/iy;
const BREAK = /<br[ ]?\/?>/iy;
const SPACE = /\s/;
const WORD = /[\p{L}\p{N}]/u;
const PUNCTUATION = /[!-/:-@[-`{-~]/;

/** The address when it is safe to click (http, https, mailto), else null. Relative addresses are refused too. */
export function safeUrl(raw) {
  if (raw.length > MAX_URL) return null;
  let url;
  try {
    url = new URL(raw);
  } catch {
    return null;
  }
  return ["http:", "https:", "mailto:"].includes(url.protocol) ? url.href : null;
}

/** Appends the inline content of `text` to `parent`. `budget.left` counts the elements that may still be made. */
export function inline(text, parent, budget, links = true) {
  if (text.length > MAX_TEXT || budget.left <= 0) {
    parent.append(text);
    return;
  }
  append(parent, new Inline(text, budget, links).parse());
}

// Adjacent strings become one text node.
function append(parent, nodes) {
  let text = [];
  for (const node of nodes) {
    if (typeof node === "string") {
      text.push(node);
      continue;
    }
    if (text.length) parent.append(text.join(""));
    text = [];
    parent.append(node);
  }
  if (text.length) parent.append(text.join(""));
}

class Inline {
  constructor(text, budget, links) {
    this.text = text;
    this.budget = budget;
    this.links = links;
    this.frames = [{ mark: "", nodes: [] }];
    this.ticks = null; // length of a run of backticks -> where such runs start, ascending
    this.brackets = null; // place of "[" -> place of its "]"
    this.missing = new Set(); // closing marks known not to come any more
  }

  parse() {
    const { text } = this;
    let at = 0;
    while (at < text.length) {
      SPECIAL.lastIndex = at;
      const hit = SPECIAL.exec(text);
      if (!hit) break;
      if (hit.index > at) this.push(text.slice(at, hit.index));
      at = this.special(hit.index, hit[0]);
    }
    if (at < text.length) this.push(text.slice(at));
    while (this.frames.length > 1) this.dropFrame();
    return this.frames[0].nodes;
  }

  push(node) {
    this.frames[this.frames.length - 1].nodes.push(node);
  }

  make(tag, className) {
    this.budget.left -= 1;
    const node = document.createElement(tag);
    if (className) node.className = className;
    return node;
  }

  // An emphasis mark that never closed is text.
  dropFrame() {
    const { mark, nodes } = this.frames.pop();
    const below = this.frames[this.frames.length - 1].nodes;
    below.push(mark);
    for (const node of nodes) below.push(node);
  }

  // Handles what stands at `i` and returns where to go on; always beyond `i`.
  special(i, found) {
    const { text } = this;
    if (this.budget.left <= 0) {
      this.push(text.slice(i));
      return text.length;
    }
    let end = -1;
    if (found === "\\") end = this.escape(i);
    else if (found === "`") end = this.code(i);
    else if (found === "$") end = text[i + 1] === "$" ? this.math(i, "$$") : -1;
    else if (found === "<") end = this.angle(i);
    else if (found === "!") end = text[i + 1] === "[" ? this.link(i + 1, true) : -1;
    else if (found === "[") end = this.link(i, false);
    else if (found.length > 1) end = this.bareUrl(i);
    else end = this.emphasis(i, found);
    if (end > i) return end;
    this.push(found);
    return i + found.length;
  }

  escape(i) {
    const next = this.text[i + 1];
    if (next === "(") return this.math(i, "\\)");
    if (next === "[") return this.math(i, "\\]");
    if (next === undefined || !PUNCTUATION.test(next)) return -1;
    this.push(next);
    return i + 2;
  }

  // Formulas are shown as their source, untouched by emphasis.
  math(i, close) {
    if (this.missing.has(close)) return -1;
    const end = this.text.indexOf(close, i + 2);
    if (end < 0) {
      this.missing.add(close);
      return -1;
    }
    const node = this.make("code", "math");
    node.textContent = this.text.slice(i + 2, end).trim();
    this.push(node);
    return end + 2;
  }

  code(i) {
    const { text } = this;
    if (!this.ticks) {
      this.ticks = new Map();
      for (const run of text.matchAll(/`+/g)) {
        const places = this.ticks.get(run[0].length);
        if (places) places.push(run.index);
        else this.ticks.set(run[0].length, [run.index]);
      }
      for (const places of this.ticks.values()) places.reverse();
    }
    let size = 1;
    while (text[i + size] === "`") size += 1;
    const places = this.ticks.get(size) ?? [];
    while (places.length && places[places.length - 1] <= i) places.pop();
    if (!places.length) {
      this.push(text.slice(i, i + size));
      return i + size;
    }
    const end = places.pop();
    let inside = text.slice(i + size, end).replaceAll("\n", " ");
    if (inside.length > 2 && inside.startsWith(" ") && inside.endsWith(" ")) inside = inside.slice(1, -1);
    const node = this.make("code");
    node.textContent = inside;
    this.push(node);
    return end + size;
  }

  angle(i) {
    BREAK.lastIndex = i;
    const line = BREAK.exec(this.text);
    if (line) {
      this.push("\n");
      return BREAK.lastIndex;
    }
    AUTOLINK.lastIndex = i;
    const hit = AUTOLINK.exec(this.text);
    if (!hit || !this.anchor(hit[1], [hit[1]])) return -1;
    return i + hit[0].length;
  }

  bareUrl(i) {
    BARE_URL.lastIndex = i;
    const hit = BARE_URL.exec(this.text);
    if (!hit) return -1;
    let url = hit[0].replace(/[.,;:!?*_~]{1,9}$/, "");
    // "(see https://a.b/c)" keeps its bracket outside, "https://a.b/c_(d)" keeps it inside.
    if (url.endsWith(")") && !url.includes("(")) url = url.slice(0, -1);
    return this.anchor(url, [url]) ? i + url.length : -1;
  }

  anchor(raw, label) {
    const href = this.links ? safeUrl(raw) : null;
    if (!href) return false;
    const node = this.make("a");
    node.href = href;
    node.target = "_blank";
    node.rel = "noopener noreferrer";
    node.title = href;
    append(node, label);
    this.push(node);
    return true;
  }

  // "[label](address)"; a picture becomes a link to it, because showing it would fetch it.
  link(i, picture) {
    if (!this.links) return -1;
    const { text } = this;
    this.brackets ??= matchBrackets(text);
    const end = this.brackets.get(i);
    if (end === undefined || text[end + 1] !== "(") return -1;
    const target = destination(text, end + 2);
    if (!target) return -1;
    const source = text.slice(i + 1, end);
    const label = new Inline(source || target.url, this.budget, false).parse();
    if (!this.anchor(target.url, label)) {
      // An address that must not be clicked: its label stays, as text.
      for (const node of label) this.push(node);
    }
    return picture ? Math.max(target.end, i + 1) : target.end;
  }

  emphasis(i, char) {
    const { text, frames } = this;
    let size = 1;
    while (text[i + size] === char) size += 1;
    const before = text[i - 1] ?? " ";
    const after = text[i + size] ?? " ";
    let opens = !SPACE.test(after);
    let closes = !SPACE.test(before);
    if (char === "_") {
      opens &&= !WORD.test(before);
      closes &&= !WORD.test(after);
    }
    let left = size;
    while (closes && left > 0) {
      // A mark of the same length is the better partner: in "**a *b** c*" the a and b are bold.
      const size = left;
      let at = frames.findLastIndex(({ mark }) => mark[0] === char && mark.length === size);
      if (at < 0) at = frames.findLastIndex(({ mark }) => mark[0] === char && mark.length < size);
      if (at < 0) break;
      while (frames.length - 1 > at) this.dropFrame();
      const { mark, nodes } = frames.pop();
      const node = this.make(char === "~" ? "del" : mark.length === 2 ? "strong" : "em");
      append(node, nodes);
      this.push(node);
      left -= mark.length;
    }
    if (opens && left > 0 && left <= 3) {
      for (const step of char === "~" ? [2] : [2, 1]) {
        if (left >= step && frames.length < MAX_DEPTH) {
          frames.push({ mark: char.repeat(step), nodes: [] });
          left -= step;
        }
      }
    }
    if (left > 0) this.push(char.repeat(left));
    return i + size;
  }
}

function matchBrackets(text) {
  const pairs = new Map();
  const open = [];
  for (const hit of text.matchAll(/\\.|[[\]]/gs)) {
    if (hit[0] === "[") open.push(hit.index);
    else if (hit[0] === "]" && open.length) pairs.set(open.pop(), hit.index);
  }
  return pairs;
}

// Reads "address)" or "<address> "title")" from `at`: the address and where the link ends, or null.
function destination(text, at) {
  const limit = Math.min(text.length, at + MAX_URL);
  let i = at;
  while (i < limit && SPACE.test(text[i])) i += 1;
  let url;
  if (text[i] === "<") {
    const close = text.slice(i, limit).indexOf(">");
    if (close < 0) return null;
    url = text.slice(i + 1, i + close);
    i += close + 1;
  } else {
    const start = i;
    let depth = 0;
    while (i < limit && !SPACE.test(text[i])) {
      if (text[i] === "(") {
        depth += 1;
        if (depth > MAX_DEPTH) return null;
      } else if (text[i] === ")" && depth-- === 0) break;
      i += 1;
    }
    url = text.slice(start, i);
  }
  const rest = /^(?:\s{1,9}(?:"[^"]{0,500}"|'[^']{0,500}'))?\s{0,9}\)/.exec(text.slice(i, i + 600));
  return rest ? { url, end: i + rest[0].length } : null;
}
