#!/usr/bin/env python3
"""Writes the table of models in models.md again, between its two marks.

    python3 docs/models.py [QWIP]      QWIP: the program [default: target/release/qwip]; nothing is downloaded or loaded

Sizes come from `qwip show --synthetic SHAPE:q4_k_m --json`: every shape and the estimator are qwip's own, so that the
table says what the program says. A shape that this program does not know gets no numbers.
"""
import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
BEGIN, END = "<!-- written by docs/models.py -->", "<!-- end -->"

# A generation, its architecture in the file, and its models: what they are called, and the shape.
GENERATIONS = [
    ("Qwen", "qwen", [("1.8B", "qwen-1.8b"), ("7B", "qwen-7b"), ("14B", "qwen-14b"), ("72B", "qwen-72b")]),
    ("Qwen1.5", "qwen2", [(f"{n}B", f"qwen1.5-{n}b") for n in ["0.5", "1.8", "4", "7", "14", "32", "72", "110"]]),
    ("CodeQwen1.5", "qwen2", [("7B", "codeqwen1.5-7b")]),
    ("Qwen1.5", "qwen2moe", [("MoE A2.7B", "qwen1.5-moe-a2.7b")]),
    ("Qwen2", "qwen2", [(f"{n}B", f"qwen2-{n}b") for n in ["0.5", "1.5", "7", "72"]]),
    ("Qwen2", "qwen2moe", [("57B-A14B", "qwen2-57b-a14b")]),
    ("Qwen2.5, Coder, Math, QwQ", "qwen2",
     [(f"{n}B", f"qwen2.5-{n}b") for n in ["0.5", "1.5", "3", "7", "14", "32", "72"]]),
    ("Qwen3", "qwen3", [(f"{n}B", f"qwen3-{n}b") for n in ["0.6", "1.7", "4", "8", "14", "32"]]),
    ("Qwen3", "qwen3moe", [("30B-A3B, Coder 30B-A3B", "qwen3-30b-a3b"), ("235B-A22B", "qwen3-235b-a22b")]),
    ("Qwen3 Coder", "qwen3moe", [("480B-A35B", "qwen3-coder-480b-a35b")]),
    ("Qwen2-VL", "qwen2vl", [(f"{n}B", f"qwen2-vl-{n}b") for n in ["2", "7", "72"]]),
    ("Qwen2.5-VL", "qwen2vl", [(f"{n}B", f"qwen2.5-vl-{n}b") for n in ["3", "7", "32", "72"]]),
    ("Qwen3-VL", "qwen3vl", [(f"{n}B", f"qwen3-vl-{n}b") for n in ["2", "4", "8", "32"]]),
    ("Qwen3-VL", "qwen3vlmoe", [("30B-A3B", "qwen3-vl-30b-a3b"), ("235B-A22B", "qwen3-vl-235b-a22b")]),
    ("Qwen3-Next", "qwen3next", [("80B-A3B", "qwen3-next-80b-a3b")]),
    ("Qwen3.5, 3.6, 3.8", "qwen35",
     [(f"{n}B", f"qwen3.5-{n}b") for n in ["0.8", "2", "4", "9", "27"]]),
    ("Qwen3.5, 3.6", "qwen35moe", [("35B-A3B", "qwen3.5-35b-a3b"), ("122B-A10B", "qwen3.5-122b-a10b"),
                                       ("397B-A17B", "qwen3.5-397b-a17b")]),
]


def show(qwip, shape, context):
    command = [qwip, "show", "--synthetic", f"{shape}:q4_k_m", "-c", str(context), "-t", "4", "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    if "there is no shape" in done.stderr:
        return None
    done.check_returncode()
    return json.loads(done.stdout)


def size(n):
    for unit in ["MB", "GB", "TB"]:
        n /= 1000
        if n < 999500:
            n /= 1000
            return f"{n:.2f} {unit}" if n < 9.995 else f"{n:.1f} {unit}" if n < 99.95 else f"{n:.0f} {unit}"


def parameters(n):
    return f"{n / 1e6:.0f} M" if n < 1e9 else f"{n / 1e9:.2f} B"


def row(qwip, generation, arch, name, shape):
    short, long = show(qwip, shape, 2048), show(qwip, shape, 32768)
    if not short:
        return f"| {generation} {name} | `{arch}` | `{shape}` | – | – | – | – | – | – | – |"
    heads = f"{short['heads']}/{short['kv_heads']} × {short['head_dim']}"
    e = short["experts"]
    ffn = f"{e['used']} of {e['count']} × {e['ffn']}" + (f" + {short['ffn']}" if short["ffn"] else "") if e else short["ffn"]
    memory, far = short["memory"], long["memory"]
    cells = [f"{generation} {name}", f"`{arch}`", f"`{shape}`", parameters(short["parameters"]),
             f"{short['layers']} × {short['embedding']}", heads, ffn, size(memory["weights"]),
             f"{size(memory['dirty'])} / {size(far['dirty'])}", size(memory["weights_per_token"])]
    return "| " + " | ".join(map(str, cells)) + " |"


def main():
    qwip = sys.argv[1] if sys.argv[1:] else str(HERE.parent / "target/release/qwip")
    lines = [BEGIN, "",
             "| model | architecture | shape | parameters | layers × width | heads/kv × size | feed-forward | weights "
             "| memory at 2K / 32K | reads a token |",
             "|---|---|---|--:|---|---|---|--:|--:|--:|"]
    for generation, arch, models in GENERATIONS:
        lines += [row(qwip, generation, arch, name, shape) for name, shape in models]
    page = HERE / "models.md"
    text = page.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    page.write_text(before + "\n".join(lines) + "\n\n" + END + rest.split(END)[1], encoding="utf-8")


if __name__ == "__main__":
    main()
