#!/usr/bin/env python3
"""Speed of llama.cpp on a GGUF file, for compare.py.

    pip install llama-cpp-python==0.3.36      (builds llama.cpp for this CPU: about 10 minutes on 2 cores)
    benches/llama_bench.py MODEL [-p 512] [-n 64] [-d 0] [-t 2] [-r 1]

Prints one JSON line: pp and tg, the medians in tokens/s over the rounds, after d tokens that are evaluated once, and the
instruction sets that it was built with. As in llama-bench there is a round to warm up, and the batch is 512 tokens.
"""
import argparse
import json
import random
import statistics
import time

import llama_cpp as L

BATCH = 512


def open_model(path, n_ctx, threads):
    L.llama_backend_init()
    open_model.silent = L.llama_log_callback(lambda level, text, data: None)
    L.llama_log_set(open_model.silent, None)
    model = L.llama_model_load_from_file(path.encode(), L.llama_model_default_params())
    if not model:
        raise SystemExit(f"llama.cpp cannot load {path}")
    params = L.llama_context_default_params()
    params.n_ctx, params.n_batch, params.n_ubatch = n_ctx, BATCH, BATCH
    params.n_threads = params.n_threads_batch = threads
    return model, L.llama_init_from_model(model, params)


def evaluate(ctx, tokens, start, step=BATCH):
    """The logits of the last token of each step are computed, as an application would ask for them."""
    batch = L.llama_batch_init(step, 0, 1)
    for first in range(0, len(tokens), step):
        part = tokens[first:first + step]
        batch.n_tokens = len(part)
        for i, token in enumerate(part):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0] = token, start + first + i, 1, 0
            batch.logits[i] = i == len(part) - 1
        if status := L.llama_decode(ctx, batch):
            raise SystemExit(f"llama_decode: {status}")
    L.llama_batch_free(batch)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    for flag, default in ("-p", 512), ("-n", 64), ("-d", 0), ("-t", 2), ("-r", 1):
        parser.add_argument(flag, type=int, default=default)
    a = parser.parse_args()
    model, ctx = open_model(a.model, a.d + max(a.p, a.n) + 64, a.t)
    memory = L.llama_get_memory(ctx)
    vocab = L.llama_vocab_n_tokens(L.llama_model_get_vocab(model))
    random.seed(0)
    tokens = [random.randrange(vocab) for _ in range(a.d + max(a.p, a.n))]
    evaluate(ctx, tokens[:a.d], 0)

    def rate(count, step):
        speeds = []
        warm_up = min(count, 4) if step == 1 else count
        for n in [warm_up] + [count] * a.r:
            L.llama_memory_seq_rm(memory, 0, a.d, -1)
            started = time.perf_counter()
            evaluate(ctx, tokens[a.d:a.d + n], a.d, step)
            speeds.append(n / (time.perf_counter() - started))
        return statistics.median(speeds[1:])

    built_with = L.llama_print_system_info().decode()
    features = [part.split()[-1] for part in built_with.split(" = 1") if part.split()]
    print(json.dumps(dict(engine=f"llama-cpp-python {L.__version__}", features=features, pp=rate(a.p, BATCH) if a.p else None,
                          tg=rate(a.n, 1) if a.n else None)))


if __name__ == "__main__":
    main()
