#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Golden numbers of AdamW, gradient clipping and learning-rate schedules.

usage: generate_optim.py > optim.json      (versions: requirements.txt)

Weights after several steps of torch.optim.AdamW in float32 with torch's clip_grad_norm_ and transformers' schedules,
on gradients that are exactly representable in float32.
"""
import json
import math

import torch
import transformers

torch.set_num_threads(1)

SHAPES = [("matrix.weight", (3, 5), True), ("norm.weight", (7,), False)]


def values(count, salt):
    """Small multiples of 1/64 that look arbitrary."""
    return [((i * 37 + salt * 101) % 257 - 128) / 64 for i in range(count)]


def adamw(steps, lr, betas, eps, decay, decay_all, max_norm, schedule):
    params = []
    for salt, (name, shape, _) in enumerate(SHAPES):
        count = math.prod(shape)
        params.append(torch.nn.Parameter(torch.tensor(values(count, salt + 50), dtype=torch.float32).reshape(shape)))
    groups = [{"params": [p], "weight_decay": decay if d or decay_all else 0.0} for p, (_, _, d) in zip(params, SHAPES)]
    optimizer = torch.optim.AdamW(groups, lr=lr, betas=betas, eps=eps, fused=False, foreach=False)
    make = {"linear": transformers.get_linear_schedule_with_warmup,
            "cosine": transformers.get_cosine_schedule_with_warmup}.get(schedule)
    warmup = math.ceil(0.25 * steps)
    if make:
        scheduler = make(optimizer, num_warmup_steps=warmup, num_training_steps=steps)
    else:
        scheduler = transformers.get_constant_schedule_with_warmup(optimizer, num_warmup_steps=warmup)
    norms, rates = [], []
    for step in range(steps):
        for salt, p in enumerate(params):
            g = values(p.numel(), 7 * step + salt)
            p.grad = torch.tensor(g, dtype=torch.float32).reshape(p.shape)
        norms.append(float(torch.nn.utils.clip_grad_norm_(params, max_norm if max_norm else math.inf)))
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return {"steps": steps, "lr": lr, "beta1": betas[0], "beta2": betas[1], "eps": eps, "weight_decay": decay,
            "weight_decay_all": decay_all, "max_grad_norm": max_norm, "schedule": schedule, "warmup": 0.25,
            "norms": norms, "rates": rates, "weights": [p.detach().flatten().tolist() for p in params]}


def factors(kind, share, total):
    p = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([p], lr=1.0)
    steps = math.ceil(total * share)  # as TrainingArguments.get_warmup_steps
    if kind == "linear":
        scheduler = transformers.get_linear_schedule_with_warmup(optimizer, steps, total)
    elif kind == "cosine":
        scheduler = transformers.get_cosine_schedule_with_warmup(optimizer, steps, total)
    else:
        scheduler = transformers.get_constant_schedule_with_warmup(optimizer, steps)
    out = []
    for _ in range(total):
        out.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    return {"kind": kind, "share": share, "total": total, "factors": out}


def main():
    result = {
        "versions": {"torch": torch.__version__.split("+")[0], "transformers": transformers.__version__},
        "shapes": [[name, math.prod(shape), decay] for name, shape, decay in SHAPES],
        "adamw": [
            adamw(8, 1e-2, (0.9, 0.999), 1e-8, 0.0, False, 1.0, "linear"),
            adamw(8, 3e-3, (0.9, 0.95), 1e-5, 0.1, False, 0.0, "cosine"),
            adamw(6, 1e-3, (0.8, 0.99), 1e-8, 0.01, True, 100.0, "constant"),
        ],
        "schedules": [factors(k, s, n) for k in ("linear", "cosine", "constant")
                      for s, n in ((0.0, 7), (0.03, 10), (0.5, 9), (1.0, 4))],
    }
    print(json.dumps(result, indent=1))


main()
