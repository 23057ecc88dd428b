#!/usr/bin/env python3
"""What qwip says that a model takes, and what it takes: resident memory with a full context (Linux).

    python3 benches/memory.py QWIP MODEL.gguf... [--context 2048] [--args "-ctk q8_0 -ctv q8_0"]

`QWIP bench` reads a prompt of all but 64 positions and then answers with 63 tokens; the memory of the process (pages of
the map in use, and its own) is read every 20 ms until it ends. The two columns on the right are those of its second half:
before, the program measures the machine's bandwidth in memory that it gives back.
"""
import argparse
import json
import re
import subprocess
import time


def sample(pid):
    text = open(f"/proc/{pid}/status").read()
    return [1024 * int(re.search(rf"^{key}:\s+(\d+)", text, re.M)[1]) for key in ("RssFile", "RssAnon")]


def measure(qwip, model, context, more):
    command = [qwip, "bench", "-m", model, "-p", "0", "-n", "63", "-d", str(context - 64), "-r", "1", "-t", "2", "-o", "json", "--device", "cpu"]
    process = subprocess.Popen(command + more, stdout=subprocess.DEVNULL)
    samples = []
    while process.poll() is None:
        try:
            samples.append(sample(process.pid))
        except (OSError, TypeError):
            break
        time.sleep(0.02)
    assert process.wait() == 0
    late = samples[len(samples) // 2:]
    return max(s[0] for s in late), max(s[1] for s in late)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("qwip")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--context", type=int, default=2048)
    parser.add_argument("--args", default="")
    options = parser.parse_args()
    more = options.args.split()
    print("| file | weights, said | pages in use | own memory, said | own memory |")
    print("|---|--:|--:|--:|--:|")
    for model in options.models:
        command = [options.qwip, "show", "-m", model, "-c", str(options.context), "-t", "2", "--json"] + more
        memory = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["memory"]
        file, own = measure(options.qwip, model, options.context, more)
        mb = [f"{n / 1e6:.0f} MB" for n in (memory["weights"], file, memory["dirty"], own)]
        name = model.rsplit("/", 1)[-1]
        print(f"| {name} {options.args} | " + " | ".join(mb) + f" | <!-- {memory} -->", flush=True)


if __name__ == "__main__":
    main()
