"""What Markdown becomes: sources and the elements they give, and a growing text against the same text at once."""

import json

from cdp import PageError
from checks import equal

# Elements are written <tag>...</>; attributes are left out but for an address. A code block is its pre alone.
OUTLINE = """(async () => {
    const { render, LiveMarkdown } = await import("/markdown.js");
    const outline = (node) => {
        if (node.nodeType === 3) return node.data;
        if (node.matches(".code")) return outline(node.querySelector("pre"));
        const inside = [...node.childNodes].map(outline).join("");
        if (node.matches("div")) return inside;
        if (node.matches("span.line")) return inside;
        return `<${node.localName}${node.href ? " " + node.href : ""}${node.start > 1 ? " " + node.start : ""}>${inside}</>`;
    };
    window.outlineOf = (source) => { const box = document.createElement("div"); render(source, box); return outline(box); };
    window.liveOf = (source, size) => {
        const box = document.createElement("div");
        const live = new LiveMarkdown(box);
        for (let end = size; end < source.length + size; end += size) live.update(source.slice(0, end));
        return outline(box);
    };
})()"""

CASES = [
    ("", ""),
    ("a\nb\n\nc", "<p>a\nb</><p>c</>"),
    ("# A\n## B ##\n####### no", "<h3>A</><h4>B</><p>####### no</>"),
    ("A\n===\nB\n---", "<h3>A</><h4>B</>"),
    ("*a* **b** ***c*** ~~d~~ _e_ __f__", "<p><em>a</> <strong>b</> <strong><em>c</></> <del>d</> <em>e</> <strong>f</></>"),
    ("2 * 3 * 4, snake_case_name, **open, a*", "<p>2 * 3 * 4, snake_case_name, **open, a*</>"),
    ("**中文**：后面", "<p><strong>中文</>：后面</>"),
    ("**a *b** c*", "<p><strong>a *b</> c*</>"),
    ("`a*b*` ``c`d`` `open", "<p><code>a*b*</> <code>c`d</> `open</>"),
    ("\\*a\\* \\\\ \\x", "<p>*a* \\ \\x</>"),
    ("\\(a_1 * b_2 * c\\) and $$x_1 * y * z$$ for $5 and $6", "<p><code>a_1 * b_2 * c</> and <code>x_1 * y * z</> for $5 and $6</>"),
    ("- a\n- b\n  - c\n    - d\n- e", "<ul><li>a</><li>b<ul><li>c<ul><li>d</></></></></><li>e</></>"),
    ("1. a\n   - b\n2. c", "<ol><li>a<ul><li>b</></></><li>c</></>"),
    ("3. a\n4. b", "<ol 3><li>a</><li>b</></>"),
    ("- a\n\n- b\n\nc", "<ul><li><p>a</></><li><p>b</></></><p>c</>"),
    ("1. a\n   ```\n   x\n     y\n   ```\n2. b", "<ol><li>a<pre><code>x\n  y</></></><li>b</></>"),
    ("- [ ] a\n- [x] b", "<ul><li>☐ a</><li>☑ b</></>"),
    ("The year\n1984. It was", "<p>The year\n1984. It was</>"),
    ("> a\n> > b\n\nc", "<blockquote><p>a</><blockquote><p>b</></></><p>c</>"),
    ("---\n***\n- - -", "<hr></><hr></><hr></>"),
    ("```js\na < b\n\n# c\n```\nd", "<pre><code>a < b\n\n# c</></><p>d</>"),
    ("~~~\n```\n~~~", "<pre><code>```</></>"),
    ("```\nopen", "<pre><code>open</></>"),
    ("    code\n      more\n\ntext", "<pre><code>code\n  more</></><p>text</>"),
    ("a | b\n--|:-:\n1 | `x|y`\n2 \\| 3 | 4", "<table><thead><tr><th>a</><th>b</></></><tbody><tr><td>1</><td><code>x|y</></></><tr><td>2 | 3</><td>4</></></></>"),
    ("a | b\n--|", "<p>a | b\n--|</>"),
    ("[a](https://e.org/x \"t\") [b](</c d>) [c]", "<p><a https://e.org/x>a</> b [c]</>"),
    ("[**a** [b](https://e.org/)", "<p>[<strong>a</> <a https://e.org/>b</></>"),
    ("(https://e.org/a_b_c). <https://e.org>", "<p>(<a https://e.org/a_b_c>https://e.org/a_b_c</>). <a https://e.org/>https://e.org</></>"),
    ("见https://e.org/x。好", "<p>见<a https://e.org/x>https://e.org/x</>。好</>"),
    ("![alt](https://e.org/p.png) ![](https://e.org/q.png)", "<p><a https://e.org/p.png>alt</> <a https://e.org/q.png>https://e.org/q.png</></>"),
    ("[a](javascript:x) [b](#top) <b>c</b>", "<p>a b <b>c</b></>"),
    ("a<br>b", "<p>a\nb</>"),
]


def markdown(page):
    """Each source gives its elements."""
    page.js(OUTLINE)
    for source, wanted in CASES:
        equal(page.js(f"outlineOf({json.dumps(source)})"), wanted, repr(source))
    return f"{len(CASES)} sources"


def growing(page, texts):
    """A text that grows gives what it gives at once, in whatever pieces it comes."""
    page.js(OUTLINE)
    for source in [*texts, "\n\n".join(source for source, _ in CASES if "open" not in source)]:
        whole = page.js(f"outlineOf({json.dumps(source)})")
        for size in (1, 7, 1000):
            got = page.js(f"liveOf({json.dumps(source)}, {size})")
            if got != whole:
                at = next((i for i, (a, b) in enumerate(zip(got, whole)) if a != b), min(len(got), len(whole)))
                raise PageError(f"pieces of {size}: {got[at - 30 : at + 60]!r} instead of {whole[at - 30 : at + 60]!r}")
