#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""How much more positive did PPO make the reviews? The judge is a reward model that shares no training sentence with
the policies and no opening with anybody. Standard library only; rein does the arithmetic.

   judge_sentiment.py --judge judge/judge/model --held-out held-out.jsonl --pairs pairs-eval.jsonl \\
       --reference run/sft/model base=SmolLM2.gguf sft=run/sft/model ppo=run/align/model

Each policy answers every opening once. A row is scored as the judge was trained: prompt, completion, one end token,
which is added when the completion was cut off. Printed for each policy: the mean score, in units of the deviation of
the judge's scores of held-out sentences and from their mean; the share of reviews the judge takes for positive (above
that mean). Then for each policy but the one named sft (or the first): the gain over that one with a 95 % interval
(paired bootstrap over openings), and the KL to `--reference` (mean of log p - log p_reference over the completions).
"""
import argparse
import json
import math
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile


def rein(args, *words):
    out = subprocess.run([args.rein, *map(str, words)], stdout=subprocess.PIPE, check=False, text=True)
    if out.returncode:
        sys.exit(f"rein {' '.join(map(str, words))}: exit status {out.returncode}")
    return [json.loads(line) for line in out.stdout.splitlines()]


def write_rows(folder, name, rows):
    path = pathlib.Path(folder) / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def sum_logprobs(args, model, rows, starts, folder):
    """log p of each row's completion: ids from `start` on."""
    found = rein(args, "logprobs", model, write_rows(folder, "rows.jsonl", [{"input_ids": r} for r in rows]))
    return [sum(line["logprobs"][start:]) for line, start in zip(found, starts)]


def bootstrap(differences, draws=10000):
    rng = random.Random(1)
    n = len(differences)
    means = sorted(statistics.fmean(rng.choices(differences, k=n)) for _ in range(draws))
    return means[int(.025 * draws)], means[int(.975 * draws)]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rein", default="rein")
    p.add_argument("--judge", required=True)
    p.add_argument("--held-out", required=True)
    p.add_argument("--pairs", required=True)
    p.add_argument("--reference", required=True)
    p.add_argument("--max-tokens", type=int, default=40)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("policies", nargs="+", metavar="NAME=MODEL")
    args = p.parse_args()

    config = json.loads((pathlib.Path(args.judge) / "config.json").read_text())
    end = config["eos_token_id"]
    end = end[0] if isinstance(end, list) else end
    openings = [json.loads(line)["prompt"] for line in open(args.held_out, encoding="utf-8")]
    with tempfile.TemporaryDirectory() as folder:
        pairs = [json.loads(line) for line in open(args.pairs, encoding="utf-8")]
        sides = {side: [r["score"] for r in rein(args, "score", args.judge, write_rows(
            folder, side, [{"prompt": q["prompt"], "completion": q[side]} for q in pairs]))]
            for side in ("chosen", "rejected")}
        right = statistics.fmean(c > r for c, r in zip(sides["chosen"], sides["rejected"]))
        known = sides["chosen"] + sides["rejected"]
        centre, unit = statistics.fmean(known), statistics.stdev(known)
        print(f"judge: right in {right:.3f} of {len(pairs)} held-out pairs")

        prompts = [line["ids"] for line in rein(
            args, "logprobs", args.reference, write_rows(folder, "prompts", [{"text": o} for o in openings]))]
        scores, rows_of = {}, {}
        for word in args.policies:
            name, _, model = word.partition("=")
            replies = rein(args, "generate", model, "--prompts", args.held_out, "--max-tokens", args.max_tokens,
                           "--temperature", 1, "--seed", args.seed, "--json")
            rows = [q + r["completion_ids"] for q, r in zip(prompts, replies)]
            ended = [r[-1] == end for r in rows]
            judged = [r if e else r + [end] for r, e in zip(rows, ended)]
            found = rein(args, "score", args.judge, write_rows(folder, "judged", [{"input_ids": r} for r in judged]))
            scores[name] = [(line["score"] - centre) / unit for line in found]
            rows_of[name] = rows
            mean = statistics.fmean(scores[name])
            half = 1.96 * statistics.stdev(scores[name]) / math.sqrt(len(rows))
            positive = statistics.fmean(s > 0 for s in scores[name])
            print(f"{name}: score {mean:+.3f} ± {half:.3f}, positive {positive:.3f}, "
                  f"ended {statistics.fmean(ended):.3f}, {statistics.fmean(map(len, rows)):.1f} tokens")
            for opening, reply in list(zip(openings, replies))[:3]:
                print(f"    {opening}|{reply['completion']!r}")

        names = list(scores)
        base = next((n for n in names if n == "sft"), names[0])
        starts = list(map(len, prompts))
        for word in args.policies:
            name, _, model = word.partition("=")
            if name == base:
                continue
            gain = [a - b for a, b in zip(scores[name], scores[base])]
            low, high = bootstrap(gain)
            own = sum_logprobs(args, model, rows_of[name], starts, folder)
            reference = sum_logprobs(args, args.reference, rows_of[name], starts, folder)
            kl = [a - b for a, b in zip(own, reference)]
            half = 1.96 * statistics.stdev(kl) / math.sqrt(len(kl))
            print(f"{name} over {base}: {statistics.fmean(gain):+.3f}, 95 % from {low:+.3f} to {high:+.3f}; "
                  f"better in {statistics.fmean(g > 0 for g in gain):.3f} of {len(gain)} openings; "
                  f"KL to the reference {statistics.fmean(kl):.2f} ± {half:.2f} nats a completion")


if __name__ == "__main__":
    main()
