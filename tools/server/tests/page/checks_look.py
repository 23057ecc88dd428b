"""Appearance and access: themes and contrast, Chinese, a phone's width, names of controls, reduced motion."""

import os
import re

from checks import choose, equal, say, true
from cdp import PageError

# The contrast of every text with what lies behind it: [text, ratio, needed] of those that are too weak.
CONTRAST = """(() => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const rgba = (color) => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = color;
        canvas.fillRect(0, 0, 1, 1);
        const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
        return [r, g, b, a / 255];
    };
    const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
    const light = ([r, g, b]) => {
        const [x, y, z] = [r, g, b].map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * x + 0.7152 * y + 0.0722 * z;
    };
    const behind = (node) => {
        const chain = [];
        for (let at = node; at; at = at.parentElement) {
            const color = rgba(getComputedStyle(at).backgroundColor);
            chain.push(color);
            if (color[3] === 1) break;
        }
        return chain.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 1]);
    };
    const weak = [];
    let seen = 0;
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const check = (node, words, color) => {
        const back = behind(node);
        const [a, b] = [light(over(rgba(color), back)), light(back)].sort((x, y) => y - x);
        seen += 1;
        if ((a + 0.05) / (b + 0.05) < 4.5) weak.push(`${words.trim().slice(0, 30)}: ${((a + 0.05) / (b + 0.05)).toFixed(2)}`);
    };
    while (walker.nextNode()) {
        const node = walker.currentNode.parentElement;
        if (!walker.currentNode.data.trim() || node.closest(".hidden-visually, .skip, :disabled, script, option")) continue;
        if (!node.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true })) continue;
        check(node, walker.currentNode.data, getComputedStyle(node).color);
    }
    for (const node of document.querySelectorAll("[placeholder]")) {
        if (node.checkVisibility()) check(node, node.placeholder, getComputedStyle(node, "::placeholder").color);
    }
    return { seen, weak };
})()"""


def contrast(page, where):
    found = page.js(CONTRAST)
    true(found["seen"] > 10, f"only {found['seen']} texts looked at")
    true(not found["weak"], f"{where}: contrast below 4.5: {', '.join(found['weak'][:6])}")


def themes(page, shot):
    """The system's appearance holds until another is chosen; both have enough contrast, the settings too."""
    back = "getComputedStyle(document.body).backgroundColor"
    for scheme in ("light", "dark"):
        page.media(prefers_color_scheme=scheme)
        contrast(page, scheme)
        page.js("document.getElementById('settings').click()")
        contrast(page, f"{scheme} settings")
        shot(f"{scheme}-settings")
        page.key("Escape")
        shot(scheme)
    dark = page.js(back)
    choose(page, "theme", "light")
    light = page.js(back)
    true(light != dark, "the switch to light changes nothing")
    choose(page, "theme", "dark")
    page.media(prefers_color_scheme="light")
    equal(page.js(back), dark, "the chosen dark background")
    page.call("Page.reload")
    page.until("document.readyState === 'complete' && document.getElementById('model')?.value", "the reload")
    equal(page.js(back), dark, "the background after a reload")
    choose(page, "theme", "auto")
    equal(page.js(back), light, "the system's background")


def chinese(page, shot):
    """Everything the page says is Chinese, and the language is named."""
    choose(page, "language", "zh")
    equal(page.js("document.documentElement.lang"), "zh-CN", "lang")
    english = re.compile(r"[A-Za-z]{4,}")
    names = page.js("""[...document.querySelectorAll("[data-t], [data-t-label], [data-t-hint], label span:not(.select), h2, h3, legend")]
        .filter((node) => !node.closest("#messages, .card, #list, .brand"))
        .map((node) => node.dataset.tLabel ? node.getAttribute("aria-label") : node.dataset.tHint ? node.placeholder : node.textContent)""")
    left = [name for name in names if name and english.search(name.replace("Markdown", "").replace("JSON", ""))]
    true(not left, f"still English: {left[:5]}")
    page.js("document.getElementById('new').click()")
    say(page, "什么是布隆过滤器？")
    shot("chinese")
    page.js("document.getElementById('settings').click()")
    shot("chinese-settings")
    contrast(page, "Chinese settings")
    page.key("Escape")
    page.call("Page.reload")
    page.until("document.readyState === 'complete' && document.getElementById('model')?.value", "the reload")
    equal(page.js("document.documentElement.lang"), "zh-CN", "lang after a reload")
    choose(page, "language", "en")
    equal(page.js("document.documentElement.lang"), "en", "lang")


def phone(page, shot):
    """At 390 pixels nothing is wider than the screen; the list lies over the page and gives the focus back."""
    page.size(390, 780, touch=True)
    wide = page.js("""[...document.querySelectorAll("main *, main")].filter((node) => node.checkVisibility()
        && node.getBoundingClientRect().right > innerWidth + 1 && !node.closest("pre, .table, svg, .hidden-visually")).map((node) => node.className || node.tagName).slice(0, 5)""")
    true(not wide, f"wider than the screen: {wide}")
    true(page.js("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways")
    shot("phone")
    # The page hears of its new width with the next frame.
    page.until("document.getElementById('sidebar').inert", "the hidden list to be out of the reach of Tab")
    page.click("#list-open")
    page.until("!document.getElementById('sidebar').inert && document.getElementById('main').inert", "the list")
    page.until("document.getElementById('sidebar').getBoundingClientRect().left > -2", "the list to be in sight")
    shot("phone-list")
    page.key("Escape")
    page.until("document.getElementById('sidebar').inert && document.activeElement.id === 'list-open'", "Escape to hide the list")
    small = page.js("""[...document.querySelectorAll("main button, main select")].filter((node) => node.checkVisibility())
        .filter((node) => { const box = node.getBoundingClientRect(); return box.width < 24 || box.height < 24; }).map((node) => node.id || node.className)""")
    true(not small, f"too small to touch: {small}")
    page.js("document.getElementById('settings').click()")
    shot("phone-settings")
    page.key("Escape")
    page.click("#list-open")
    page.until("document.getElementById('sidebar').getBoundingClientRect().left > -2", "the list to be in sight")
    page.js("document.getElementById('new').click()")
    page.until("document.activeElement.id === 'input'", "the message field after a new conversation")
    shot("phone-first")
    page.size(1280, 860)
    page.until("!document.getElementById('sidebar').inert", "the list on a wide screen")


def names(page):
    """Every control has a name for a screen reader; the landmarks and the log are there."""
    page.js("document.getElementById('settings').click()")
    found = page.names()
    page.key("Escape")
    found += page.names()
    controls = [pair for pair in found if pair[0] not in ("log", "article")]
    nameless = [role for role, name in controls if not name.strip()]
    true(not nameless, f"without a name: {nameless}")
    true(len(controls) > 25, f"only {len(controls)} controls found")
    for role in ("navigation", "log", "dialog", "spinbutton", "radio", "combobox", "searchbox", "textbox"):
        true(any(role == known for known, _ in found), f"no {role} in the accessibility tree")


def texts(folder):
    """Both languages have the same texts with the same fields, and the page uses every one of them."""
    sources = {name: open(os.path.join(folder, name), encoding="utf-8").read() for name in os.listdir(folder) if name.endswith((".js", ".html"))}
    tables = []
    for table in re.findall(r"const (?:ENGLISH|CHINESE) = \{(.*?)\n\};", sources.pop("text.js"), re.S):
        tables.append({key: sorted(re.findall(r"\{(\w+)\}", text)) for key, text in re.findall(r'^  (\w+): "(.*)",$', table, re.M)})
    equal(len(tables), 2, "tables of texts")
    true(len(tables[0]) > 80, f"only {len(tables[0])} texts found")
    equal(tables[0], tables[1], "the texts and their fields")
    used = set(re.findall(r"\w+", " ".join(sources.values())))
    unused = [key for key in tables[0] if key not in used]
    true(not unused, f"texts that nothing uses: {unused}")
    return f"{len(tables[0])} texts"


def motion(page):
    page.media(prefers_reduced_motion="reduce")
    moving = page.js("""(() => { const dot = document.createElement("span"); dot.className = "dots"; dot.append(document.createElement("i"));
        document.body.append(dot); const name = getComputedStyle(dot.firstChild).animationName; dot.remove();
        return name + getComputedStyle(document.getElementById("sidebar")).transitionDuration; })()""")
    page.media(prefers_reduced_motion="no-preference")
    equal(moving, "none0s", "animation and transition with reduced motion")


def speaks_chinese(page):
    """A browser that asks for Chinese gets it without a choice."""
    page.until("document.documentElement.lang === 'zh-CN'", "Chinese")
    if "电脑" not in page.js("document.querySelector('.where').textContent"):
        raise PageError("the first line is not Chinese")
