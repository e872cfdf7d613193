#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes sft.json, rm.json, ppo.json, grpo.json and dpo.json: what the algorithms must compute.

usage: generate.py [FOLDER]      (needs requirements.txt; the default folder is this one)

The formulas are those of TRL's trainers, written as they stand there on padded
tensors, in float64, with derivatives by autograd:
  sft  TRL 1.16 SFTTrainer, loss_type nll
  rm   TRL 1.16 RewardTrainer; k-wise: InstructGPT (arXiv 2203.02155) eq. 1; Plackett-Luce
  ppo  TRL 1.9 trl/experimental/ppo/ppo_trainer.py
  grpo TRL 1.16 GRPOTrainer on R = aggregate_k R_k - variance Var_k[R_k], or ppo on that R
  dpo  TRL 1.16 DPOTrainer, CPOTrainer (simpo), ORPOTrainer, KTOTrainer; see formulas_dpo.py
Differences from TRL, all intended: the score is added on the last token instead of one
past it, nothing counts past the last token, exp() of a log-ratio is limited to e^20, and
val/ratio_var is the variance about 1 over tokens instead of that of micro-batch means.

Every input is a float32. null stands for NaN: a masked token that must not be read.
Numbers are printed so that they read back as the same double.
"""
import json
import os
import sys

import numpy as np
import torch

from formulas_dpo import dpo
from formulas_grpo import grpo
from formulas_ppo import ppo
from ragged import LENGTHS, Ragged, f32, masked_mean, values


# ---- SFT ----------------------------------------------------------------------------------
def sft_case(name, lengths=LENGTHS, mask=None, entropy=False, far_off=False, cuts=((8,), (4, 4), (1,) * 8), seed=1,
             **options):
    rng = np.random.default_rng(seed)
    g = Ragged(lengths, mask)
    logp = f32(-rng.exponential(2, g.tokens) * (400 if far_off else 1))
    ent = f32(rng.exponential(2, g.tokens))
    lp = g.pad(logp).requires_grad_()
    num_items = g.valid.sum()
    loss = (-lp * g.valid).sum() / max(int(num_items), 1)
    loss.backward()
    metrics = {"entropy": masked_mean(g.pad(ent), g.valid)} if entropy else {}
    call = {**g.shape(), "logp": g.input(logp), "entropy": g.input(ent) if entropy else None,
            "cuts": [list(k) for k in cuts],
            "loss": {"loss": float(loss.detach()), "metrics": values(metrics), "d_logp": g.flat(lp.grad).tolist()}}
    return {"name": name, "options": options, "calls": [call]}


def sft():
    some = [1, 0, 1, 1, 1, 0, 1, 0, 1, 1, 1, 0, 0, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1]
    return [
        sft_case("completions"),
        sft_case("whole texts", target="text", seed=2),
        sft_case("masked tokens", mask=some, seed=3),
        sft_case("entropy reported", mask=some, entropy=True, seed=4),
        sft_case("improbable texts", far_off=True, seed=5),
        sft_case("one token", lengths=[1], cuts=((1,),), seed=6),
        sft_case("nothing counts", lengths=[2, 0, 1], mask=[0, 0, 0], cuts=((3,), (1, 1, 1)), seed=7),
    ]


# ---- reward model -------------------------------------------------------------------------
def rm_case(name, sizes=(2,) * 8, spread=1.5, margins=False, ranks=None, score=None, cuts=((8,), (4, 4), (1,) * 8),
            seed=1, **options):
    rng = np.random.default_rng(seed)
    unit = np.concatenate([[0], np.cumsum(sizes)]).astype(int)
    rows = int(unit[-1])
    s = torch.as_tensor(f32(spread * rng.standard_normal(rows)) if score is None else f32(score)).requires_grad_()
    m = f32(rng.exponential(0.8, len(sizes))) if margins else None
    per_row = None if m is None else np.repeat(m, sizes)
    center = float(options.get("center", 0))
    kind = options.get("loss", "bradley-terry")
    used = torch.as_tensor(m) if m is not None and options.get("margin", "true") == "true" else torch.zeros(len(sizes))
    logsigmoid = torch.nn.functional.logsigmoid
    prompts, right, difference = [], [], []
    if kind == "bradley-terry":
        rewards_chosen, rewards_rejected = s[0::2], s[1::2]
        loss = -logsigmoid(rewards_chosen - rewards_rejected - used).mean()
        loss = loss + center * torch.mean((rewards_chosen + rewards_rejected) ** 2)
        right = [(rewards_chosen > rewards_rejected).double()]
        difference = [rewards_chosen - rewards_rejected]
    else:
        for u in range(len(sizes)):
            x = s[unit[u]:unit[u + 1]]
            rank = np.arange(sizes[u]) if ranks is None else np.asarray(ranks[u])
            pairs = [(i, j) for i in range(len(x)) for j in range(len(x)) if rank[i] < rank[j]]
            total = torch.zeros(())
            if pairs:
                w, l = x[[i for i, _ in pairs]], x[[j for _, j in pairs]]
                total = total + center * ((w + l) ** 2).mean()
                right.append((w > l).double())
                difference.append(w - l)
                if kind == "k-wise":
                    total = total - logsigmoid(w - l - used[u]).mean()
            if kind == "plackett-luce":
                for i in range(len(x)):
                    rest = [i] + [j for j in range(len(x)) if rank[j] > rank[i]]
                    total = total - torch.log_softmax(x[rest], 0)[0]
            prompts.append(total)
        loss = torch.stack(prompts).mean()
    loss.backward()
    metrics = {"accuracy": torch.cat(right).mean(), "margin": torch.cat(difference).mean(),
               "min_reward": s.min(), "mean_reward": s.mean(), "max_reward": s.max()}
    call = {"unit": unit.tolist(), "score": s.detach().tolist(),
            "margin": None if per_row is None else per_row.tolist(),
            "rank": None if ranks is None else [int(k) for r in ranks for k in r],
            "cuts": [list(k) for k in cuts],
            "loss": {"loss": float(loss.detach()), "metrics": values(metrics), "d_score": s.grad.tolist()}}
    return {"name": name, "options": options, "calls": [call]}


def rm():
    lists = (3, 1, 4, 2, 6, 3)
    c6 = ((6,), (3, 3), (1,) * 6)
    ordered = [[2, 0, 1], [0], [3, 1, 2, 0], [1, 0], [5, 4, 3, 2, 1, 0], [0, 1, 2]]
    tied = [[0, 0, 1], [0], [2, 2, 1, 0], [1, 0], [0, 1, 1, 1, 2, 2], [0, 0, 0]]
    far_scores = [1000, 0, 0, 1000, -500, 500, 500, -500, 3, -997, 0, 0, 88, -88, -1000, 0]
    return [
        rm_case("pairs"),
        rm_case("margin", margins=True, seed=2),
        rm_case("margin ignored", margins=True, margin="false", seed=3),
        rm_case("center", center="0.01", seed=4),
        rm_case("center and margin", margins=True, center="0.5", margin="true", seed=5),
        rm_case("scores of 1000", score=far_scores, seed=6),
        rm_case("equal scores", score=[0.5] * 16, seed=7),
        rm_case("one pair", sizes=(2,), cuts=((1,),), seed=8),
        rm_case("k-wise", loss="k-wise", sizes=lists, cuts=c6, seed=9),
        rm_case("k-wise, ranks", loss="k-wise", sizes=lists, ranks=ordered, cuts=c6, seed=10),
        rm_case("k-wise, ties, center", loss="k-wise", center="0.1", sizes=lists, ranks=tied, cuts=c6, seed=11),
        rm_case("k-wise on pairs with margin", loss="k-wise", margins=True, seed=12),
        rm_case("plackett-luce", loss="plackett-luce", sizes=lists, cuts=c6, seed=13),
        rm_case("plackett-luce, ranks", loss="plackett-luce", sizes=lists, ranks=ordered, cuts=c6, seed=14),
        rm_case("plackett-luce, ties, center", loss="plackett-luce", center="0.1", sizes=lists, ranks=tied, cuts=c6,
                seed=15),
        rm_case("plackett-luce on far scores", loss="plackett-luce", sizes=(4, 4, 4, 4), score=far_scores,
                cuts=((4,), (1,) * 4), seed=16),
    ]


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__))
    for name, make in (("sft", sft), ("rm", rm), ("ppo", ppo), ("grpo", grpo), ("dpo", dpo)):
        cases = make()
        head = {"algorithm": name, "torch": torch.__version__.split("+")[0], "cases": cases}
        with open(os.path.join(folder, name + ".json"), "w") as out:
            json.dump(head, out, separators=(",", ":"), allow_nan=False)
            out.write("\n")
        print(f"{name}.json: {len(cases)} cases")


if __name__ == "__main__":
    main()
