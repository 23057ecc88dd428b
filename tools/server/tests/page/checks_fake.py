"""What needs answers that no model gives on demand: thinking, a slow stream, hostile and huge texts, failures. These
run against `fake_server.py`."""

import json
import time

from cdp import PageError
from checks import ANSWERS, DONE, INPUT, equal, fresh, say, true

BIG = ("line", "solid", "quotes", "lists", "stars", "ticks", "brackets", "angles", "table", "items", "rules", "fences")
MAX_ELEMENTS = 12_000


def thinking(page, shot):
    """The fold is open while thoughts come and closed afterwards; thoughts are not sent back."""
    fresh(page)
    say(page, "think about bloom filters", wait=False)
    page.until("document.querySelector('.thoughts')?.open && document.querySelector('.thoughts-text').textContent.length > 60", "open thoughts")
    equal(page.js("document.querySelector('.thoughts summary').textContent"), "Thinking", "the fold's name")
    shot("thinking")
    page.until("document.querySelector('.answer .markdown')?.textContent.length > 20", "the answer after the thoughts")
    page.until("!document.querySelector('.thoughts').open", "the fold to close")
    page.until(DONE, "the answer")
    true(page.js("document.querySelector('.thoughts summary').textContent").startswith("Thought for "), "the fold does not say how long")
    page.click(".thoughts summary")
    page.until("document.querySelector('.thoughts').open", "the fold to open again")
    shot("thought")
    say(page, "Go on.")
    true("reasoning" not in json.dumps(page.bodies()[-1]), "thoughts were sent back")
    for value, sent in (("off", {"enable_thinking": False}), ("on", {"enable_thinking": True}), ("auto", None)):
        page.js(f"document.getElementById('settings').click(); document.querySelector('#think [value={value}]').click()")
        page.key("Escape")
        say(page, "think again")
        equal(page.bodies()[-1].get("chat_template_kwargs"), sent, f"what thinking {value} sends")


def stop(page, server):
    """The button and Escape stop; what has come stays, also after a reload, and the server hears of it."""
    fresh(page)
    for way in ("button", "Escape"):
        aborted = server.aborted
        say(page, "slow please", wait=False)
        page.until("(document.querySelector('.answer:last-child .markdown')?.textContent.length ?? 0) > 100", "words")
        if way == "button":
            page.click("#stop")
        else:
            page.key("Escape")
        page.until(DONE, "the stop", 5)
        true(page.js("document.querySelector('.answer:last-child .note').textContent") == "Stopped", "no word about the stop")
        end = time.monotonic() + 5
        while server.aborted == aborted and time.monotonic() < end:
            time.sleep(0.05)
        true(server.aborted > aborted, f"the server was not told ({way})")
    kept = page.js("document.querySelector('.answer:last-child .markdown').textContent")
    true(len(kept) > 100, "the partial answer is gone")
    page.call("Page.reload")
    time.sleep(0.3)
    page.until(f"{ANSWERS} === 2", "the conversation after a reload")
    equal(page.js("document.querySelector('.answer:last-child .markdown').textContent"), kept, "the partial answer")
    page.until("document.getElementById('model').value", "the models")


def background(page):
    """An answer goes on while another conversation is on show, and two can be made at once."""
    fresh(page)
    say(page, "lines in the first", wait=False)
    page.until("document.querySelector('.answer .markdown')?.childElementCount > 3", "lines")
    fresh(page)
    true(page.js("document.getElementById('stop').hidden"), "the new conversation shows a stop button")
    say(page, "A second one.")
    page.js("[...document.querySelectorAll('#list .open')].find((node) => node.textContent.startsWith('lines in')).click()")
    page.until(f"{DONE} && document.querySelector('.bubble').textContent.startsWith('lines in')", "the first answer")
    true(page.js("document.querySelector('.answer .markdown').childElementCount") == 120, "lines are missing")


def scrolling(page):
    """The page goes along while the reader is at the end, stays where the reader went, and has a way back."""
    fresh(page)
    page.js("""window.lengths = new Set();
        new MutationObserver(() => lengths.add(document.querySelector('.answer .markdown')?.textContent.length ?? 0))
            .observe(document.getElementById('messages'), { childList: true, subtree: true, characterData: true })""")
    say(page, "lines and lines", wait=False)
    end = "(() => { const box = document.getElementById('scroll'); return box.scrollHeight - box.scrollTop - box.clientHeight; })()"
    page.until("document.getElementById('scroll').scrollHeight > 1500", "a long answer")
    true(page.js(end) < 40, "the page did not go along")
    page.js("document.getElementById('scroll').scrollTop = 200")
    page.until("!document.getElementById('to-end').hidden", "the way back")
    page.until(DONE, "the answer")
    equal(page.js("document.getElementById('scroll').scrollTop"), 200, "where the reader was")
    true(page.js("lengths.size") > 20, "the answer did not stream")
    page.js(f"{INPUT}.focus()")
    page.key("PageDown")
    true(page.js("document.getElementById('scroll').scrollTop") > 400, "Page Down in the message field does not scroll")
    page.click("#to-end")
    page.until(f"{end} < 40", "the end")


def spoken(page):
    """A screen reader hears finished sentences, not every piece."""
    fresh(page)
    page.js("document.getElementById('spoken').replaceChildren()")
    say(page, "slow sentences", wait=False)
    page.until("document.getElementById('spoken').childElementCount > 5", "sentences")
    page.key("Escape")
    page.until(DONE, "the stop", 5)
    lines = page.js("[...document.querySelectorAll('#spoken p')].map(({ textContent }) => textContent)")
    equal(lines[1], "word0 word1 word2 word3 word4 word5 word6 word7.", "the first sentence")
    equal(lines[-1], "Stopped", "the last word")


def hostile(page, shot):
    """Nothing in an answer becomes anything but text, harmless elements and safe links."""
    fresh(page)
    requests = len(page.requests)
    say(page, "hostile please")
    time.sleep(0.5)
    true(not page.dialogs, f"an alert was shown: {page.dialogs}")
    equal(page.js("window.pwned"), None, "what a script would have set")
    tags = page.js("[...new Set([...document.querySelectorAll('.answer .markdown *')].map(({ localName }) => localName))]")
    bad = set(tags) - {"p", "a", "code", "pre", "div", "span", "button", "svg", "use", "table", "thead", "tbody", "tr", "th", "td", "strong", "em", "del", "br"}
    true(not bad, f"elements that should not be: {bad}")
    links = page.js("[...document.querySelectorAll('.answer a')].map((node) => [node.href, node.rel, node.target, node.getAttributeNames().join()])")
    true(len(links) >= 5, f"only {len(links)} safe links")
    for href, rel, target, attributes in links:
        true(href.split(":")[0] in ("http", "https", "mailto"), f"a link to {href}")
        equal((rel, target, attributes), ("noopener noreferrer", "_blank", "href,target,rel,title"), "a link's attributes")
    wanted = "https://example.com/a_(b)?c=d"
    true(any(link[0] == wanted for link in links), f"no link to {wanted}: {[link[0] for link in links]}")
    other = [url for url, _, _ in page.requests[requests:] if "evil" in url or "example" in url]
    true(not other, f"fetched: {other}")
    true("<script>window.pwned = 1; alert(1)</script>" in page.js("document.querySelector('.answer').textContent"), "the text is not shown")
    shot("hostile")


def big(page):
    """Huge and deeply nested texts are rendered, with a bounded number of elements, in bounded time."""
    slowest = ("", 0.0)
    for name in BIG:
        fresh(page)
        # The longest time in which the page could not answer to the reader.
        page.js("""window.longest = 0; clearInterval(window.beat); window.beatAt = performance.now();
            window.beat = setInterval(() => { const now = performance.now(); longest = Math.max(longest, now - beatAt); beatAt = now; }, 20)""")
        say(page, f"big {name}", wait=False)
        page.until(DONE, f"big {name}", 60)
        time.sleep(0.1)
        held = page.js("longest") / 1000
        if held > slowest[1]:
            slowest = (name, held)
        true(held < 5, f"big {name} held the page for {held:.1f} s")
        elements = page.js("document.querySelectorAll('.answer *').length")
        true(elements < MAX_ELEMENTS, f"big {name} made {elements} elements")
        true(page.js("document.querySelector('.answer .markdown').textContent.length > 1000"), f"big {name} shows nothing")
        page.js("clearInterval(window.beat)")
    fresh(page)
    return f"longest pause {slowest[1]:.2f} s, {slowest[0]}"


def failures(page, shot):
    """An error in the stream, a broken stream, a refused prompt and an empty answer are told, and what came stays."""
    fresh(page)
    say(page, "error now")
    true("layer 3" in page.js("document.querySelector('.failure').textContent"), "the server's words are missing")
    true("A start" in page.js("document.querySelector('.answer .markdown').textContent"), "what came before the error is gone")
    shot("error")
    before = len(page.bodies())
    page.click(".failure button")
    page.until(f"document.querySelector('.failure') && {DONE}", "the second try")
    equal(len(page.bodies()), before + 1, "requests after trying again")
    fresh(page)
    say(page, "break now")
    true("broke" in page.js("document.querySelector('.failure').textContent"), "no word about the broken connection")
    fresh(page)
    say(page, "too long by far")
    words = page.js("document.querySelector('.failure').textContent")
    page.until("!document.querySelector('#list li.running')", "the list")
    true("50000" in words and "40960" in words and "-c" in words, f"a too long prompt: {words}")
    say(page, "Shorter.")
    equal([message["role"] for message in page.bodies()[-1]["messages"]], ["user", "user"], "the roles after a failed turn")
    fresh(page)
    say(page, "too long again")
    page.call("Page.reload")
    time.sleep(0.3)
    page.until("document.querySelector('.user') && document.getElementById('model')?.value", "the message after a reload")
    before = len(page.bodies())
    page.click(".user [aria-label='Answer again']")
    page.until(f"document.querySelector('.failure') && {DONE}", "another try")
    equal(len(page.bodies()), before + 1, "requests for a message without an answer")
    fresh(page)
    say(page, "empty")
    equal(page.js("document.querySelector('.note').textContent"), "The answer is empty.", "the note")


def gone(page, server_factory, server):
    """Without its server the page says so, keeps the message, and goes on when the server is back."""
    fresh(page)
    port = server.server_address[1]
    server.close()
    say(page, "Is anybody there?", wait=False)
    page.until("document.querySelector('.failure')", "a word about the missing server")
    true("does not answer" in page.js("document.querySelector('.failure').textContent"), "the wrong word")
    server = server_factory(port)
    page.click(".failure button")
    page.until(f"!document.querySelector('.failure') && {DONE} && document.querySelector('.answer .markdown').textContent.length > 20", "the answer")
    return server


def key(page, url, wanted):
    """A server that wants a key gets it from a dialog; it is kept for the tab alone."""
    page.open(url)
    page.until("document.getElementById('key').open", "the question for the key")
    page.type("wrong")
    page.key("Enter")
    page.until("document.getElementById('key').open && !document.getElementById('key-wrong').hidden", "a word about the wrong key")
    page.type(wanted)
    page.key("Enter")
    page.until("document.getElementById('model').value", "the models")
    say(page, "Hello.")
    true(page.js("document.querySelector('.answer .markdown').textContent.length > 20"), "no answer")
    true(wanted not in page.js("JSON.stringify(localStorage)"), "the key is in localStorage")
    page.call("Page.reload")
    time.sleep(0.3)
    page.until("document.getElementById('model')?.value", "the models after a reload")
    true(not page.js("document.getElementById('key').open"), "the key is asked for again")


def two_tabs(page, other, url):
    """A conversation of one tab appears in the list of another."""
    other.open(url)
    other.until("document.getElementById('model')?.value", "the second tab")
    before = other.js("document.querySelectorAll('#list li').length")
    fresh(page)
    say(page, "From the first tab.")
    other.until(f"document.querySelectorAll('#list li').length === {before + 1}", "the conversation in the second tab")


def delete_all(page):
    page.click("#settings")
    page.click("#delete-all")
    page.until("document.getElementById('confirm').open", "the question")
    page.key("Escape")
    true(page.js("document.querySelectorAll('#list li').length") > 0, "Escape deleted everything")
    if page.js("!document.getElementById('panel').open"):
        raise PageError("Escape closed the settings too")
    page.click("#delete-all")
    page.click("#confirm [type=submit]")
    page.until("document.querySelectorAll('#list li').length === 0 && document.querySelectorAll('.message').length === 0", "nothing to be left")
    page.call("Page.reload")
    time.sleep(0.3)
    page.until("document.getElementById('model')?.value", "the reload")
    equal(page.js("document.querySelectorAll('#list li').length"), 0, "conversations after a reload")
    page.js(f"{INPUT}.focus()")
