#!/usr/bin/env python3
"""How far each type takes a model from itself: by llama.cpp's rules, by ours, and by ours with an importance matrix.

    cd tools/builtin && python3 -m text /tmp/calibration.jsonl --count 3000 --seed 11
    cd tools/builtin && python3 -m text /tmp/held-out.jsonl --count 1500 --seed 12
    target/release/qwip convert tools/builtin/qwip-demo-4M -o /tmp/demo.gguf --type bf16
    benches/quality.py target/release/qwip /tmp/demo.gguf /tmp/calibration.jsonl /tmp/held-out.jsonl [TYPE...]

The texts are conversations as the built-in model's script makes them (one JSON object a line), or plain text. Prints a
Markdown table: mean KL divergence from the unquantized model in thousandths of a nat, with its standard error.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

TYPES = ["q8_0", "q6_k", "q5_k_m", "q5_k_s", "q5_1", "q5_0", "q4_k_m", "q4_k_s", "q4_1", "iq4_nl", "iq4_xs", "q4_0", "q3_k_l", "q3_k_m",
         "q3_k_s", "q2_k", "q2_k_s"]


def rendered(path):
    text = pathlib.Path(path).read_text("utf-8")
    if not path.endswith(".jsonl"):
        return text
    turns = (turn for line in text.splitlines() for turn in json.loads(line)["messages"])
    return "".join(f"<|im_start|>{turn['role']}\n{turn['content']}<|im_end|>\n" for turn in turns)


def main():
    qwip, model, calibration, held_out, *types = sys.argv[1:]
    folder = pathlib.Path(tempfile.mkdtemp())

    def run(*words):
        done = subprocess.run([qwip, *map(str, words)], capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{' '.join(map(str, words))}: {done.stderr}")
        return done.stdout

    (folder / "calibration.txt").write_text(rendered(calibration), "utf-8")
    (folder / "held-out.txt").write_text(rendered(held_out), "utf-8")
    (folder / "tokens.txt").write_text(run("tokenize", model, "--special", "--ids", "-f", folder / "held-out.txt"))
    print(run("imatrix", model, "-f", folder / "calibration.txt", "-o", folder / "importance.gguf").strip())
    ways = {"reference": ["--reference"], "default": [], "imatrix": ["--imatrix", folder / "importance.gguf"]}
    print("| type | bits a weight | `--reference` | default | `--imatrix` | same top token (default) |\n|---|--:|--:|--:|--:|--:|")
    for ty in types or TYPES:
        files = {way: folder / f"{way}.gguf" for way in ways}
        for way, flags in ways.items():
            run("quantize", model, files[way], ty, *flags)
        found = json.loads(run("eval", "compare", model, *files.values(), "--tokens", folder / "tokens.txt", "--json"))
        cells = [f"{1e3 * m['kld']['value']:.3f} ± {1e3 * m['kld']['error']:.3f}" for m in found["models"]]
        default = found["models"][1]
        print(f"| {ty.upper()} | {default['bits_per_weight']:.2f} | {' | '.join(cells)} | {100 * default['same_top']['value']:.2f} % |", flush=True)
    print(f"\n{found['base']['scored']} positions")


if __name__ == "__main__":
    main()
