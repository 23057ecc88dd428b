"""Drives one headless Chromium over its debugging pipe (--remote-debugging-pipe), with the standard library alone."""

import base64
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time


class PageError(Exception):
    """The browser or the page did not do what was asked of it."""


def find_chromium():
    for name in (os.environ.get("CHROMIUM"), "chromium", "chromium-browser", "google-chrome"):
        path = name and shutil.which(name)
        if path:
            return path
    raise PageError("no Chromium found: install Debian's package chromium, or name one in CHROMIUM")


class Browser:
    """A Chromium with a profile of its own, gone when it is closed."""

    def __init__(self, language="en-US"):
        self.profile = tempfile.mkdtemp(prefix="qwip-page-")
        to_browser, self._out = os.pipe()
        self._in, from_browser = os.pipe()

        def pipes():
            # Chromium reads from 3 and writes to 4; above 10 nothing of the two is in the way.
            read, write = os.dup(to_browser), os.dup(from_browser)
            os.dup2(read, 30)
            os.dup2(write, 31)
            os.dup2(30, 3)
            os.dup2(31, 4)

        self.process = subprocess.Popen(
            [
                find_chromium(), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
                "--disable-extensions", "--hide-scrollbars", "--mute-audio", f"--lang={language}",
                f"--user-data-dir={self.profile}", "--remote-debugging-pipe", "about:blank",
            ],
            preexec_fn=pipes, close_fds=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._last = 0
        self._answers = {}
        self._wake = threading.Condition()
        self._closed = False
        self.listeners = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        rest = b""
        while True:
            try:
                piece = os.read(self._in, 1 << 20)
            except OSError:
                piece = b""
            if not piece:
                break
            *whole, rest = (rest + piece).split(b"\0")
            for text in whole:
                message = json.loads(text)
                if "id" in message:
                    with self._wake:
                        self._answers[message["id"]] = message
                        self._wake.notify_all()
                else:
                    for listener in self.listeners:
                        listener(message)
        with self._wake:
            self._closed = True
            self._wake.notify_all()

    def call(self, method, parameters=None, session=None, timeout=60):
        with self._wake:
            self._last += 1
            number = self._last
        message = {"id": number, "method": method, "params": parameters or {}}
        if session:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        with self._wake:
            if not self._wake.wait_for(lambda: number in self._answers or self._closed, timeout):
                raise PageError(f"{method}: no answer within {timeout} s")
            if number not in self._answers:
                raise PageError(f"{method}: Chromium has ended")
            answer = self._answers.pop(number)
        if "error" in answer:
            raise PageError(f"{method}: {answer['error'].get('message')}")
        return answer.get("result", {})

    def close(self):
        try:
            self.call("Browser.close", timeout=10)
        except (PageError, OSError):
            pass
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self._out)
        shutil.rmtree(self.profile, ignore_errors=True)


KEYS = {
    "Enter": (13, "\r"), "Tab": (9, ""), "Escape": (27, ""), "ArrowDown": (40, ""), "ArrowUp": (38, ""), " ": (32, " "),
    "Backspace": (8, ""), "PageUp": (33, ""), "PageDown": (34, ""),
}
SHIFT = 8


class Page:
    """One tab, in a context of its own unless one is given (tabs of a context share storage). Notes what it asks for and what it complains of."""

    def __init__(self, browser, width=1280, height=860, context=None):
        self.browser = browser
        self.own = context is None  # a context of another tab is that tab's to close
        self.context = context or browser.call("Target.createBrowserContext")["browserContextId"]
        self.target = browser.call("Target.createTarget", {"url": "about:blank", "browserContextId": self.context})["targetId"]
        self.session = browser.call("Target.attachToTarget", {"targetId": self.target, "flatten": True})["sessionId"]
        self.requests = []  # (url, method, body)
        self.complaints = []  # console errors, exceptions, breaches of the policy
        self.kinds = []  # the media types of the chat answers
        self.dialogs = []  # alert() and the like
        browser.listeners.append(self._event)
        for domain in ("Page", "Runtime", "Network", "Log", "DOM", "Accessibility"):
            self.call(f"{domain}.enable")
        self.size(width, height)

    def call(self, method, parameters=None, timeout=60):
        return self.browser.call(method, parameters, self.session, timeout)

    def _event(self, message):
        if message.get("sessionId") != self.session:
            return
        method, values = message["method"], message["params"]
        if method == "Network.requestWillBeSent":
            request = values["request"]
            self.requests.append((request["url"], request["method"], request.get("postData")))
        elif method == "Network.responseReceived" and values["response"]["url"].endswith("/v1/chat/completions"):
            self.kinds.append(values["response"]["mimeType"])
        elif method == "Runtime.exceptionThrown":
            details = values["exceptionDetails"]
            self.complaints.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Log.entryAdded" and values["entry"]["level"] in ("error", "warning"):
            self.complaints.append(f"{values['entry']['text']} {values['entry'].get('url', '')}")
        elif method == "Runtime.consoleAPICalled" and values["type"] in ("error", "warning", "assert"):
            self.complaints.append(" ".join(str(part.get("value", part.get("description"))) for part in values["args"]))
        elif method == "Page.javascriptDialogOpening":
            self.dialogs.append(values["message"])
            threading.Thread(target=self.call, args=("Page.handleJavaScriptDialog", {"accept": True}), daemon=True).start()

    def js(self, expression, timeout=60):
        """The value of an expression in the page; promises are waited for."""
        answer = self.call("Runtime.evaluate", {"expression": expression, "awaitPromise": True, "returnByValue": True}, timeout)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise PageError(details.get("exception", {}).get("description") or details["text"])
        return answer["result"].get("value")

    def until(self, expression, what, timeout=20):
        """Waits until an expression is true."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            value = self.js(f"Boolean({expression})")
            if value:
                return
            time.sleep(0.03)
        raise PageError(f"waited {timeout} s for {what}")

    def open(self, url):
        self.call("Page.navigate", {"url": url})
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'", f"{url} to load")

    def size(self, width, height, touch=False):
        self.call("Emulation.setDeviceMetricsOverride", {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": touch})

    def media(self, **features):
        """For example media(prefers_color_scheme="dark")."""
        values = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.call("Emulation.setEmulatedMedia", {"features": values})

    def key(self, name, shift=False, code=None):
        number, text = KEYS[name]
        event = {"key": name, "code": "Space" if name == " " else name, "windowsVirtualKeyCode": code or number, "modifiers": SHIFT if shift else 0}
        if text and code is None:
            event["text"] = text
        self.call("Input.dispatchKeyEvent", {**event, "type": "keyDown" if "text" in event else "rawKeyDown"})
        event.pop("text", None)
        self.call("Input.dispatchKeyEvent", {**event, "type": "keyUp"})

    def type(self, text):
        self.call("Input.insertText", {"text": text})

    def click(self, selector):
        """A real click in the middle of an element, which must be where a pointer can reach it."""
        place = self.js(f"""(() => {{
            const node = document.querySelector({json.dumps(selector)});
            if (!node) return null;
            node.scrollIntoView({{ block: "nearest" }});
            const box = node.getBoundingClientRect();
            return [box.x + box.width / 2, box.y + box.height / 2];
        }})()""")
        if place is None:
            raise PageError(f"nothing matches {selector}")
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", {"type": kind, "x": place[0], "y": place[1], "button": "left" if kind != "mouseMoved" else "none", "clickCount": 1})

    def screenshot(self, path):
        data = self.call("Page.captureScreenshot", {"format": "png"})["data"]
        with open(path, "wb") as file:
            file.write(base64.b64decode(data))

    def names(self):
        """Role and name of every control in the accessibility tree."""
        nodes = self.call("Accessibility.getFullAXTree")["nodes"]
        roles = {"button", "textbox", "searchbox", "combobox", "link", "checkbox", "radio", "spinbutton", "dialog", "alertdialog", "navigation", "DisclosureTriangle", "region", "article", "log"}
        found = []
        for node in nodes:
            role = node.get("role", {}).get("value")
            if not node.get("ignored") and role in roles:
                found.append((role, node.get("name", {}).get("value", "")))
        return found

    def bodies(self, path="/v1/chat/completions"):
        """The JSON bodies sent to a path, in order."""
        return [json.loads(body) for url, method, body in self.requests if method == "POST" and url.endswith(path) and body]

    def close(self):
        self.browser.listeners.remove(self._event)
        if self.own:
            self.browser.call("Target.disposeBrowserContext", {"browserContextId": self.context})
        else:
            self.browser.call("Target.closeTarget", {"targetId": self.target})


