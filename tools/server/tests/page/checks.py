"""What holds with every model: the checks that `test_page.py` runs against the server it is given. Each takes the tab
and leaves it usable for the next; a check that fails raises."""

import glob
import json
import os
import time

from cdp import PageError

ANSWERS = "document.querySelectorAll('.answer').length"
IDLE = "document.getElementById('stop').hidden"
DONE = f"{IDLE} && document.querySelector('#messages > :last-child')?.getAttribute('aria-busy') === 'false'"
INPUT = "document.getElementById('input')"


def equal(got, wanted, what):
    if got != wanted:
        raise PageError(f"{what}: {got!r} instead of {wanted!r}")


def true(value, what):
    if not value:
        raise PageError(what)


def say(page, text, wait=True):
    """Writes a message and sends it with Enter."""
    before = len(page.bodies())
    page.js(f"{INPUT}.focus()")
    page.type(text)
    page.key("Enter")
    page.until(f"document.querySelectorAll('.user').length > 0 && {INPUT}.value === ''", "the message to be sent")
    if wait:
        page.until(DONE, "the answer", 120)
        true(len(page.bodies()) > before, "nothing was sent to the server")


def choose(page, select, value):
    page.js(f"(() => {{ const node = document.getElementById({json.dumps(select)}); node.value = {json.dumps(value)}; node.dispatchEvent(new Event('change', {{ bubbles: true }})); }})()")


def fresh(page):
    page.click("#new")
    page.until("document.querySelectorAll('.message').length === 0", "an empty conversation")


def first_visit(page, shot):
    page.until("document.querySelectorAll('#model option').length > 0 && document.getElementById('model').value", "the list of models")
    equal(page.js("document.querySelector('.local .where').textContent"), "Answers are made on this computer.", "the first line")
    equal(page.js("document.activeElement.id"), "input", "the focus")
    equal(page.js("document.documentElement.lang"), "en", "the language")
    true(page.js("document.querySelectorAll('main, nav, h1').length === 3"), "main, nav and one h1 are missing")
    true(page.js("document.getElementById('send').disabled"), "an empty message could be sent")
    shot("first")


def policy(page, url):
    value = page.js(f"fetch({json.dumps(url)}).then((answer) => answer.headers.get('content-security-policy'))")
    true(value, "the page has no Content-Security-Policy")
    for part in ("default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'"):
        true(part in value, f"the policy lacks {part}: {value}")


def keyboard(page):
    """Tab goes through every control in the order of the page, each with a visible focus; the first leads to the message."""
    page.js("document.activeElement.blur()")
    seen = []
    for _ in range(60):
        page.key("Tab")
        name = page.js("(() => { const node = document.activeElement; return node === document.body ? '' : node.id || node.className || node.tagName; })()")
        if not name and not seen:
            continue  # from the end of the page to its beginning
        if not name or name in seen:
            break
        ring = page.js("(() => { const style = getComputedStyle(document.activeElement); const near = document.activeElement.closest('.composer'); return style.outlineStyle !== 'none' || (near && getComputedStyle(near).boxShadow !== 'none'); })()")
        true(ring, f"{name} shows no focus")
        seen.append(name)
    wanted = ["skip", "new", "search", "theme", "language", "import", "model", "export", "settings", "scroll", "input"]
    equal([name for name in seen if name in wanted], wanted, "the order of Tab")
    page.js("document.activeElement.blur()")
    page.js("document.getElementById('skip').focus()")
    page.key("Enter")
    equal(page.js("document.activeElement.id"), "input", "the skip link")
    page.js("document.getElementById('settings').focus()")
    page.key("Enter")
    page.until("document.getElementById('panel').open", "the settings to open by key")
    page.key("Escape")
    page.until("!document.getElementById('panel').open", "Escape to close the settings")
    equal(page.js("document.activeElement.id"), "settings", "the focus after the settings")


def composition(page):
    """Enter that ends the composition of an input method does not send."""
    page.js(f"{INPUT}.focus()")
    page.call("Input.imeSetComposition", {"text": "ni hao", "selectionStart": 6, "selectionEnd": 6})
    page.key("Enter", code=229)
    equal(page.js("document.querySelectorAll('.message').length"), 0, "messages sent by the Enter of an input method")
    # Browsers say it in two ways: Safari's last Enter has only the key code.
    for way in ("isComposing: true", "keyCode: 229"):
        page.js(f"{INPUT}.dispatchEvent(new KeyboardEvent('keydown', {{ key: 'Enter', {way}, bubbles: true, cancelable: true }}))")
        equal(page.js("document.querySelectorAll('.message').length"), 0, f"messages sent by Enter with {way}")
    page.type("你好")
    equal(page.js(f"{INPUT}.value"), "你好", "the composed text")
    page.js(f"{INPUT}.value = ''; {INPUT}.dispatchEvent(new Event('input'))")
    true(not page.bodies(), "something was sent")


def conversation(page, shot):
    """Shift+Enter makes a line, Enter sends; the answer comes piece by piece; only what is set is sent."""
    page.js("""window.lengths = new Set();
        new MutationObserver(() => lengths.add(document.querySelector('.answer .markdown')?.textContent.length ?? 0))
            .observe(document.getElementById('messages'), { childList: true, subtree: true, characterData: true })""")
    page.until("document.getElementById('model').value", "the models")
    page.js(f"{INPUT}.focus()")
    page.type("Tell me a short story.")
    page.key("Enter", shift=True)
    equal(page.js("document.querySelectorAll('.message').length"), 0, "messages sent by Shift+Enter")
    page.type("Two sentences.")
    page.key("Enter")
    page.until(f"{ANSWERS} === 1", "the answer's place")
    page.until(DONE, "the answer", 120)
    equal(page.js("document.querySelector('.bubble').textContent"), "Tell me a short story.\nTwo sentences.", "the message")
    true(page.js("document.querySelector('.answer .markdown').textContent.trim().length > 0"), "the answer is empty")
    steps = page.js("lengths.size")
    true(steps >= 2, f"the answer came in {steps} steps")
    equal(page.kinds[-1], "text/event-stream", "the type of the answer")
    true("tokens/s" in page.js("document.querySelector('.measured').textContent"), "the answer has no speed")
    page.until("document.getElementById('facts').textContent.includes('tokens/s')", "the speed beside the model", 5)
    body = page.bodies()[-1]
    equal(sorted(body), ["messages", "model", "stream", "stream_options"], "what is sent without settings")
    equal(body["messages"], [{"role": "user", "content": "Tell me a short story.\nTwo sentences."}], "the messages sent")
    shot("answer")


def history(page):
    """A second turn sends role and content of the first, nothing else."""
    say(page, "And now another one.")
    sent = page.bodies()[-1]["messages"]
    equal([message["role"] for message in sent], ["user", "assistant", "user"], "the roles sent")
    true(all(sorted(message) == ["content", "role"] for message in sent), "more than role and content was sent")


def regenerate(page):
    before = page.bodies()[-1]["messages"]
    sent = len(page.bodies())
    page.click(".answer:last-child [aria-label='Answer again']")
    page.until(DONE, "the new answer", 120)
    equal(len(page.bodies()), sent + 1, "requests")
    equal(page.bodies()[-1]["messages"], before, "the messages sent again")
    equal(page.js(ANSWERS), 2, "answers")


def edit(page):
    """Editing the first message drops what followed it."""
    page.click(".user [aria-label='Edit message']")
    page.until("document.activeElement.matches('.editor textarea')", "the editor to have the focus")
    page.key("Escape")
    page.until("!document.querySelector('.editor')", "Escape to close the editor")
    page.click(".user [aria-label='Edit message']")
    page.js("document.activeElement.select()")
    page.type("Write one line about rivers.")
    page.key("Enter")
    page.until(f"{ANSWERS} === 1 && {DONE}", "the answer to the edited message", 120)
    equal(page.bodies()[-1]["messages"], [{"role": "user", "content": "Write one line about rivers."}], "the messages sent")


def settings(page, shot):
    """Settings are sent when set, within their ranges, and shown as wrong when not."""
    page.click("#settings")
    page.until("document.getElementById('panel').open", "the settings")
    true(page.js("document.querySelectorAll('#card dd').length >= 3"), "the model card is empty")
    values = {"temperature": "0.7", "top_p": "0.9", "top_k": "20", "min_p": "0.05", "presence_penalty": "0.5", "repeat_penalty": "1.1", "seed": "7", "max_tokens": "24"}
    for name, value in values.items():
        page.js(f"document.getElementById('set-{name}').focus()")
        page.type(value)
    page.js("document.getElementById('system').focus()")
    page.type("Answer briefly.")
    page.js("document.getElementById('set-top_p').focus(); document.activeElement.select()")
    page.type("7")
    equal(page.js("document.getElementById('set-top_p').getAttribute('aria-invalid')"), "true", "a top-p of 7 marked")
    true(page.js("document.getElementById('wrong-top_p').textContent"), "no word about a top-p of 7")
    shot("settings")
    page.key("Escape")
    say(page, "Hello.")
    body = page.bodies()[-1]
    equal({name: body.get(name) for name in values}, {name: json.loads(value) for name, value in values.items()}, "the settings sent")
    equal(body["messages"][0], {"role": "system", "content": "Answer briefly."}, "the system prompt sent")
    page.click("#settings")
    page.click("#reset")
    page.js("document.getElementById('system').focus(); document.activeElement.select()")
    page.key("Backspace")
    page.key("Escape")
    say(page, "Hello again.")
    equal(sorted(page.bodies()[-1]), ["messages", "model", "stream", "stream_options"], "what is sent after the reset")


def picker(page):
    """Every chat model can be chosen, and the choice is sent and kept."""
    names = page.js("[...document.querySelectorAll('#model option')].map(({ value }) => value)")
    listed = page.js("fetch('/v1/models').then((answer) => answer.json())")["data"]
    chat = [entry["id"] for entry in listed if entry.get("meta", {}).get("task", "chat") == "chat"]
    equal(names, chat, "the models to choose from")
    choose(page, "model", names[-1])
    say(page, "Hello from here.")
    equal(page.bodies()[-1]["model"], names[-1], "the model sent")
    fresh(page)
    equal(page.js("document.getElementById('model').value"), names[-1], "the model of a new conversation")
    choose(page, "model", names[0])
    page.js("history.back()")
    page.until("document.querySelectorAll('.message').length > 0", "the conversation, by going back")
    equal(page.js("document.getElementById('model').value"), names[-1], "the conversation's model")


def reload(page):
    before = page.js("[...document.querySelectorAll('.message .bubble, .message .markdown')].map(({ textContent }) => textContent)")
    page.call("Page.reload")
    time.sleep(0.3)
    page.until(f"document.querySelectorAll('.message').length > 0", "the conversation after a reload")
    after = page.js("[...document.querySelectorAll('.message .bubble, .message .markdown')].map(({ textContent }) => textContent)")
    equal(after, before, "the messages after a reload")
    page.until("document.querySelector('#list [aria-current=true]')", "the conversation in the list")
    page.until("document.getElementById('model').value", "the models after a reload")


def files(page, folder):
    """Exports as Markdown and JSON, reads the JSON back, refuses what is not one."""
    page.browser.call("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": folder, "browserContextId": page.context})
    texts = {}
    for kind in ("json", "markdown"):
        page.click("#export")
        page.until("document.querySelector('#export-menu:popover-open')", "the export menu")
        page.click(f"#export-{kind}")
        end = time.monotonic() + 15
        extension = "md" if kind == "markdown" else "json"
        while not (found := glob.glob(os.path.join(folder, f"*.{extension}"))) and time.monotonic() < end:
            time.sleep(0.05)
        true(found, f"no .{extension} was saved")
        time.sleep(0.2)
        texts[extension] = open(found[0], encoding="utf-8").read()
        if extension == "json":
            saved = found[0]
    value = json.loads(texts["json"])
    words = page.js("document.querySelector('.bubble').textContent")
    equal(value["format"], "qwip-conversation", "the format")
    equal(value["messages"][0]["content"], words, "the first message of the file")
    true(words in texts["md"] and texts["md"].startswith("# "), "the Markdown lacks the conversation")

    def load(path):
        node = page.call("DOM.querySelector", {"nodeId": page.call("DOM.getDocument")["root"]["nodeId"], "selector": "#import-file"})
        page.call("DOM.setFileInputFiles", {"files": [path], "nodeId": node["nodeId"]})

    count = page.js("document.querySelectorAll('#list li').length")
    shown = page.js("document.querySelectorAll('.message').length")
    load(saved)
    page.until(f"document.querySelectorAll('#list li').length === {count + 1}", "the imported conversation")
    equal(page.js("document.querySelectorAll('.message').length"), shown, "imported messages")
    wrong = {"not JSON": "{", "format": json.dumps({"format": "x"}), "messages[0].role": json.dumps({**value, "messages": [{"role": "root", "content": ""}]}), "messages[0].content": json.dumps({**value, "messages": [{"role": "user", "content": 1}]}), "version": json.dumps({**value, "version": 2})}
    for reason, text in wrong.items():
        path = os.path.join(folder, "wrong.json")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        load(path)
        page.until(f"document.getElementById('toast').textContent.includes({json.dumps(reason)})", f"a word about {reason}", 5)
    equal(page.js("document.querySelectorAll('#list li').length"), count + 1, "conversations after wrong files")


def listed(page):
    """Rename, search, delete and undo."""
    page.js("document.querySelector('#list .here [aria-label^=Rename]').click()")
    page.until("document.getElementById('rename').open", "the title's dialog")
    page.type("Zebra crossing")
    page.key("Enter")
    page.until("document.querySelector('#list .here .open').textContent === 'Zebra crossing'", "the new title")
    equal(page.js("document.title"), "Zebra crossing – qwip", "the page's title")
    page.js("document.getElementById('search').focus()")
    page.type("zebra")
    page.until("document.querySelectorAll('#list li').length === 1", "the search to find one")
    page.type(" no such words")
    page.until("document.querySelectorAll('#list li').length === 0", "the search to find none")
    page.js("document.getElementById('search').value = ''; document.getElementById('search').dispatchEvent(new Event('input'))")
    page.until("document.querySelectorAll('#list li').length > 1", "all again")
    count = page.js("document.querySelectorAll('#list li').length")
    page.js("document.querySelector('#list .here [aria-label^=Delete]').click()")
    page.until(f"document.querySelectorAll('#list li').length === {count - 1}", "the conversation to go")
    equal(page.js("document.querySelectorAll('.message').length"), 0, "messages of the deleted conversation")
    page.click("#toast button")
    page.until(f"document.querySelectorAll('#list li').length === {count} && document.querySelectorAll('.message').length > 0", "the conversation to come back")
