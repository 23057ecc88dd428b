#!/usr/bin/env python3
"""qwip and llama.cpp on the same files, alternating in one run; appends lines to a CSV record.

    benches/compare.py QWIP PEER MODEL... [-t 2] [-r 3] [-p 512] [-n 64] [--depth 0 4096] [--no-text] [-o FILE.csv]

QWIP is the release binary, PEER a script like llama_bench.py, which takes MODEL -p -n -d -t -r and prints one JSON line
with pp and tg (tokens/s), engine and features. Every figure is the median over the rounds. First token: the whole process of `run --raw -p Hello -n 1`, seconds; cold: after the file was dropped from the page cache.
With --no-text both stay empty: files of `qwip bench --synthetic --save` have no tokenizer.
"""
import argparse
import csv
import datetime
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

COLUMNS = ["date", "commit", "cpu", "isa", "peer", "threads", "model", "depth", "n_prompt", "n_gen", "qwip_pp", "peer_pp", "pp_ratio", "qwip_tg",
           "peer_tg", "tg_ratio", "tg_gb_per_s", "memory_gb_per_s", "memory_percent", "integer_gop_per_s", "integer_percent", "qwip_rss_mb",
           "peer_rss_mb", "first_token_warm_s", "first_token_cold_s"]

# Of what llama.cpp says that it was built with.
NOTEWORTHY = {"AVX2", "AVX_VNNI", "AVX512", "AVX512_VNNI", "NEON", "DOTPROD", "MATMUL_INT8", "SVE"}


# Two CPUs are compared, whatever GPU is here.
os.environ["QWIP_DEVICE"] = "cpu"


def run(command):
    """Output, seconds and peak resident MB of a process."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(command)}: status {status}")
    return output, time.perf_counter() - started, usage.ru_maxrss / 1000


def first_token(qwip, model, threads, cold):
    if cold:
        with open(model, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return run([qwip, "run", "-m", model, "--raw", "-p", "Hello", "-n", "1", "-t", str(threads)])[1]


def measure(options, model, depth):
    sizes = ["-p", str(options.prompt), "-n", str(options.gen), "-d", str(depth), "-t", str(options.threads), "-r", "1"]
    ours, theirs, our_rss, their_rss = [], [], [], []
    for _ in range(options.rounds):
        text, _, rss = run([options.qwip, "bench", "-m", model, *sizes, "-o", "json"])
        ours.append(json.loads(text))
        our_rss.append(rss)
        text, _, rss = run([sys.executable, options.peer, model, *sizes])
        theirs.append(json.loads(text.splitlines()[-1]))
        their_rss.append(rss)
    median = lambda rows, key: statistics.median(row[key] for row in rows)
    cold, warm = "", ""
    if not options.no_text:
        cold = first_token(options.qwip, model, options.threads, True)
        warm = statistics.median(first_token(options.qwip, model, options.threads, False) for _ in range(3))
    peer = " ".join([theirs[0]["engine"], *sorted(set(theirs[0]["features"]) & NOTEWORTHY)])
    row = dict(isa=ours[0]["isa"], cpu=ours[0]["processor"], peer=peer, qwip_pp=median(ours, "pp"), peer_pp=median(theirs, "pp"),
               qwip_tg=median(ours, "tg"), peer_tg=median(theirs, "tg"))
    row |= {key: median(ours, key) for key in ("tg_gb_per_s", "memory_gb_per_s", "memory_percent", "integer_gop_per_s", "integer_percent")}
    row |= dict(pp_ratio=row["qwip_pp"] / row["peer_pp"], tg_ratio=row["qwip_tg"] / row["peer_tg"], qwip_rss_mb=max(our_rss),
                peer_rss_mb=max(their_rss), first_token_warm_s=warm, first_token_cold_s=cold)
    return {key: f"{value:.4g}" if isinstance(value, float) else value for key, value in row.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("qwip")
    parser.add_argument("peer")
    parser.add_argument("models", nargs="+")
    parser.add_argument("-t", "--threads", type=int, default=2)
    parser.add_argument("-r", "--rounds", type=int, default=3)
    parser.add_argument("-p", "--prompt", type=int, default=512)
    parser.add_argument("-n", "--gen", type=int, default=64)
    parser.add_argument("--depth", type=int, nargs="+", default=[0])
    parser.add_argument("--no-text", action="store_true")
    parser.add_argument("-o", "--output")
    options = parser.parse_args()
    commit = subprocess.run(["git", "-C", str(pathlib.Path(__file__).parent), "describe", "--always", "--dirty"], capture_output=True,
                            text=True).stdout.strip()
    new = options.output and not pathlib.Path(options.output).exists()
    with open(options.output or "/dev/stdout", "a", encoding="utf-8") as out:
        table = csv.DictWriter(out, COLUMNS, lineterminator="\n")
        if new or not options.output:
            table.writeheader()
        for model in options.models:
            for depth in options.depth:
                head = dict(date=datetime.date.today().isoformat(), commit=commit, threads=options.threads, model=pathlib.Path(model).name,
                            depth=depth, n_prompt=options.prompt, n_gen=options.gen)
                row = head | measure(options, model, depth)
                table.writerow(row)
                out.flush()
                print(f"{row['model']} depth {depth}: pp {row['pp_ratio']}x, tg {row['tg_ratio']}x", file=sys.stderr)


if __name__ == "__main__":
    main()
