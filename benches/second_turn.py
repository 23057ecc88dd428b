#!/usr/bin/env python3
"""How long the second turn of a long conversation takes to its first token, with thinking on.

    pip install gguf numpy
    second_turn.py QWIP SHAPE:TYPE VOCAB.gguf TEMPLATE.jinja [--tokens 8192] [--threads 2]

A model of the shape with random weights (`qwip bench --synthetic`) gets the tokenizer of VOCAB.gguf and the chat template.
`qwip chat` is then told a text of so many tokens and, after an answer with thinking in it, a short message. Templates take
the thinking of earlier turns out again, so the second prompt differs from what the session holds from where the answer
began. Printed: tokens and time of both prompts, how many tokens of the second one are really new (behind what both
prompts share), and what it took beyond those at the first prompt's speed, as a share of the first prompt's time.
"""
import argparse
import re
import subprocess
import tempfile
from pathlib import Path

import gguf

WORDS = "a river runs past old houses while people talk about the weather and bread prices near stone bridges".split()


def with_vocabulary(weights: Path, vocabulary: Path, template: Path, out: Path) -> None:
    """The tensors and sizes of `weights` with the tokenizer of `vocabulary` and the chat template."""
    source, words = gguf.GGUFReader(weights), gguf.GGUFReader(vocabulary)
    arch = source.fields["general.architecture"].contents()
    rows = next(int(tensor.shape[1]) for tensor in source.tensors if tensor.name == "token_embd.weight")
    writer = gguf.GGUFWriter(out, arch)
    for reader, wanted in ((source, lambda key: not key.startswith("tokenizer.")), (words, lambda key: key.startswith("tokenizer."))):
        for key, field in reader.fields.items():
            if not wanted(key) or key.startswith("GGUF.") or key in ("general.architecture", "tokenizer.chat_template"):
                continue
            kind = field.types[0]
            sub = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
            value = field.contents()
            # A wider output than the vocabulary: the rest of its rows is nothing.
            if key == "tokenizer.ggml.tokens":
                value += [f"[PAD{i}]" for i in range(len(value), rows)]
            elif key == "tokenizer.ggml.token_type":
                value += [int(gguf.TokenType.UNUSED)] * (rows - len(value))
            writer.add_key_value(key, value, kind, sub)
    writer.add_string("tokenizer.chat_template", template.read_text(encoding="utf-8"))
    for tensor in source.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("qwip")
    parser.add_argument("shape")
    parser.add_argument("vocabulary", type=Path)
    parser.add_argument("template", type=Path)
    parser.add_argument("--tokens", type=int, default=8192)
    parser.add_argument("--threads", default="2")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        weights, model = Path(folder) / "weights.gguf", Path(folder) / "model.gguf"
        subprocess.run([args.qwip, "bench", "--synthetic", args.shape, "--save", weights, "-p", "0", "-n", "1", "-r", "1"],
                       check=True, stdout=subprocess.DEVNULL)
        with_vocabulary(weights, args.vocabulary, args.template, model)
        weights.unlink()
        # Each of these words is a token with the space before it.
        text = " ".join(WORDS[i % len(WORDS)] for i in range(args.tokens - 32))
        call = [args.qwip, "chat", model, "-v", "-t", args.threads, "--think", "on", "--think-budget", "48", "-n", "96", "-s", "1",
                "-c", str(args.tokens + 2048), "--device", "cpu"]
        found = subprocess.run(call, input=f"{text}\nAnd then?\n", capture_output=True, text=True)
        if found.returncode != 0:
            raise SystemExit(found.stderr)
    turns = re.findall(r"prompt (\d+) tokens \((\d+) new\), ([\d.]+) t/s; answer (\d+) tokens", found.stderr)
    if len(turns) != 2:
        raise SystemExit(f"not two turns:\n{found.stderr}")
    (first, first_new, first_rate, _), (second, second_new, second_rate, answered) = (
        (int(a), int(b), float(c), int(d)) for a, b, c, d in turns)
    first_time, second_time = first_new / first_rate, second_new / second_rate
    changed = second - first
    beyond = second_time - changed / first_rate
    print(f"{args.shape}: first prompt {first} tokens in {first_time:.2f} s ({first_rate:.0f} t/s); second {second}, evaluated "
          f"{second_new}, at most {changed} of them really new, in {second_time:.2f} s; beyond the new ones {beyond:.2f} s, "
          f"{100 * beyond / first_time:.1f} % of the first")


if __name__ == "__main__":
    main()
