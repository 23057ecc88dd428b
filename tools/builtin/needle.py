"""Hides a name in a conversation and asks for it: how far back does the built-in model find something?

    python needle.py QWIP [--count 20] [--seed 1]       QWIP: the program, for instance ../../target/release/qwip

Somebody says a name at the beginning, in the middle or just before the end of a conversation of single questions and
their right answers out of the training text; the last question is for the name. Greedy answers of `QWIP run builtin`;
the table counts those with the name in them, for conversations of about so many tokens.
"""

import argparse
import pathlib
import random
import subprocess

from tokenizers import Tokenizer

from text.__main__ import conversation as training
from text.everyday import NAMES

HERE = pathlib.Path(__file__).resolve().parent

LENGTHS = [64, 96, 128, 192, 256, 384, 512, 1024, 1900]
DEPTHS = [("first", 0.0), ("in the middle", 0.5), ("last", 1.0)]
ASK = "What is my name?"


def turn(question, answer):
    return f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n{answer}<|im_end|>\n"


def conversation(needle, filler, tokens, depth, count):
    """The needle among as many turns as there is room for, and the question."""
    end = f"<|im_start|>user\n{ASK}<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    chosen, size = [], count(needle) + count(end)
    for some in filler:
        if size + count(some) <= tokens:
            chosen.append(some)
            size += count(some)
    chosen.insert(round(depth * len(chosen)), needle)
    return "".join(chosen) + end, size


def filler(rng, turns):
    """Single questions in English about anything but names, each with its answer."""
    found = []
    while len(found) < turns:
        some = training(rng)
        messages = some["messages"]
        if len(messages) == 2 and not some["tools"] and not some["think"] and messages[0]["content"].isascii():
            found.append(turn(messages[0]["content"], messages[1]["content"]))
    return found


def answer(qwip, prompt):
    command = [qwip, "run", "builtin", "--raw", "-p", prompt, "--temp", "0", "-n", "24", "-t", "2"]
    return subprocess.run(command, capture_output=True, text=True, check=True, encoding="utf-8").stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("qwip")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    tokenizer = Tokenizer.from_file(str(HERE / "qwip-demo-4M" / "tokenizer.json"))

    def count(text):
        return len(tokenizer.encode(text).ids)

    print("| tokens | " + " | ".join(name for name, _ in DEPTHS) + " |")
    print("|--:|" + "--:|" * len(DEPTHS))
    for tokens in LENGTHS:
        cells = []
        for _, depth in DEPTHS:
            rng, right = random.Random(options.seed), 0
            for i in range(options.count):
                name = NAMES[i % len(NAMES)]
                needle = turn(f"My name is {name}.", f"Hello, {name}!")
                prompt, size = conversation(needle, filler(rng, tokens // 20), tokens, depth, count)
                assert size <= tokens
                right += name in answer(options.qwip, prompt)
            cells.append(f"{right}/{options.count}")
        print(f"| {tokens} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
