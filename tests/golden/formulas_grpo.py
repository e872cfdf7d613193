# SPDX-License-Identifier: MIT
"""GRPO as in TRL 1.16, trl/trainer/grpo_trainer.py, on the reward family; see generate.py."""
import numpy as np
import torch

from formulas_ppo import DEFAULTS, SPELLING, ppo_loss, ppo_prepare
from ragged import EXP_LIMIT, Ragged, f32, masked_mean, values

MAX_TOKENS = 8
GRPO_DEFAULTS = dict(baseline="group", aggregate="mean", variance=0.1, softness=1.0, loss="dapo", scale="group",
                     kl_correction=True)
GROUPS = (4, 2, 3, 1)
GROUP_LENGTHS = [3, 1, 5, 2, 0, 7, 4, 1, 6, 3]


def aggregate(c, family):
    """family [K][rows] -> R [rows]; NaN members are left out."""
    out = []
    for r in range(family.shape[1]):
        x = family[:, r]
        x = torch.as_tensor(x[~np.isnan(x)])
        if len(x) == 0:
            out.append(torch.tensor(float("nan")))
            continue
        value = {"mean": x.mean, "min": x.min,
                 "uncertainty": lambda: -c["softness"] * (torch.logsumexp(-x / c["softness"], 0) - np.log(len(x)))}
        out.append(value[c["aggregate"]]() - c["variance"] * x.var(unbiased=False))
    return torch.stack(out)


def group_advantages(c, score, unit):
    """TRL: rewards grouped by prompt, std with Bessel's correction, + 1e-4; a reward of None has no advantage."""
    advantage = torch.zeros_like(score)
    known = ~torch.isnan(score)
    std_all = score[known].std() if known.sum() > 1 else torch.tensor(0.0)
    stds = torch.zeros_like(score)
    for u in range(len(unit) - 1):
        rows = [r for r in range(unit[u], unit[u + 1]) if known[r]]
        if not rows:
            continue
        x = score[rows]
        std = x.std() if len(rows) > 1 else torch.tensor(0.0)
        stds[rows] = std
        divisor = {"group": std + 1e-4, "batch": std_all + 1e-4, "none": torch.tensor(1.0)}[c["scale"]]
        advantage[rows] = (x - x.mean()) / divisor
    metrics = {
        "reward_std": std_all if c["scale"] == "batch" else stds[known].mean(),
        "frac_reward_zero_std": (stds[known] == 0).double().mean(),
    }
    return advantage, metrics


def clip_metrics(low, high, valid):
    """TRL's clip_ratio/*: over tokens, and the extremes of a row; rows without tokens are nan to it and left out."""
    some = valid.sum(-1) > 0
    by_row = [((x & valid).sum(-1) / valid.sum(-1))[some] for x in (low, high)]
    return {
        "clip_ratio/low_mean": masked_mean(low.double(), valid), "clip_ratio/low_min": by_row[0].min(),
        "clip_ratio/high_mean": masked_mean(high.double(), valid), "clip_ratio/high_max": by_row[1].max(),
        "clip_ratio/region_mean": masked_mean((low | high).double(), valid),
    }


def grpo_policy_loss(c, g, x, advantage, rollout_tokens, rollout_rows):
    """TRL 1.16 GRPOTrainer._compute_loss; advantage [rows, width]."""
    mask = g.valid.double()
    new = g.pad(x["logp"]).requires_grad_()
    denominator = g.pad(x["ref"] if c["ratio"] == "ref" else x["old"])
    log_ratio = new - denominator
    if c["loss"] == "gspo":
        log_weights = ((log_ratio * mask).sum(-1) / mask.sum(-1).clamp(min=1.0)).unsqueeze(-1)
    else:
        log_weights = log_ratio
    coef_1 = torch.exp(torch.clamp(log_weights, max=EXP_LIMIT)).expand_as(new)
    ratio = coef_1.detach()
    high = c["clip_high"] or c["clip"]
    if c["loss"] == "cispo":
        per_token_loss = -torch.clamp(coef_1, max=high).detach() * advantage * new
        clipped = (coef_1 > high) & (advantage > 0)
        high_clipped = clipped
    else:
        coef_2 = torch.clamp(coef_1, 1 - c["clip"], 1 + high)
        limited = torch.clamp(coef_1, max=c["dual_clip"]) if c["dual_clip"] else coef_1
        per_token_loss = -torch.min(limited * advantage, coef_2 * advantage)
        clipped = coef_2 * advantage < coef_1 * advantage
        high_clipped = (coef_1 > 1 + high) & (advantage > 0)
    low_clipped = (coef_1 < 1 - c["clip"]) & (advantage < 0)
    per_token_kl = torch.zeros_like(new)
    if c["baseline"] == "group" and c["beta"]:
        d = torch.clamp(g.pad(x["ref"]) - new, max=EXP_LIMIT)
        per_token_kl = (torch.special.expm1(d) - d) * (coef_1 if c["kl_correction"] else 1.0)
        per_token_loss = per_token_loss + c["beta"] * per_token_kl
    per_token_loss = per_token_loss * mask
    rows = len(g.index)
    if c["loss"] in ("grpo", "gspo"):
        loss = (per_token_loss.sum(-1) / mask.sum(-1).clamp(min=1.0)).mean()
    elif c["loss"] == "bnpo":
        loss = per_token_loss.sum() / mask.sum().clamp(min=1.0)
    elif c["loss"] == "dr_grpo":
        loss = per_token_loss.sum() / (rows * MAX_TOKENS)
    else:
        loss = per_token_loss.sum() / (rollout_tokens * rows / rollout_rows)
    metrics = {
        "policy/approxkl_avg": 0.5 * masked_mean((new - g.pad(x["old"])) ** 2, g.valid),
        "policy/clipfrac_avg": masked_mean(clipped.double(), g.valid),
        "loss/policy_avg": masked_mean(per_token_loss, g.valid),
        "val/ratio": masked_mean(ratio, g.valid),
        "val/ratio_var": masked_mean((ratio - 1) ** 2, g.valid),
    }
    if c["loss"] == "cispo":
        metrics["cispo_clip_ratio"] = masked_mean(high_clipped.double(), g.valid)
    else:
        metrics.update(clip_metrics(low_clipped, high_clipped, g.valid))
    if c["baseline"] == "group" and c["beta"]:
        metrics["kl"] = masked_mean(per_token_kl, g.valid)
    return loss, new, metrics


def part(g, n, flat):
    return None if flat is None else flat[:g.offset[n]]


def grpo_case(name, lengths=GROUP_LENGTHS, groups=GROUPS, mask=None, members=4, spread=0.7, drift=0.3, move=0.25,
              seed=1, edit=None, take=None, with_entropy=False, cuts=((4,), (2, 2), (1,) * 4), **options):
    rng = np.random.default_rng(1000 + seed)
    c = {**DEFAULTS, "beta": 0.0, **GRPO_DEFAULTS, **options}
    if c["baseline"] == "value":
        c.update({"beta": options.get("beta", 0.05), "loss": options.get("loss", "bnpo")})
    g = Ragged(lengths, mask)
    unit = np.concatenate([[0], np.cumsum(groups)]).astype(int)
    rows = int(unit[-1])
    old = f32(-rng.exponential(1.5, g.tokens))
    x = {
        "old": old, "ref": f32(old + drift * rng.standard_normal(g.tokens)),
        "value_old": f32(0.5 * rng.standard_normal(g.tokens)),
        "family": f32(rng.standard_normal(rows) + spread * rng.standard_normal((members, rows))),
        "ended": (rng.random(rows) < 0.6).astype(int).tolist(),
        "logp": f32(old + move * rng.standard_normal(g.tokens)),
    }
    x["value"] = f32(x["value_old"] + 0.3 * rng.standard_normal(g.tokens))
    x["entropy"] = f32(rng.exponential(2, g.tokens)) if with_entropy or c["entropy"] else None
    if edit:
        edit(x, rng)
    critic = c["baseline"] == "value"
    if not (c["beta"] or c["ratio"] == "ref"):
        x["ref"] = None
    score = aggregate(c, x["family"])
    known = ~torch.isnan(score)
    filled = torch.where(known, score, torch.zeros(()))
    advantage, returns, metrics, _ = ppo_prepare(c, c["beta"] if critic else 0.0, g, x["old"], x["ref"],
                                                 x["value_old"], filled.numpy(), x["ended"])
    metrics["objective/reward_variance"] = torch.stack([
        torch.as_tensor(f[~np.isnan(f)]).var(unbiased=False) for f in x["family"].T if not np.isnan(f).all()]).mean()
    if not critic:
        shaped = torch.clamp(score, -c["reward_clip"], c["reward_clip"]) if c["reward_clip"] else score
        shaped = shaped - c["missing_eos_penalty"] * (1 - torch.as_tensor(x["ended"], dtype=torch.float64))
        by_row, more = group_advantages(c, shaped, unit)
        metrics.update(more)
        metrics["objective/scores"] = metrics["objective/rlhf_reward"] = shaped[known].mean()
        advantage = g.flat(by_row.unsqueeze(1).expand(-1, g.width))
        returns = None
    call = {
        **g.shape(), "unit": unit.tolist(), "take": take,
        "logp_old": g.input(x["old"]), "logp_ref": None if x["ref"] is None else g.input(x["ref"]),
        "value_old": g.input(x["value_old"]) if critic else None, "value": g.input(x["value"]) if critic else None,
        "entropy": None if x["entropy"] is None else g.input(x["entropy"]),
        "family": [None if np.isnan(v) else float(v) for v in x["family"].reshape(-1)], "ended": x["ended"],
        "logp": g.input(x["logp"]), "cuts": [list(k) for k in cuts],
        "prepare": {"advantage": advantage.tolist(), "return": returns.tolist() if critic else None,
                    "metrics": values(metrics)},
    }
    # the step: the first `take` groups
    n = rows if take is None else int(unit[take])
    s = Ragged(lengths[:n], None if mask is None else mask[:g.offset[n]])
    y = {k: part(g, n, v) for k, v in x.items() if k not in ("family", "ended")}
    taken = f32(part(g, n, advantage))
    loss, new, metrics = grpo_policy_loss(c, s, y, s.pad(taken), int(g.valid.sum()), rows)
    ent = s.pad(y["entropy"] if y["entropy"] is not None else np.zeros(s.tokens)).requires_grad_()
    loss = loss - c["entropy"] * masked_mean(ent, s.valid)
    expect = {}
    if critic:
        rest = ppo_loss({**c, "ratio": "old"}, s, y["logp"], y["old"], y["ref"], y["value"], y["value_old"], None,
                        taken, f32(part(g, n, returns)))
        expect["d_value"] = rest["d_value"]
        for k in ("loss/value_avg", "val/clipfrac_avg"):
            metrics[k] = rest["metrics"][k]
        loss = loss + c["vf_coef"] * rest["metrics"]["loss/value_avg"]
    loss.backward()
    if y["entropy"] is not None:
        metrics["policy/entropy_avg"] = metrics["entropy"] = masked_mean(ent, s.valid)
    if c["entropy"]:
        expect["d_entropy"] = s.flat(ent.grad).tolist()
    call["loss"] = {"loss": float(loss.detach()), "metrics": values(metrics), "d_logp": s.flat(new.grad).tolist(),
                    **expect}
    options = {"baseline": "group", **options}
    spelt = {SPELLING.get(k, k): (str(v).lower() if isinstance(v, bool) else str(v)) for k, v in options.items()}
    return {"name": name, "options": spelt, "calls": [call]}


def some_silent(x, rng):
    """Members without an opinion; row 2 and the whole second group have none."""
    x["family"][rng.random(x["family"].shape) < 0.3] = np.nan
    x["family"][:, [2, 4, 5]] = np.nan
    x["family"][0, [0, 1, 3, 6, 7, 8, 9]] = f32(rng.standard_normal(7))


def agreed(x, rng):
    x["family"] = np.full(x["family"].shape, 0.75)
    x["ended"] = [1] * len(x["ended"])


def far_family(x, rng):
    x["logp"] = f32(x["old"] + 200.0 * rng.choice([-1, 0, 1], len(x["old"])))
    x["ref"] = f32(x["old"] + 200.0 * rng.choice([-1, 0, 1], len(x["old"])))
    x["family"] = f32(x["family"] + 1000.0 * rng.choice([-1, 0, 1], x["family"].shape))


def grpo():
    some = [i % 4 != 1 and i % 7 != 0 for i in range(sum(GROUP_LENGTHS))]
    return [
        grpo_case("groups"),
        *[grpo_case("loss " + loss, loss=loss, seed=2 + i, **({"clip_high": 1.1} if loss == "cispo" else {}))
          for i, loss in enumerate(("grpo", "bnpo", "dr_grpo", "dapo", "gspo", "cispo"))],
        *[grpo_case("with KL, loss " + loss, loss=loss, beta=0.04, seed=10 + i, mask=some,
                    **({"clip_high": 1.1} if loss == "cispo" else {}))
          for i, loss in enumerate(("grpo", "bnpo", "dr_grpo", "dapo", "gspo", "cispo"))],
        grpo_case("part of a rollout, dapo", take=2, cuts=((2,), (1, 1)), seed=20),
        grpo_case("part of a rollout, cispo", take=3, loss="cispo", clip_high=5.0, cuts=((3,), (1, 2)), seed=21),
        grpo_case("part of a rollout, grpo", take=3, loss="grpo", cuts=((3,), (1, 1, 1)), seed=22),
        grpo_case("KL without the ratio", beta=0.04, kl_correction=False, seed=23),
        grpo_case("KL without the ratio, gspo", beta=0.04, kl_correction=False, loss="gspo", seed=24),
        grpo_case("clip higher", clip_high=0.28, move=0.6, seed=25),
        grpo_case("two-sided clip", dual_clip=1.5, move=0.8, seed=26),
        grpo_case("scale by the rollout", scale="batch", seed=27),
        grpo_case("no scale", scale="none", seed=28),
        grpo_case("no variance penalty", variance=0.0, seed=29),
        grpo_case("strong variance penalty", variance=2.0, seed=30),
        grpo_case("worst member", aggregate="min", variance=0.0, seed=31),
        grpo_case("weighted by doubt", aggregate="uncertainty", softness=0.5, variance=0.0, seed=32),
        grpo_case("weighted by doubt, and variance", aggregate="uncertainty", softness=20.0, seed=33),
        grpo_case("one member", members=1, seed=34),
        grpo_case("no opinions", edit=some_silent, seed=35),
        grpo_case("no opinions, scaled by the rollout", edit=some_silent, scale="batch", aggregate="min", seed=36),
        grpo_case("all agree", edit=agreed, seed=37),
        grpo_case("clipped and cut off", reward_clip=0.5, missing_eos_penalty=1.0, seed=38),
        grpo_case("entropy bonus", entropy=0.02, seed=39),
        grpo_case("ratio to the reference", ratio="ref", seed=40),
        grpo_case("far apart", edit=far_family, beta=0.04, seed=41),
        grpo_case("far apart, gspo", edit=far_family, beta=0.04, loss="gspo", seed=42),
        grpo_case("far apart, doubt, scale none", edit=far_family, aggregate="uncertainty", scale="none", seed=43),
        grpo_case("critic", baseline="value", seed=44),
        grpo_case("critic, worst member, masked", baseline="value", aggregate="min", mask=some, seed=45),
        grpo_case("critic, doubt, k3, whitened rewards", baseline="value", aggregate="uncertainty", kl="k3",
                  whiten_rewards=True, seed=46),
        grpo_case("critic, reward minus value, gspo", baseline="value", advantage="reward-minus-value", loss="gspo",
                  seed=47),
        grpo_case("critic, dr_grpo, entropy", baseline="value", loss="dr_grpo", entropy=0.01, seed=48),
    ]
