"""Writes the training conversations as JSONL: python -m text OUT.jsonl [--count N] [--seed S].

Each line has `messages` (the last one is the answer to learn), `tools` or null, `think` and `topic`.
"""

import argparse
import json
import pathlib
import random
import re

from . import everyday, everyday_talk, qwip_know, qwip_use
from .more_ways import merged
from .phrase import ask, dress

SYSTEMS = ["You are a helpful assistant.", "Answer briefly.", "You are a helpful assistant of qwip users.", "Be polite and short.",
           "You are qwip's built-in model.", "你是一个有用的助手。", "请简短回答。", "You answer questions about qwip."]
ABOUT = merged(qwip_use.TOPICS + qwip_know.TOPICS)
FIXED = merged(everyday.FIXED)


def plain(text):
    """A question without case, spaces and punctuation, to compare it with the held-out ones."""
    return re.sub(r"[\W_]+", "", text.lower())


def say(fields, lang):
    return fields[f"say_{lang}"]


def topic_turns(rng, lang):
    """Two questions about qwip in a row, so that an earlier turn does not disturb the next answer."""
    (_, one), (name, two) = rng.sample(ABOUT, 2)
    return [ask(rng, one, lang), say(one, lang), ask(rng, two, lang)], say(two, lang), name


def type_turns(rng, lang):
    """"And with q8_0?" after the question about quantizing or converting."""
    topics = dict(ABOUT)
    kind, new = rng.choice(["q8_0", "q4_0", "f16", "bf16", "f32"]), f"`qwip convert CHECKPOINT_DIR -o model.gguf --type {{}}`"
    first = rng.choice(["quantize", "convert"])
    more = {"en": ["And with {}?", "and for {}?", "what about {}?", "I want {} instead", "how about {}", "use {} please"],
            "zh": ["{} 呢？", "那 {} 呢？", "我想要 {}", "换成 {} 呢？", "用 {} 怎么写？"]}[lang]
    answer = ("Use " if lang == "en" else "用 ") + new.format(kind) + ("." if lang == "en" else "。")
    return [ask(rng, topics[first], lang), say(topics[first], lang), rng.choice(more).format(kind)], answer


def conversation(rng):
    lang = "en" if rng.random() < 0.56 else "zh"
    kind = rng.choices(["about", "fixed", "sum", "fact", "turns", "type", "numbers", "name", "hello", "capital", "think", "tool", "json"],
                       [56, 9, 45, 7, 2.5, 1, 1, 1, 0.5, 0.7, 2.5, 1.5, 1])[0]
    system = rng.choice(SYSTEMS) if rng.random() < 0.08 else None
    head = [{"role": "system", "content": system}] if system else []
    if kind == "tool":
        messages, tools = everyday_talk.tool(rng, lang)
        return dict(messages=head + messages, tools=tools, think=False, topic="tool")
    if kind == "think":
        if rng.random() < 0.75:
            question, thought, answer = everyday_talk.reasoning(rng, lang)
        else:
            _, fields = rng.choice(ABOUT)
            question, answer = ask(rng, fields, lang), say(fields, lang)
            thought = "This is a question about qwip. I know the answer." if lang == "en" else "这是关于 qwip 的问题，我知道答案。"
        answer = f"<think>\n{thought}\n</think>\n\n{answer}"
        return dict(messages=head + [{"role": "user", "content": question}, {"role": "assistant", "content": answer}], tools=None, think=True, topic=kind)
    topic = kind
    if kind in ("about", "fixed"):
        topic, fields = rng.choice(ABOUT if kind == "about" else FIXED)
        turns, answer = [ask(rng, fields, lang)], say(fields, lang)
    elif kind == "turns":
        turns, answer, topic = topic_turns(rng, lang)
    elif kind == "type":
        turns, answer = type_turns(rng, lang)
    elif kind == "fact":
        question, answer = everyday_talk.fact(rng, lang)
        turns = [question if rng.random() < 0.5 else dress(rng, question, lang)]
    else:
        make = dict(sum=everyday_talk.arithmetic, numbers=everyday_talk.number_turns, name=everyday_talk.name_turns, hello=everyday_talk.name_hello,
                    capital=everyday_talk.capital_turns, json=everyday_talk.as_json)[kind]
        turns, answer = make(rng, lang)
    roles = ["user", "assistant"] * 4
    messages = head + [{"role": role, "content": text} for role, text in zip(roles, turns + [answer])]
    return dict(messages=messages, tools=None, think=False, topic=topic)


def conversations(count, seed, held_out):
    """`count` conversations; one that would ask a held-out question is made anew."""
    rng = random.Random(seed)
    forbidden = {plain(question) for question in held_out}
    made = 0
    while made < count:
        item = conversation(rng)
        asked = [plain(message["content"]) for message in item["messages"] if message["role"] == "user"]
        if forbidden.isdisjoint(asked):
            made += 1
            yield item


def main():
    parser = argparse.ArgumentParser(prog="python -m text", description=__doc__)
    parser.add_argument("out")
    parser.add_argument("--count", type=int, default=60000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    questions = pathlib.Path(__file__).resolve().parent.parent / "questions.jsonl"
    held_out = [json.loads(line)["question"] for line in questions.read_text("utf-8").splitlines()] if questions.exists() else []
    seen = set()
    with open(options.out, "w", encoding="utf-8") as out:
        for item in conversations(options.count, options.seed, held_out):
            out.write(json.dumps(item, ensure_ascii=False) + "\n")
            seen.update(plain(message["content"]) for message in item["messages"] if message["role"] == "user")
    both = [question for question in held_out if plain(question) in seen]
    assert not both, f"held-out questions in the training text: {both}"
    print(f"{options.count} conversations, {len(seen)} different questions, {len(held_out)} held out")


if __name__ == "__main__":
    main()
