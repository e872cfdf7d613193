# SPDX-License-Identifier: MIT
"""RLOO as in TRL 1.16, trl/trainer/rloo_trainer.py; see generate.py for what differs.

Groups of different sizes are allowed here. A group of one has no others to be compared with: its advantage is 0, as
TRL's 0/0 becomes. The `missing_eos_penalty`, `ratio`, `dual_clip`, `entropy` and other estimators of the KL are not in
TRL's trainer; they mean what they mean in PPO."""
import numpy as np
import torch

from formulas_grpo import GROUP_LENGTHS, GROUPS, clip_metrics
from formulas_ppo import SPELLING, kl_estimate
from ragged import EXP_LIMIT, Ragged, f32, masked_mean, values

DEFAULTS = dict(beta=0.05, kl="k1", normalize_advantages=False, missing_eos_penalty=0.0, reward_clip=0.0, clip=0.2,
                clip_high=0.0, dual_clip=0.0, ratio="old", entropy=0.0, target_kl=0.0, horizon=10000.0)


def nanstd(x):
    x = x[~torch.isnan(x)]
    return x.std() if len(x) > 1 else torch.tensor(0.0)


def rloo_prepare(c, beta, g, x, unit):
    completion_mask = g.valid
    rewards = torch.as_tensor(x["reward"]).clone()
    raw_std = nanstd(rewards)
    known = ~torch.isnan(rewards)
    if c["reward_clip"]:
        rewards = rewards.clamp(-c["reward_clip"], c["reward_clip"])
    ended = torch.as_tensor(x["ended"], dtype=torch.float64)
    rewards = rewards - c["missing_eos_penalty"] * (1 - ended)
    scores = rewards[known].mean()
    metrics = {"objective/entropy": (-g.pad(x["old"]) * completion_mask).sum(-1).mean(), "objective/scores": scores,
               "val/num_eos_tokens": ended.sum(), "reward_std": raw_std}
    kl = torch.zeros(len(rewards))
    if x["ref"] is not None:
        per_token_kl = kl_estimate(c["kl"], g.pad(x["old"]), g.pad(x["ref"])).masked_fill(~completion_mask, 0)
        kl = per_token_kl.sum(-1)
        metrics["objective/kl"] = kl.mean()
        if beta:
            metrics["kl"] = masked_mean(per_token_kl, completion_mask)
    metrics["objective/non_score_reward"] = -beta * kl.mean()
    metrics["objective/rlhf_reward"] = scores - beta * kl.mean()
    if c["target_kl"]:
        metrics["objective/kl_coef"] = beta
    rewards = rewards - beta * kl
    advantages = torch.full_like(rewards, float("nan"))
    still = torch.zeros_like(rewards)
    for u in range(len(unit) - 1):
        grouped = rewards[unit[u]:unit[u + 1]]
        scorable_counts = (~torch.isnan(grouped)).sum()
        grouped_sum = torch.nansum(grouped)
        baselines = (grouped_sum - grouped) / (scorable_counts - 1)
        advantages[unit[u]:unit[u + 1]] = grouped - baselines
        still[unit[u]:unit[u + 1]] = torch.isclose(nanstd(grouped), torch.tensor(0.0)).double()
    advantages[torch.isinf(advantages)] = float("nan")
    if c["normalize_advantages"]:
        advantages = (advantages - torch.nanmean(advantages)) / (nanstd(advantages) + 1e-4)
    advantages = torch.nan_to_num(advantages, nan=0.0)
    metrics["frac_reward_zero_std"] = still[known].mean()
    return advantages, metrics, float(kl.mean())


def rloo_loss(c, g, x, advantages):
    completion_mask = g.valid
    new = g.pad(x["logp"]).requires_grad_()
    ent = g.pad(x["entropy"] if x["entropy"] is not None else np.zeros(g.tokens)).requires_grad_()
    denominator = g.pad(x["ref"] if c["ratio"] == "ref" else x["old"])
    logps = (new * completion_mask).sum(1)
    old_logps = (denominator * completion_mask).sum(1)
    high = c["clip_high"] or c["clip"]
    log_ratio = logps - old_logps
    coef_1 = torch.exp(torch.clamp(log_ratio, max=EXP_LIMIT))
    coef_2 = torch.clamp(coef_1, 1 - c["clip"], 1 + high)
    per_sequence_loss = -torch.min(coef_1 * advantages, coef_2 * advantages)
    clipped = coef_2 * advantages < coef_1 * advantages
    if c["dual_clip"]:
        bound = -advantages * c["dual_clip"]
        per_sequence_loss = torch.where(advantages < 0, torch.min(per_sequence_loss, bound), per_sequence_loss)
    loss = per_sequence_loss.mean() - c["entropy"] * masked_mean(ent, completion_mask)
    loss.backward()
    rows = torch.ones(len(logps), 1, dtype=torch.bool)
    over = lambda row: masked_mean(row.detach().double().unsqueeze(1).expand(new.shape), completion_mask)
    metrics = {
        "policy/approxkl_avg": 0.5 * masked_mean((new - g.pad(x["old"])) ** 2, completion_mask),
        "policy/clipfrac_avg": over(clipped), "loss/policy_avg": over(per_sequence_loss),
        "val/ratio": over(coef_1), "val/ratio_var": over((coef_1 - 1) ** 2),
        **clip_metrics(((coef_1 < 1 - c["clip"]) & (advantages < 0)).unsqueeze(1),
                       ((coef_1 > 1 + high) & (advantages > 0)).unsqueeze(1), rows),
    }
    if x["entropy"] is not None:
        metrics["entropy"] = metrics["policy/entropy_avg"] = masked_mean(ent, completion_mask)
    expect = {"loss": float(loss.detach()), "metrics": values(metrics), "d_logp": g.flat(new.grad).tolist()}
    if c["entropy"]:
        expect["d_entropy"] = g.flat(ent.grad).tolist()
    return expect


def rollout(c, g, rows, rng, drift, move, with_entropy, edit):
    """Inputs of one rollout, for this and for REINFORCE++."""
    old = f32(-rng.exponential(1.5, g.tokens))
    x = {
        "old": old, "ref": f32(old + drift * rng.standard_normal(g.tokens)),
        "reward": f32(rng.standard_normal(rows)), "ended": (rng.random(rows) < 0.6).astype(int).tolist(),
        "logp": f32(old + move * rng.standard_normal(g.tokens)),
        "entropy": f32(rng.exponential(2, g.tokens)) if with_entropy or c["entropy"] else None,
    }
    if edit:
        edit(x, rng)
    if not (c["beta"] or c["ratio"] == "ref"):
        x["ref"] = None
    return x


def call_of(g, x, unit, advantage, metrics, cuts):
    return {
        **g.shape(), "unit": unit.tolist(), "logp_old": g.input(x["old"]),
        "logp_ref": None if x["ref"] is None else g.input(x["ref"]),
        "entropy": None if x["entropy"] is None else g.input(x["entropy"]),
        "reward": [None if np.isnan(v) else float(v) for v in x["reward"]], "ended": x["ended"],
        "logp": g.input(x["logp"]), "cuts": [list(k) for k in cuts],
        "prepare": {"advantage": advantage.tolist(), "metrics": values(metrics)},
    }


def adapt(c, beta, kl, rows):
    if not c["target_kl"]:
        return beta
    return beta * (1 + float(np.clip(kl / c["target_kl"] - 1, -0.2, 0.2)) * rows / c["horizon"])


def spelt(options):
    return {SPELLING.get(k, k): (str(v).lower() if isinstance(v, bool) else str(v)) for k, v in options.items()}


def rloo_case(name, lengths=GROUP_LENGTHS, groups=GROUPS, mask=None, rollouts=1, drift=0.3, move=0.1, seed=1,
              with_entropy=False, edit=None, cuts=((4,), (2, 2), (1,) * 4), **options):
    rng = np.random.default_rng(2000 + seed)
    c = {**DEFAULTS, **options}
    unit = np.concatenate([[0], np.cumsum(groups)]).astype(int)
    beta, calls = c["beta"], []
    for _ in range(rollouts):
        g = Ragged(lengths, mask)
        x = rollout(c, g, int(unit[-1]), rng, drift, move, with_entropy, edit)
        by_row, metrics, kl = rloo_prepare(c, beta, g, x, unit)
        some = torch.as_tensor([len(i) > 0 for i in g.index])
        advantage = g.flat(by_row.unsqueeze(1).expand(-1, g.width))
        call = call_of(g, x, unit, advantage, metrics, cuts)
        taken = torch.as_tensor(f32(torch.where(some, by_row, torch.zeros(()))))
        call["loss"] = rloo_loss(c, g, x, taken)
        calls.append(call)
        beta = adapt(c, beta, kl, len(lengths))
    return {"name": name, "options": spelt(options), "calls": calls}


def equal(x, rng):
    x["reward"] = np.full(len(x["reward"]), f32(0.1))
    x["ended"] = [1] * len(x["ended"])
    x["ref"] = x["old"].copy()


def equal_scores(x, rng):
    x["reward"] = np.full(len(x["reward"]), f32(0.1))


def some_unknown(x, rng):
    """Row 2, the whole second group, and all but one of the third have no score."""
    x["reward"][[2, 4, 5, 6, 7]] = np.nan


def far(x, rng):
    n = len(x["old"])
    x["logp"] = f32(x["old"] + 200.0 * rng.choice([-1, 0, 1], n))
    x["ref"] = f32(x["old"] + 200.0 * rng.choice([-1, 0, 1], n))
    x["reward"] = f32(np.where(rng.random(len(x["reward"])) < 0.5, -1000.0, 1000.0))


def at_start(x, rng):
    x["logp"] = x["old"].copy()


SOME = [i % 4 != 1 and i % 7 != 0 for i in range(sum(GROUP_LENGTHS))]


def rloo():
    return [
        rloo_case("defaults"),
        rloo_case("before the first update", edit=at_start, seed=2),
        rloo_case("normalised", normalize_advantages=True, seed=3),
        rloo_case("reward clip", reward_clip=0.5, seed=4),
        rloo_case("reward clip and missing end", reward_clip=0.5, missing_eos_penalty=1.0, seed=5),
        rloo_case("strong penalty", beta=0.7, seed=6),
        rloo_case("penalty k2", beta=0.3, kl="k2", seed=7),
        rloo_case("penalty k3, normalised", beta=0.3, kl="k3", normalize_advantages=True, seed=8),
        rloo_case("no penalty, no reference", beta=0.0, seed=9),
        rloo_case("far moves", move=0.4, seed=10),
        rloo_case("narrow clip", clip=0.02, seed=11),
        rloo_case("clip higher", clip_high=0.5, move=0.3, seed=12),
        rloo_case("dual clip", dual_clip=1.25, move=0.4, seed=13),
        rloo_case("ratio to the reference", ratio="ref", seed=14),
        rloo_case("ratio to the reference, no penalty", ratio="ref", beta=0.0, seed=15),
        rloo_case("entropy bonus", entropy=0.02, seed=16),
        rloo_case("entropy reported", with_entropy=True, seed=17),
        rloo_case("masked tokens", mask=SOME, seed=18),
        rloo_case("masked tokens, normalised, entropy", mask=SOME, normalize_advantages=True, entropy=0.01, seed=19),
        rloo_case("equal rewards", edit=equal, seed=20),
        rloo_case("equal rewards, normalised", edit=equal, normalize_advantages=True, seed=21),
        rloo_case("rewards as good as equal", edit=equal_scores, beta=1e-9, seed=30),
        rloo_case("scores missing", edit=some_unknown, seed=22),
        rloo_case("scores missing, normalised", edit=some_unknown, normalize_advantages=True, seed=23),
        rloo_case("far apart", edit=far, seed=24),
        rloo_case("far apart, k3, normalised", edit=far, kl="k3", beta=1e-3, normalize_advantages=True, seed=25),
        rloo_case("pairs", lengths=[2, 1, 1, 3], groups=(2, 2), cuts=((2,), (1, 1)), seed=26),
        rloo_case("tokens alone", lengths=[1, 0, 1], groups=(3,), cuts=((1,),), seed=27),
        rloo_case("a group of one", lengths=[4], groups=(1,), cuts=((1,),), seed=28),
        rloo_case("adaptive", beta=0.2, target_kl=0.6, horizon=40.0, rollouts=3, seed=29),
    ]
