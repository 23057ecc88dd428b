#!/usr/bin/env python3
"""How close two engines are to each other and to exact arithmetic, on the same GGUF file and tokens.

    pip install torch transformers gguf numpy
    compare.py MODEL.gguf --tokens IDS.txt --ours OURS.npy --peer PEER.npy [--margin 0.15]

OURS and PEER are float32 [n_tokens, n_vocab]: `qwip eval logits MODEL --tokens IDS.txt -o OURS.npy`, and the same
from llama.cpp. The exact logits come from Hugging Face transformers in f32 on the file's weights decoded to f32
by the `gguf` package. Prints mean KL(peer || ours), KL(exact || ours), KL(exact || peer) and how often the most
probable tokens agree where the peer's best two are further apart than the margin.
"""
import argparse
import gc

import gguf
import numpy as np
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

NAMES = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj",
         "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
         "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm", "ffn_gate": "mlp.gate_proj",
         "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}


def hf_name(name):
    if name.startswith("blk."):
        _, layer, part, kind = name.split(".")
        return f"model.layers.{layer}.{NAMES[part]}.{kind}"
    return {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight",
            "output.weight": "lm_head.weight"}[name]


def exact_logits(path, tokens):
    reader = gguf.GGUFReader(path)
    arch = reader.fields["general.architecture"].contents()
    get = lambda key: reader.fields[f"{arch}.{key}"].contents()
    weights = {hf_name(t.name): torch.from_numpy(np.array(gguf.dequantize(t.data, t.tensor_type), dtype=np.float32))
               for t in reader.tensors}
    tied = "lm_head.weight" not in weights
    kinds = {"qwen2": (Qwen2Config, Qwen2ForCausalLM), "qwen3": (Qwen3Config, Qwen3ForCausalLM)}
    config_type, model_type = kinds[arch]
    config = config_type(
        vocab_size=weights["model.embed_tokens.weight"].shape[0], hidden_size=get("embedding_length"),
        intermediate_size=get("feed_forward_length"), num_hidden_layers=get("block_count"),
        num_attention_heads=get("attention.head_count"), num_key_value_heads=get("attention.head_count_kv"),
        head_dim=get("attention.key_length"), rms_norm_eps=get("attention.layer_norm_rms_epsilon"),
        rope_parameters={"rope_type": "default", "rope_theta": get("rope.freq_base")}, tie_word_embeddings=tied,
        attn_implementation="eager")
    with torch.device("meta"):
        model = model_type(config)
    if tied:
        weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
    model.load_state_dict(weights, assign=True, strict=True)
    # Rotary frequencies are no weights: they were made on the meta device, so make them again.
    model.model.rotary_emb = type(model.model.rotary_emb)(config)
    del weights
    gc.collect()
    with torch.no_grad():
        return model.eval()(torch.tensor([tokens])).logits[0].numpy().astype(np.float64)


def log_softmax(x):
    x = x.astype(np.float64)
    x = x - x.max(axis=-1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


def kl(p, q):
    lp, lq = log_softmax(p), log_softmax(q)
    return float((np.exp(lp) * (lp - lq)).sum(axis=-1).mean())


def main():
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("model")
    cli.add_argument("--tokens", required=True)
    cli.add_argument("--ours", required=True)
    cli.add_argument("--peer", required=True)
    cli.add_argument("--margin", type=float, default=0.15)
    cli.add_argument("--exact", help="keep the exact logits here, or take them from here")
    a = cli.parse_args()
    tokens = [int(t) for t in open(a.tokens).read().replace(",", " ").split()]
    ours, peer = np.load(a.ours), np.load(a.peer)
    if a.exact and __import__("os").path.exists(a.exact):
        exact = np.load(a.exact)
    else:
        exact = exact_logits(a.model, tokens)
        if a.exact:
            np.save(a.exact, exact.astype(np.float32))
    top = np.sort(peer, axis=-1)
    clear = top[:, -1] - top[:, -2] > a.margin
    same = (ours.argmax(-1) == peer.argmax(-1))[clear]
    e_ours, e_peer = kl(exact, ours), kl(exact, peer)
    print(f"KL(peer||ours) {kl(peer, ours):.3e}  KL(exact||ours) {e_ours:.3e}  KL(exact||peer) {e_peer:.3e}  "
          f"ratio {e_ours / e_peer:.3f}  same top {int(same.sum())}/{len(same)} of clear rows, {len(tokens)} in all")


if __name__ == "__main__":
    main()
