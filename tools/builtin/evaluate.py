"""Asks the held-out questions and scores the answers.

    python evaluate.py                         greedy answers of qwip-demo-4M/ with transformers
    python evaluate.py --answers FILE.jsonl    answers of another program: `question` and `answer` in each line
    python evaluate.py --save FILE.jsonl       also writes the answers in that form

An answer is right when it contains one alternative of every group in `contains`, whatever the case.
"""

import argparse
import collections
import json
import pathlib
import re

HERE = pathlib.Path(__file__).resolve().parent


def generate(questions, checkpoint, size=40):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    tokenizer = AutoTokenizer.from_pretrained(checkpoint, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()
    answers = {}
    order = sorted((item["question"] for item in questions), key=len)
    for at in range(0, len(order), size):
        some = order[at:at + size]
        prompts = [tokenizer.apply_chat_template([{"role": "user", "content": question}], tokenize=False, add_generation_prompt=True,
                                                 enable_thinking=False) for question in some]
        inputs = tokenizer(prompts, return_tensors="pt", padding=True)
        with torch.no_grad():
            out = model.generate(**inputs, do_sample=False, temperature=None, top_p=None, top_k=None, repetition_penalty=1.0, max_new_tokens=100)
        for question, ids in zip(some, out[:, inputs["input_ids"].shape[1]:]):
            answers[question] = tokenizer.decode(ids, skip_special_tokens=True).strip()
    return answers


def right(item, answer):
    answer = answer.lower()
    return all(any(option.lower() in answer for option in group) for group in item["contains"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--answers")
    parser.add_argument("--save")
    parser.add_argument("--checkpoint", default=str(HERE / "qwip-demo-4M"))
    parser.add_argument("--questions", default=str(HERE / "questions.jsonl"))
    options = parser.parse_args()
    questions = [json.loads(line) for line in open(options.questions, encoding="utf-8")]
    if options.answers:
        answers = {item["question"]: item["answer"] for item in map(json.loads, open(options.answers, encoding="utf-8"))}
    else:
        answers = generate(questions, options.checkpoint)
    if options.save:
        with open(options.save, "w", encoding="utf-8") as out:
            out.writelines(json.dumps(dict(question=q, answer=a), ensure_ascii=False) + "\n" for q, a in answers.items())
    score = collections.defaultdict(list)
    for item in questions:
        answer = answers.get(item["question"], "")
        ok = right(item, answer)
        lang = "Chinese" if re.search("[\u4e00-\u9fff]", item["question"]) else "English"
        for key in ("all", lang, "topic " + item["topic"]):
            score[key].append(ok)
        if not ok:
            print(f"wrong [{item['topic']}] {item['question']} -> {answer!r} (expected {item['contains']})")
    for key, marks in sorted(score.items(), key=lambda pair: (pair[0].startswith("topic"), pair[0])):
        print(f"{key}: {sum(marks)}/{len(marks)} = {sum(marks) / len(marks):.1%}")


if __name__ == "__main__":
    main()
