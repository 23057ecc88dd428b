"""lm-eval (local-completions) against the server: a task of ours, by log probabilities of echoed prompts. What it finds is held
against sums of our own, of prompts that nothing was added to."""

import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

from common import arguments, run

args = arguments()
root = Path(__file__).parents[2]
tokenizer = root / "tools/builtin/qwip-demo-4M"


def probabilities(prompt):
    """Log probabilities of a text's tokens, none of the first."""
    body = {"model": args.model, "prompt": prompt, "echo": True, "logprobs": 1, "max_tokens": 0}
    headers = {"content-type": "application/json", "authorization": f"Bearer {args.api_key}"}
    request = urllib.request.Request(f"{args.url}/v1/completions", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["choices"][0]["logprobs"]["token_logprobs"]


def likelihood(question, choice):
    return sum(probabilities(question + choice)[len(probabilities(question)) :])


def evaluate():
    model = {
        "model": args.model,
        "base_url": f"{args.url}/v1/completions",
        "tokenizer_backend": "huggingface",
        "tokenizer": tokenizer,
        "num_concurrent": 2,
        "max_retries": 1,
    }
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "lm_eval", "--model", "local-completions", "--tasks", "qwip_tiny"]
        command += ["--model_args", ",".join(f"{name}={value}" for name, value in model.items())]
        command += ["--include_path", str(root / "tests/clients/task"), "--output_path", out, "--batch_size", "2"]
        command += ["--log_samples"]
        offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": out, "OPENAI_API_KEY": args.api_key}
        done = subprocess.run(command, cwd=root, env={**os.environ, **offline}, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        [found] = Path(out).rglob("results_*.json")
        results = json.loads(found.read_text())
        [found] = Path(out).rglob("samples_*.jsonl")
        samples = [json.loads(line) for line in found.read_text().splitlines()]
    assert results["n-samples"]["qwip_tiny"]["effective"] == 5, results["n-samples"]
    accuracy = results["results"]["qwip_tiny"]["acc,none"]
    print(f"        accuracy {accuracy}")
    right = 0
    for sample in samples:
        doc = sample["doc"]
        wanted = [likelihood(doc["question"], choice) for choice in doc["choices"]]
        found = [float(answer[0]) for answer in sample["filtered_resps"]]
        assert all(abs(a - b) < 1e-3 for a, b in zip(found, wanted, strict=True)), (doc, found, wanted)
        right += wanted.index(max(wanted)) == doc["answer"]
    assert len(samples) == 5 and accuracy == right / 5, (accuracy, right)


run(evaluate)
