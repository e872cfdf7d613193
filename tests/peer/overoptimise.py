#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Does a penalty on the variance of a reward family help against over-optimisation? An experiment on the demo's world.

   overoptimise.py OUT [--seeds 1 2 3 4 5] [--rein rein]         (standard library only, plus awk for the gold rule)

For each seed: a quarter of the pairs get the wrong label; four reward models learn from them, which differ in their
heads and in the order of the pairs (Coste et al., arXiv 2310.02743); then the same policy is trained with a weak KL
penalty against
    ppo        the first reward model
    mean       grpo with all four, their mean alone (variance: 0)
    variance   grpo with all four, their mean less their variance (variance: 0.5)
and every reply of every rollout is judged by the gold rule (conf/demo/grammar.awk), which no training sees. Written:
OUT/curves.tsv (arm, seed, rollout, KL, proxy reward, share of good replies), OUT/curves.svg (KL against gold, mean over
seeds), and on stdout the last tenth of each arm, and the paired differences between arms.
"""
import argparse
import json
import math
import pathlib
import random
import statistics
import subprocess
import sys

DEMO = pathlib.Path(__file__).resolve().parents[2] / "conf/demo"
PAIRS, NOISE, MEMBERS, VARIANCE = 400, 0.25, 4, 0.5
ROLLOUT, STEPS = 128, 640
COLOURS = {"ppo": "#c0392b", "mean": "#2471a3", "variance": "#1e8449"}

SFT = """rein: 1
seed: {seed}
output: models
models:
  tiny: {{config: {demo}/model, init: random}}
stages:
  - name: sft
    algorithm: {{use: sft}}
    model: {{from: tiny}}
    data: {{train: {demo}/data/sft.jsonl}}
    train: {{epochs: 12, batch: 16, lr: 4.0e-3, warmup: 0.05}}
"""
MEMBER = """  - name: m{member}
    algorithm: {{use: rm}}
    model: {{from: sft, head: score}}
    data: {{train: noisy.jsonl, eval: {demo}/data/pairs-eval.jsonl}}
    train: {{epochs: 5, batch: 8, lr: 1.0e-3, warmup: 0.05, seed: {draw}}}
"""
ALIGN = """rein: 1
seed: {seed}
output: {arm}
stages:
  - name: align
    algorithm: {algorithm}
    model: {{from: models/sft/model}}
    reference: {{from: models/sft/model}}
    critic: {{from: models/m1/model, head: value, lr: 1.0e-3}}
    rewards:
      - {reward}
    data: {{train: {demo}/data/prompts.jsonl}}
    rollout: {{prompts: {rollout}, group: 1, max_tokens: 16, temperature: 1.0, samples: {rollout}}}
    train: {{steps: {steps}, epochs: 4, minibatch: 64, lr: 5.0e-4, warmup: 0.05}}
"""
MODELS = ", ".join(f"models/m{k}/model" for k in range(1, MEMBERS + 1))
ARMS = {
    "ppo": ("{use: ppo, beta: BETA}", "{use: rm, model: models/m1/model, standardise: true}"),
    "mean": ("{use: grpo, beta: BETA, variance: 0}", f"{{use: rm-ensemble, models: [{MODELS}]}}"),
    "variance": (f"{{use: grpo, beta: BETA, variance: {VARIANCE}}}", f"{{use: rm-ensemble, models: [{MODELS}]}}"),
}
BETA = "0.01"


def run(args, folder, text, name):
    path = folder / f"{name}.yaml"
    path.write_text(text)
    done = subprocess.run([args.rein, "run", str(path), "--threads", "1", "--overwrite", "-q"], check=False)
    if done.returncode:
        sys.exit(f"{path}: exit status {done.returncode}")


def noisy_pairs(path, seed):
    rng = random.Random(seed)
    with open(DEMO / "data/pairs.jsonl", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines][:PAIRS]
    for row in rows:
        if rng.random() < NOISE:
            row["chosen"], row["rejected"] = row["rejected"], row["chosen"]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def judged(rows, folder):
    """Share of good replies among rows of samples.jsonl."""
    prompts, replies = folder / "prompts.tmp", folder / "replies.tmp"
    prompts.write_text("".join(json.dumps({"prompt": r["prompt"]}) + "\n" for r in rows))
    replies.write_text("".join(json.dumps({"completion": r["completion"]}) + "\n" for r in rows))
    out = subprocess.run(["awk", "-f", DEMO / "grammar.awk", "-f", DEMO / "judge.awk", prompts, replies],
                         stdout=subprocess.PIPE, check=True, text=True).stdout
    return float(out.split()[1])


def curve(stage, folder):
    """[(KL, proxy, gold)] of each rollout."""
    by_step = {}
    for line in (stage / "samples.jsonl").read_text().splitlines():
        row = json.loads(line)
        by_step.setdefault(row["step"], []).append(row)
    metrics = {}
    for line in (stage / "metrics.jsonl").read_text().splitlines():
        row = json.loads(line)
        if "objective/kl" in row:
            metrics[row["step"]] = row
    return [(metrics[s]["objective/kl"], metrics[s]["reward"], judged(rows, folder)) for s, rows in
            sorted(by_step.items())]


def svg(curves, path):
    """KL against gold: thin lines are seeds, thick ones their mean over rollouts."""
    width, height, edge = 640, 400, 45
    most = max(kl for arms in curves.values() for c in arms.values() for kl, _, _ in c) or 1
    place = lambda kl, gold: f"{edge + (width - 2 * edge) * kl / most:.1f},{height - edge - (height - 2 * edge) * gold:.1f}"
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="12">',
           f'<rect width="{width}" height="{height}" fill="white"/>',
           f'<path d="M{place(0, 1)} {place(0, 0)} {place(most, 0)}" fill="none" stroke="black"/>']
    for tick in range(6):
        x, y = place(most * tick / 5, 0).split(",")
        out.append(f'<text x="{x}" y="{float(y) + 16}" text-anchor="middle">{most * tick / 5:.1f}</text>')
        x, y = place(0, tick / 5).split(",")
        out.append(f'<text x="{float(x) - 6}" y="{float(y) + 4}" text-anchor="end">{tick / 5:.1f}</text>')
    out.append(f'<text x="{width / 2}" y="{height - 8}" text-anchor="middle">KL to the first policy, nats a reply</text>')
    out.append(f'<text x="{edge}" y="20">share of replies that the gold rule calls good</text>')
    for n, (arm, seeds) in enumerate(curves.items()):
        for points in seeds.values():
            line = " ".join(place(kl, gold) for kl, _, gold in points)
            out.append(f'<polyline points="{line}" fill="none" stroke="{COLOURS[arm]}" stroke-width="0.6" opacity="0.5"/>')
        means = zip(*seeds.values())
        line = " ".join(place(statistics.fmean(p[0] for p in at), statistics.fmean(p[2] for p in at)) for at in means)
        out.append(f'<polyline points="{line}" fill="none" stroke="{COLOURS[arm]}" stroke-width="2.5"/>')
        out.append(f'<text x="{width - 110}" y="{40 + 16 * n}" fill="{COLOURS[arm]}">{arm}</text>')
    path.write_text("\n".join(out + ["</svg>\n"]))


def last_tenth(points, index):
    return statistics.fmean(p[index] for p in points[-max(1, len(points) // 10):])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out", type=pathlib.Path)
    p.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    p.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    p.add_argument("--rein", default="rein")
    args = p.parse_args()
    curves = {arm: {} for arm in args.arms}

    for seed in args.seeds:
        folder = args.out.resolve() / f"seed{seed}"
        folder.mkdir(parents=True, exist_ok=True)
        noisy_pairs(folder / "noisy.jsonl", seed)
        text = SFT.format(seed=seed, demo=DEMO)
        for k in range(1, MEMBERS + 1):
            text += MEMBER.format(member=k, demo=DEMO, draw=100 * seed + k)
        run(args, folder, text, "models")
        for arm in args.arms:
            algorithm, reward = ARMS[arm]
            run(args, folder, ALIGN.format(seed=seed, arm=arm, algorithm=algorithm.replace("BETA", BETA), reward=reward,
                                           demo=DEMO, rollout=ROLLOUT, steps=STEPS), arm)
            curves[arm][seed] = curve(folder / arm / "align", folder)
            c = curves[arm][seed]
            best = max(gold for _, _, gold in c)
            print(f"seed {seed} {arm}: gold {c[0][2]:.3f} -> best {best:.3f} -> last {last_tenth(c, 2):.3f}, "
                  f"KL {last_tenth(c, 0):.1f}, proxy {last_tenth(c, 1):.2f}", flush=True)
    with open(args.out / "curves.tsv", "w", encoding="utf-8") as out:
        print("arm\tseed\trollout\tkl\tproxy\tgold", file=out)
        for arm, seeds in curves.items():
            for seed, points in seeds.items():
                for n, (kl, proxy, gold) in enumerate(points):
                    print(f"{arm}\t{seed}\t{n}\t{kl:.6g}\t{proxy:.6g}\t{gold:.6g}", file=out)
    svg(curves, args.out / "curves.svg")
    ends = {arm: [last_tenth(seeds[s], 2) for s in args.seeds] for arm, seeds in curves.items()}
    for arm, gold in ends.items():
        print(f"{arm}: gold at the end {statistics.fmean(gold):.3f}  ({' '.join(f'{g:.3f}' for g in gold)})")
    for arm in args.arms[1:]:
        d = [a - b for a, b in zip(ends[arm], ends[args.arms[0]])]
        error = statistics.stdev(d) / math.sqrt(len(d)) if len(d) > 1 else float("nan")
        print(f"{arm} - {args.arms[0]}: {statistics.fmean(d):+.3f} +- {error:.3f} (standard error over {len(d)} seeds)")


if __name__ == "__main__":
    main()
