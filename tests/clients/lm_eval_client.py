"""lm-eval (local-completions) against the server: a task of ours, by log probabilities of echoed prompts."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from common import arguments, run

args = arguments()
root = Path(__file__).parents[2]
tokenizer = root / "tools/builtin/qwip-demo-4M"


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
        offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": out, "OPENAI_API_KEY": args.api_key}
        done = subprocess.run(command, cwd=root, env={**os.environ, **offline}, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        [found] = Path(out).rglob("results_*.json")
        results = json.loads(found.read_text())
    assert results["n-samples"]["qwip_tiny"]["effective"] == 5, results["n-samples"]
    accuracy = results["results"]["qwip_tiny"]["acc,none"]
    print(f"        accuracy {accuracy}")
    assert 0 <= accuracy <= 1


run(evaluate)
