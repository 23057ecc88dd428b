"""A stand-in for `qwip serve`: the page's files under the real policy, and scripted answers that no model gives on
demand. What the last message says chooses the answer (see `script`). Run it alone to look at the page:

    python3 fake_server.py [PORT]
"""

import http.server
import json
import os
import sys
import threading
import time

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "page")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
KINDS = {"html": "text/html; charset=utf-8", "css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}

MODELS = [
    ("qwen3-0.6b", {"architecture": "qwen3", "parameters": 596049920, "bytes": 396705472, "context": 40960, "type": "Q4_K_M", "task": "chat", "loaded": True, "memory_bytes": 471859200, "thinks": True}),
    ("builtin", {"architecture": "qwen2", "parameters": 1200000, "bytes": 1300000, "context": 2048, "type": "Q8_0", "task": "chat", "loaded": False, "memory_bytes": None, "thinks": False}),
    ("qwen3-embedding-0.6b", {"architecture": "qwen3", "parameters": 595776512, "bytes": 639150592, "context": 32768, "type": "Q8_0", "task": "embedding", "loaded": False, "memory_bytes": None, "thinks": False}),
]

ANSWER = """A **bloom filter** answers one question about a set: *is this element in it?* It says either “certainly not” or “probably yes”, and it needs only a few bits per element.

## How it works

1. Take an array of bits, all zero.
2. To add an element, hash it several times and set those bits.
3. To ask for an element, look at the same bits:
   - one of them is zero: it was never added
   - all are one: it was probably added

```python
def contains(bits, item, hashes):
    return all(bits[h(item) % len(bits)] for h in hashes)
```

| Bits per element | Wrong “yes” |
|---:|---:|
| 8 | 2.1 % |
| 10 | 0.8 % |
| 16 | 0.05 % |

> Elements cannot be removed again: a bit may belong to several of them.

Use `k = 7` hashes for 10 bits. More on [Wikipedia](https://en.wikipedia.org/wiki/Bloom_filter)."""

CHINESE = """**布隆过滤器**回答一个问题：*某个元素在集合里吗？*它要么说“一定不在”，要么说“很可能在”。

- 添加元素时，把几个哈希位置设为 1
- 查询时，只要有一位是 0，就一定没有添加过

每个元素用 10 位时，误判率约为 `0.8 %`。"""

HOSTILE = """<script>window.pwned = 1; alert(1)</script>
<img src=x onerror="window.pwned = 2"> <iframe src="https://evil.example/"></iframe> <style>body { display: none }</style>

[one](javascript:window.pwned=3) [two](JaVaScRiPt:alert(1)) [three](data:text/html,<script>alert(1)</script>)
[four](java\tscript:alert(1)) [five](vbscript:x) [six](//evil.example/x) [seven](/etc/passwd) <javascript:alert(1)>
[good](https://example.com/a_(b)?c=d "title") <https://example.org/> https://example.net/x. mailto: [mail](mailto:a@example.com)

![picture](https://evil.example/pixel.png) ![bad](javascript:alert(1)) ![x](x" onerror="alert(1))
[a](https://example.com/" onmouseover="window.pwned=4)

```html" onmouseover="alert(1)
</code></pre><script>window.pwned = 5</script>
```

| <b>a</b> | `|` |
|---|---|
| <script>window.pwned=6</script> | **x** |

&lt;script&gt; <svg onload=alert(1)> <a href="javascript:alert(1)">x</a> <math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>
"""


def big(name):
    """Texts that hang or overflow careless renderers."""
    n = 10_000
    return {
        "line": "word " * 200_000,
        "solid": "x" * 1_000_000,
        "quotes": ">" * n + " deep\n\n" + "\n".join("> " * (i % 300) + "x" for i in range(3000)),
        "lists": "\n".join(" " * (2 * min(i, 400)) + "- x" for i in range(n)) + "\n" + "- " * n + "deep",
        "stars": "*a **b " * 30_000 + "\n\n" + "*" * 100_000 + "\n\n" + "_a__b" * 30_000,
        "ticks": " ".join("`" * (i % 400 + 1) for i in range(500)) + "\n\n" + "`a``b" * 30_000 + "\n\n```" + " " * 300_000 + "`",
        "brackets": "[" * 100_000 + "\n\n" + "![[](" * 19_000 + "\n\n" + "[a](" * 24_000 + "\n\n" + "[" * 40_000 + "]" * 40_000 + "(u)",
        "angles": "<http://" * 12_000 + "\n\n" + "\\(" * 49_000 + "\n\n" + "$$" * 49_000 + "$",
        "table": "|".join(["a"] * 60) + "\n" + "|".join(["-"] * 60) + "\n" + ("|" * 60 + "\n") * 5000,
        "items": "- a\n" * 100_000,
        "rules": "---\n" * 50_000 + "# " * 50_000 + "\n" + "#" * 100_000 + "\n" + "- - " * 100_000,
        "fences": "```\n~~~\n" * 20_000,
    }[name]


def script(request):
    """The answer as (kind, text, seconds before it) steps; kinds: reasoning, content, error, break."""
    last = request["messages"][-1]["content"]
    word = last.split()[0] if last.split() else ""
    thinks = request.get("chat_template_kwargs", {}).get("enable_thinking", word == "think")
    if word == "hostile":
        return [("content", piece, 0) for piece in pieces(HOSTILE, 7)]
    if word == "big":
        return [("content", piece, 0) for piece in pieces(big(last.split()[1]), 65_536)]
    if word == "slow":
        return [("content", f"word{i}. " if i % 8 == 7 else f"word{i} ", 0.025) for i in range(4000)]
    if word == "lines":
        return [("content", f"Line {i} is here.\n\n", 0.01) for i in range(120)]
    if word == "error":
        return [("content", "A start ", 0), ("error", "the model met a non-finite number at layer 3", 0)]
    if word == "break":
        return [("content", "A start ", 0.05), ("break", "", 0.05)]
    if word == "empty":
        return []
    steps = []
    if thinks:
        thoughts = "The question is about sets and memory. A short definition first, then how it works.\n\nAn example in Python would help, and a table of error rates."
        steps += [("reasoning", piece, 0.03) for piece in pieces(thoughts, 6)]
    text = CHINESE if any("\u4e00" <= letter <= "\u9fff" for letter in last) else ANSWER
    return steps + [("content", piece, 0.004) for piece in pieces(text, 5)]


def pieces(text, size):
    return [text[i : i + size] for i in range(0, len(text), size)]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def reply(self, status, kind, body):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(body)

    def fail(self, status, message, code=None):
        kind = "invalid_request_error"
        self.reply(status, "application/json", json.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}}).encode())

    def allowed(self):
        key = self.server.key
        if key is None or self.headers.get("Authorization") == f"Bearer {key}":
            return True
        self.fail(401, "a key is needed: Authorization: Bearer KEY", "invalid_api_key")
        return False

    def gone(self):
        """A server that was closed says nothing more on the connections it still has."""
        self.close_connection = self.close_connection or self.server.closed
        return self.server.closed

    def do_GET(self):
        if self.gone():
            return
        path = self.path.split("?")[0]
        if path == "/v1/models":
            if self.allowed():
                data = [{"id": name, "object": "model", "created": 1700000000, "owned_by": "qwip", "meta": meta} for name, meta in MODELS]
                self.reply(200, "application/json", json.dumps({"object": "list", "data": data}).encode())
            return
        name = "index.html" if path == "/" else path[1:]
        kind = KINDS.get(name.rsplit(".", 1)[-1])
        file = os.path.join(FOLDER, name)
        if "/" in name or kind is None or not os.path.isfile(file):
            self.fail(404, f"there is no {path}")
            return
        with open(file, "rb") as source:
            self.reply(200, kind, source.read())

    def do_POST(self):
        if self.gone():
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path != "/v1/chat/completions":
            self.fail(404, f"there is no {self.path}")
            return
        if not self.allowed():
            return
        request = json.loads(body)
        if not request["messages"]:
            self.fail(400, "messages is empty")
            return
        if request["messages"][-1]["content"].startswith("too long"):
            self.fail(400, "the prompt has 50000 tokens, the context 40960", "context_length_exceeded")
            return
        try:
            self.stream(request)
        except (BrokenPipeError, ConnectionResetError):
            self.server.aborted += 1

    def stream(self, request):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1700000000, "model": request["model"]}

        def event(value):
            self.wfile.write(f"data: {json.dumps(value)}\n\n".encode())
            self.wfile.flush()

        def choice(delta, finish=None):
            event({**base, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], "usage": None})

        choice({"role": "assistant", "content": ""})
        self.wfile.write(b": ping\n\n")
        self.wfile.flush()
        time.sleep(self.server.delay)
        start = time.monotonic()
        steps = script(request)
        for kind, text, wait in steps:
            time.sleep(wait)
            if kind == "error":
                event({"error": {"message": text, "type": "server_error", "param": None, "code": None}})
                return
            if kind == "break":
                return
            choice({"reasoning_content" if kind == "reasoning" else "content": text})
        choice({}, "stop")
        ms = (time.monotonic() - start) * 1000 + 1
        event({
            **base, "choices": [], "usage": {"prompt_tokens": 21, "completion_tokens": len(steps), "total_tokens": 21 + len(steps)},
            "timings": {"prompt_n": 21, "prompt_ms": 84.0, "prompt_per_second": 250.0, "predicted_n": len(steps), "predicted_ms": ms, "predicted_per_second": len(steps) / ms * 1000},
        })
        self.wfile.write(b"data: [DONE]\n\n")


class FakeServer(http.server.ThreadingHTTPServer):
    """Serves in the background from the moment it is made until `close`."""

    daemon_threads = True

    def __init__(self, port=0, key=None, delay=0.0):
        super().__init__(("127.0.0.1", port), Handler)
        self.key = key
        self.delay = delay  # seconds before the first word
        self.closed = False
        self.aborted = 0  # answers whose reader went away
        self.url = f"http://127.0.0.1:{self.server_address[1]}/"
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], (BrokenPipeError, ConnectionResetError)):
            super().handle_error(request, client_address)

    def close(self):
        self.closed = True
        self.shutdown()
        self.server_close()


if __name__ == "__main__":
    server = FakeServer(int(sys.argv[1]) if len(sys.argv) > 1 else 8099, delay=0.3)
    print(server.url)
    threading.Event().wait()
