#!/usr/bin/env python3
"""Writes tiny.gguf beside itself: a byte-level BPE vocabulary of a few kilobytes with every kind of token.

The merges are learnt from the text below the usual way: the most frequent pair of neighbours within words, of
equally frequent ones the first in the order of the alphabet. Python's standard library is enough.
"""

import collections
import pathlib
import re
import struct

TEXT = """
The quick brown fox jumps over the lazy dog, and they're all there: don't you think so? I'll say it's fine.
fn main() { let the_answer = 42; println!("{the_answer}"); } // the rest is there for the other test
你好，世界。你们好，我们都在这里。 Привет, как дела? Это проверка. 😀😀 thé été café naïve e\u0301te\u0301
    indented    text    with    spaces
""" * 2
MERGES = 160
SPECIAL = [
    ("<|endoftext|>", 3), ("<|im_start|>", 3), ("<|im_end|>", 3), ("<think>", 4), ("</think>", 4),
    ("<|fim_pad|>", 3), ("the whole", 4), ("the w", 4), ("中文", 4), ("<unk>", 2), ("[PAD0]", 5), ("[PAD1]", 5),
]


def alphabet():
    """The character that stands for each byte."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {**{byte: chr(byte) for byte in printable}, **{byte: chr(256 + i) for i, byte in enumerate(others)}}


def learn(text, chars):
    counts = collections.Counter(re.findall(r" ?\w+|\s+| ?[^\w\s]+", text))
    words = {tuple(chars[byte] for byte in word.encode()): count for word, count in counts.items()}
    merges = []
    while len(merges) < MERGES:
        pairs = collections.Counter()
        for word, count in words.items():
            for pair in zip(word, word[1:]):
                pairs[pair] += count
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        merged = {}
        for word, count in words.items():
            symbols, i = [], 0
            while i < len(word):
                if word[i : i + 2] == best:
                    symbols.append(word[i] + word[i + 1])
                    i += 2
                else:
                    symbols.append(word[i])
                    i += 1
            merged[tuple(symbols)] = merged.get(tuple(symbols), 0) + count
        words = merged
    return merges


def string(text):
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def key_string(key, value):
    return string(key) + struct.pack("<I", 8) + string(value)


def key_u32(key, value):
    return string(key) + struct.pack("<II", 4, value)


def key_strings(key, values):
    return string(key) + struct.pack("<IIQ", 9, 8, len(values)) + b"".join(map(string, values))


def key_i32s(key, values):
    return string(key) + struct.pack(f"<IIQ{len(values)}i", 9, 5, len(values), *values)


def main():
    chars = alphabet()
    merges = learn(TEXT, chars)
    # As in the real vocabularies: the bytes in the order of their characters, then what the merges make, in order.
    tokens = [(text, 1) for text in sorted(chars.values())]
    tokens += [(left + right, 1) for left, right in merges] + SPECIAL
    texts = [text for text, _ in tokens]
    assert len(set(texts)) == len(texts)
    end = texts.index("<|im_end|>")
    pairs = [
        key_string("general.architecture", "qwen2"),
        key_string("tokenizer.ggml.model", "gpt2"),
        key_string("tokenizer.ggml.pre", "qwen2"),
        key_strings("tokenizer.ggml.tokens", texts),
        key_i32s("tokenizer.ggml.token_type", [kind for _, kind in tokens]),
        key_strings("tokenizer.ggml.merges", [f"{left} {right}" for left, right in merges]),
        key_u32("tokenizer.ggml.eos_token_id", end),
        key_u32("tokenizer.ggml.padding_token_id", texts.index("<|endoftext|>")),
    ]
    header = b"GGUF" + struct.pack("<IQQ", 3, 0, len(pairs)) + b"".join(pairs)
    header += bytes(-len(header) % 32)
    pathlib.Path(__file__).with_name("tiny.gguf").write_bytes(header)


main()
