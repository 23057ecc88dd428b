#!/usr/bin/env python3
"""Several answers at the same time over HTTP, against one answer of the engine alone.

    pip install gguf numpy
    serve.py QWIP SHAPE:TYPE VOCAB.gguf TEMPLATE.jinja [--parallel 4] [--tokens 64] [--rounds 5] [--threads 2]

A model of the shape with random weights (`qwip bench --synthetic`) gets the tokenizer of VOCAB.gguf. In turn, so often as
there are rounds: `qwip bench` measures tg64 (only generation, no HTTP), and so many clients of `qwip serve` stream an answer of
so many tokens each at the same time. Printed: tokens/s of both (medians), their ratio, and whether each text is, byte for
byte, the one that the same request gets when nobody else asks. The time of the streams is from the first request to the last
token, prompts of some ten tokens and the connections among it.
"""
import argparse
import http.client
import json
import re
import statistics
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from second_turn import with_vocabulary

TEXTS = ["A river runs past old houses,", "Bread prices near the bridge are", "People talk about the weather while", "The stone of the tower was"]


def generate(port: int, number: int, tokens: int) -> str:
    """One streamed answer; its text."""
    body = {
        "model": "", "prompt": TEXTS[number % len(TEXTS)], "max_tokens": tokens, "stream": True, "seed": number,
        "temperature": 0.8, "ignore_eos": True,
    }
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    if answer.status != 200:
        raise SystemExit(f"status {answer.status}: {answer.read().decode()}")
    text, last = [], None
    for line in answer:
        if not line.startswith(b"data: ") or line.startswith(b"data: [DONE]"):
            continue
        chunk = json.loads(line[6:])
        if "error" in chunk:
            raise SystemExit(chunk["error"]["message"])
        for choice in chunk["choices"]:
            text.append(choice["text"])
            last = choice["finish_reason"] or last
    if last != "length":
        raise SystemExit(f"the answer ended with '{last}'")
    connection.close()
    return "".join(text)


def together(port: int, parallel: int, tokens: int) -> tuple[float, list[str]]:
    """Seconds that all answers take together, and their texts."""
    texts = [""] * parallel

    def run(i: int) -> None:
        texts[i] = generate(port, i, tokens)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(parallel)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - started, texts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("qwip")
    parser.add_argument("shape")
    parser.add_argument("vocabulary", type=Path)
    parser.add_argument("template", type=Path)
    parser.add_argument("--parallel", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", default="2")
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        weights, model = Path(folder) / "weights.gguf", Path(folder) / "model.gguf"
        subprocess.run(
            [args.qwip, "bench", "--synthetic", args.shape, "--save", weights, "-p", "0", "-n", "1", "-r", "1"],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        with_vocabulary(weights, args.vocabulary, args.template, model)
        weights.unlink()
        server = subprocess.Popen(
            [args.qwip, "serve", str(model), "--port", "0", "--parallel", str(args.parallel), "-t", args.threads,
             "--device", "cpu", "-c", "1024"],
            stderr=subprocess.PIPE, text=True,
        )
        try:
            port = None
            for line in server.stderr:
                if found := re.search(r"http://[^:]+:(\d+)", line):
                    port = int(found[1])
                    break
            if port is None:
                raise SystemExit("the server did not start")
            threading.Thread(target=server.stderr.read, daemon=True).start()
            alone = [generate(port, i, args.tokens) for i in range(args.parallel)]
            single, many, equal = [], [], True
            for _ in range(args.rounds):
                out = subprocess.run(
                    [args.qwip, "bench", str(model), "-p", "0", "-n", "64", "-r", "1", "-t", args.threads, "--device", "cpu",
                     "-o", "json"],
                    check=True, capture_output=True, text=True,
                ).stdout
                single.append(float(json.loads(out)["tg"]))
                seconds, texts = together(port, args.parallel, args.tokens)
                many.append(args.parallel * args.tokens / seconds)
                equal &= texts == alone
                print(f"tg64 {single[-1]:.1f} t/s, {args.parallel} streams {many[-1]:.1f} t/s: {many[-1] / single[-1]:.2f}x")
        finally:
            server.terminate()
            server.wait(timeout=30)
    one, all_ = statistics.median(single), statistics.median(many)
    print(f"medians of {args.rounds}: tg64 {one:.1f} t/s, {args.parallel} streams {all_:.1f} t/s together: {all_ / one:.2f}x")
    print(f"texts equal to those alone, byte for byte: {'yes' if equal else 'NO'}")


if __name__ == "__main__":
    main()
