"""Trains the built-in model on the conversations that `python -m text` writes.

    python train.py tokenizer TEXT.jsonl             the vocabulary, into qwip-demo-4M/
    python train.py model TEXT.jsonl --minutes 60    the weights; --state FILE resumes where it stopped

The learning rate warms up, stays, and falls to zero over the last part of the minutes, so that the schedule fits the
machine at hand. A run that is resumed may use another text.
"""

import argparse
import json
import math
import pathlib
import random
import re
import signal
import time

HERE = pathlib.Path(__file__).resolve().parent
CHECKPOINT = HERE / "qwip-demo-4M"
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
PLAIN = ["<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"]
VOCABULARY = 4096
QWEN2_REGEX = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def read(path):
    return [json.loads(line) for line in open(path, encoding="utf-8")]


def chopped(rng, text):
    """Cuts runs of Chinese into pieces of one to three characters: the vocabulary should hold words, not sentences."""
    def cut(match):
        run, pieces = match.group(), []
        while run:
            size = rng.choice([1, 2, 2, 3])
            pieces.append(run[:size])
            run = run[size:]
        return "\n" + "\n".join(pieces) + "\n"
    return re.sub(r"[\u4e00-\u9fff]+", cut, text)


def train_tokenizer(options):
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import Qwen2TokenizerFast
    rng = random.Random(0)
    texts = {message["content"] for item in read(options.text) for message in item["messages"]}
    texts |= {json.dumps(tool, ensure_ascii=False) for item in read(options.text) for tool in item["tools"] or []}
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(QWEN2_REGEX), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY - len(SPECIAL) - len(PLAIN), show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator((chopped(rng, text) for text in sorted(texts)), trainer)
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.add_tokens([AddedToken(token, normalized=False, special=False) for token in PLAIN])
    whole = Qwen2TokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>", unk_token=None, bos_token=None,
                               model_max_length=2048, clean_up_tokenization_spaces=False)
    whole.chat_template = (HERE / "chat_template.jinja").read_text("utf-8")
    whole.save_pretrained(CHECKPOINT)
    print(f"{len(whole)} tokens from {len(texts)} texts")


def encode(tokenizer, item, rng, cut):
    """(ids, labels): the loss is on the last answer only. A part of the long answers is cut after a few tokens: what
    matters most is which answer begins, and the rest of a known answer is learned long before that."""
    *context, answer = item["messages"]
    prompt = tokenizer.apply_chat_template(context, tools=item["tools"], tokenize=False, add_generation_prompt=True, enable_thinking=item["think"])
    text = answer["content"]
    for call in answer.get("tool_calls") or []:
        call = call["function"]
        text += f"<tool_call>\n{json.dumps(dict(name=call['name'], arguments=call['arguments']), ensure_ascii=False)}\n</tool_call>"
    before = tokenizer(prompt)["input_ids"]
    after = tokenizer(text + "<|im_end|>")["input_ids"]
    if not item["tools"] and not item["think"] and rng.random() < cut:
        after = after[:rng.randint(6, 12)]
    return before + after, [-100] * len(before) + after


def batches(rng, items, tokenizer, budget, cut, window=800):
    """Batches of similar lengths without end; padding is on the right, where a causal model does not see it."""
    while True:
        examples = sorted((encode(tokenizer, item, rng, cut) for item in rng.sample(items, min(window, len(items)))), key=lambda pair: len(pair[0]))
        groups, at = [], 0
        while at < len(examples):
            size = 1
            while at + size < len(examples) and len(examples[at + size][0]) * (size + 1) <= budget:
                size += 1
            groups.append(examples[at:at + size])
            at += size
        rng.shuffle(groups)
        yield from groups


def new_model(tokenizer):
    import torch
    from transformers import GenerationConfig, Qwen3Config, Qwen3ForCausalLM
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in SPECIAL}
    config = Qwen3Config(
        vocab_size=VOCABULARY, hidden_size=256, intermediate_size=768, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2,
        head_dim=64, max_position_embeddings=2048, rms_norm_eps=1e-6, tie_word_embeddings=True, attention_bias=False,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0}, bos_token_id=None, eos_token_id=ids["<|im_end|>"], pad_token_id=ids["<|endoftext|>"])
    torch.manual_seed(0)
    model = Qwen3ForCausalLM(config)
    model.generation_config = GenerationConfig(
        do_sample=True, temperature=0.7, top_p=0.8, top_k=20, repetition_penalty=1.05, eos_token_id=[ids["<|im_end|>"], ids["<|endoftext|>"]],
        pad_token_id=ids["<|endoftext|>"])
    return model


def save(model, state, options, optimizer):
    """The checkpoint in BF16 and the resumable state beside it."""
    import copy
    import torch
    scratch = pathlib.Path(options.out)
    half = copy.deepcopy(model).to(torch.bfloat16)
    half.save_pretrained(scratch)
    temporary = options.state + ".new"
    torch.save(dict(model=model.state_dict(), optimizer=optimizer.state_dict(), **state), temporary)
    pathlib.Path(temporary).replace(options.state)


def train_model(options):
    import torch
    from transformers import AutoTokenizer
    torch.set_num_threads(options.threads)
    tokenizer = AutoTokenizer.from_pretrained(CHECKPOINT)
    model = new_model(tokenizer)
    decay = [p for p in model.parameters() if p.dim() > 1]
    plain = [p for p in model.parameters() if p.dim() == 1]
    optimizer = torch.optim.AdamW([dict(params=decay, weight_decay=0.05), dict(params=plain, weight_decay=0.0)], lr=options.lr, betas=(0.9, 0.98))
    state = dict(step=0, tokens=0, minutes=0.0)
    if pathlib.Path(options.state).exists():
        loaded = torch.load(options.state)
        model.load_state_dict(loaded.pop("model"))
        optimizer.load_state_dict(loaded.pop("optimizer"))
        state = loaded
    items = read(options.text)
    print(f"{sum(p.numel() for p in model.parameters())} parameters, {len(items)} conversations", flush=True)
    rng = random.Random(state["step"])
    pad, start, before, saved = tokenizer.pad_token_id, time.time(), state["minutes"], time.time()
    first, losses, stop = state["step"], [], []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
    for batch in batches(rng, items, tokenizer, options.batch, options.cut):
        spent = (time.time() - start) / 60
        if spent >= options.minutes or stop:
            break
        left = (options.minutes - spent) / (options.minutes * options.decay)
        rate = options.lr * min(1.0, (state["step"] - first + 1) / options.warmup, 0.5 - 0.5 * math.cos(math.pi * min(1.0, left)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        width = max(len(ids) for ids, _ in batch)
        ids = torch.tensor([ids + [pad] * (width - len(ids)) for ids, _ in batch])
        labels = torch.tensor([labels[1:] + [-100] * (width + 1 - len(labels)) for _, labels in batch])
        hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state[labels >= 0]
        loss = torch.nn.functional.cross_entropy(model.lm_head(hidden), labels[labels >= 0])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        state["step"] += 1
        state["tokens"] += sum(len(ids) for ids, _ in batch)
        state["minutes"] = before + spent
        losses.append(loss.item())
        if state["step"] % 20 == 0:
            print(f"step {state['step']} loss {sum(losses) / len(losses):.4f} rate {rate:.5f} tokens {state['tokens']} minutes {state['minutes']:.1f}", flush=True)
            losses = []
        if time.time() - saved > 240:
            save(model, state, options, optimizer)
            saved = time.time()
    save(model, state, options, optimizer)
    print("done", state, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, run in (("tokenizer", train_tokenizer), ("model", train_model)):
        sub = commands.add_parser(name)
        sub.set_defaults(run=run)
        sub.add_argument("text")
    sub.add_argument("--minutes", type=float, default=60)
    sub.add_argument("--lr", type=float, default=2e-3)
    sub.add_argument("--warmup", type=int, default=100)
    sub.add_argument("--decay", type=float, default=0.5, help="the part of the time in which the rate falls")
    sub.add_argument("--batch", type=int, default=1536, help="tokens in a batch")
    sub.add_argument("--cut", type=float, default=0.7, help="the part of the answers that is cut short")
    sub.add_argument("--threads", type=int, default=2)
    sub.add_argument("--out", default=str(CHECKPOINT))
    sub.add_argument("--state", default="state.pt")
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
