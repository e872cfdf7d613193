# SPDX-License-Identifier: MIT
"""PPO as in TRL 1.9, trl/experimental/ppo/ppo_trainer.py; see generate.py for what differs."""
import numpy as np
import torch

from ragged import EXP_LIMIT, LENGTHS, Ragged, f32, masked_mean, masked_whiten, values

DEFAULTS = dict(beta=0.05, kl="k1", target_kl=0.0, horizon=10000.0, gamma=1.0, lam=0.95, advantage="gae",
                missing_eos_penalty=0.0, reward_clip=0.0, whiten_rewards=False, whiten_advantages=True, clip=0.2,
                dual_clip=0.0, clip_high=0.0, ratio="old", vf_coef=0.1, clip_value=0.2, entropy=0.0)
SPELLING = {"lam": "lambda"}


def kl_estimate(name, logp, ref):
    logr = ref - logp
    if name == "k1":
        return -logr
    if name == "k2":
        return logr ** 2 / 2
    logr = torch.clamp(logr, max=EXP_LIMIT)
    return torch.special.expm1(logr) - logr


def ppo_prepare(c, beta, g, old, ref, value, score, ended):
    """TRL's steps 3 to 6 of a rollout: returns advantages, returns, metrics, mean KL."""
    rows = torch.arange(len(g.index))
    n = g.valid.sum(1)
    last = n - 1
    pad = ~g.valid
    old, value = g.pad(old), g.pad(value)
    score = torch.as_tensor(score)
    if c["reward_clip"]:
        score = torch.clamp(score, -c["reward_clip"], c["reward_clip"])
    score = score - c["missing_eos_penalty"] * (1 - torch.as_tensor(ended, dtype=torch.float64))
    kl = kl_estimate(c["kl"], old, g.pad(ref)) if ref is not None else torch.zeros_like(old)
    kl = kl.masked_fill(pad, 0)
    non_score_reward = -beta * kl
    reward = non_score_reward.clone()
    some = n > 0
    reward[rows[some], last[some]] += score[some]
    if c["whiten_rewards"]:
        reward = masked_whiten(reward, g.valid, shift_mean=False)
        reward = reward.masked_fill(pad, 0)
    length = old.shape[1]
    if c["advantage"] == "gae":
        lastgaelam, reversed_ = 0, []
        for t in reversed(range(length)):
            nextvalues = value[:, t + 1] if t < length - 1 else 0.0
            delta = reward[:, t] + c["gamma"] * nextvalues - value[:, t]
            lastgaelam = delta + c["gamma"] * c["lam"] * lastgaelam
            reversed_.append(lastgaelam)
        advantage = torch.stack(reversed_[::-1], axis=1)
        returns = advantage + value
    else:
        discount = c["gamma"] ** torch.arange(length)
        returns = torch.stack([(reward[:, t:] * discount[:length - t]).sum(1) for t in range(length)], 1)
        advantage = (returns[:, :1] - value[:, :1]).expand(-1, length)
    if c["whiten_advantages"]:
        advantage = masked_whiten(advantage, g.valid)
    advantage = advantage.masked_fill(pad, 0)
    returns = returns.masked_fill(pad, 0)
    mean_kl = kl.sum(1).mean()
    metrics = {
        "objective/entropy": (-old).masked_fill(pad, 0).sum(1).mean(),
        "objective/non_score_reward": non_score_reward.sum(1).mean(),
        "objective/rlhf_reward": non_score_reward.sum(1).mean() + score.mean(),
        "objective/scores": score.mean(),
        "val/num_eos_tokens": sum(ended),
    }
    if ref is not None:
        metrics["objective/kl"] = mean_kl
    if c["target_kl"]:
        metrics["objective/kl_coef"] = beta
    return g.flat(advantage), g.flat(returns), metrics, float(mean_kl)


def ppo_loss(c, g, logp, old, ref, value, value_old, entropy, advantage, returns):
    """TRL's inner loop on one batch."""
    pad = ~g.valid
    new = g.pad(logp).requires_grad_()
    vpred = g.pad(value).requires_grad_()
    ent = g.pad(entropy if entropy is not None else np.zeros(g.tokens)).requires_grad_()
    old, value_old, advantage, returns = g.pad(old), g.pad(value_old), g.pad(advantage), g.pad(returns)
    denominator = g.pad(ref) if c["ratio"] == "ref" else old

    vf_losses1 = torch.square(vpred - returns)
    if c["clip_value"]:
        vpredclipped = torch.clamp(vpred, value_old - c["clip_value"], value_old + c["clip_value"])
        vf_losses2 = torch.square(vpredclipped - returns)
    else:
        vf_losses2 = vf_losses1
    vf_loss = 0.5 * masked_mean(torch.max(vf_losses1, vf_losses2), ~pad)

    ratio = torch.exp(torch.clamp(new - denominator, max=EXP_LIMIT))
    pg_losses = -advantage * ratio
    pg_losses2 = -advantage * torch.clamp(ratio, 1.0 - c["clip"], 1.0 + (c["clip_high"] or c["clip"]))
    pg = torch.max(pg_losses, pg_losses2)
    if c["dual_clip"]:
        pg = torch.where(advantage < 0, torch.min(pg, -advantage * c["dual_clip"]), pg)
    pg_loss = masked_mean(pg, ~pad)
    loss = pg_loss + c["vf_coef"] * vf_loss - c["entropy"] * masked_mean(ent, ~pad)
    loss.backward()
    metrics = {
        "policy/approxkl_avg": 0.5 * masked_mean((new - old) ** 2, ~pad),
        "policy/clipfrac_avg": masked_mean((pg_losses2 > pg_losses).double(), ~pad),
        "loss/policy_avg": pg_loss,
        "loss/value_avg": vf_loss,
        "val/clipfrac_avg": masked_mean((vf_losses2 > vf_losses1).double(), ~pad),
        "val/ratio": masked_mean(ratio, ~pad),
        "val/ratio_var": masked_mean((ratio - 1) ** 2, ~pad),
    }
    if entropy is not None:
        metrics["policy/entropy_avg"] = masked_mean(ent, ~pad)
    expect = {"loss": float(loss.detach()), "metrics": values(metrics), "d_logp": g.flat(new.grad).tolist(),
              "d_value": g.flat(vpred.grad).tolist()}
    if c["entropy"]:
        expect["d_entropy"] = g.flat(ent.grad).tolist()
    return expect


def ppo_case(name, lengths=LENGTHS, mask=None, rollouts=1, drift=0.3, move=0.25, seed=1, with_ref=True,
             with_entropy=False, edit=None, cuts=((8,), (4, 4), (2, 2, 2, 2), (1,) * 8), **options):
    rng = np.random.default_rng(seed)
    c = {**DEFAULTS, **options}
    beta = c["beta"]
    calls = []
    for number in range(rollouts):
        g = Ragged(lengths, mask)
        old = f32(-rng.exponential(1.5, g.tokens))
        x = {
            "old": old,
            "ref": f32(old + drift * (1 + number) * rng.standard_normal(g.tokens)) if with_ref else None,
            "value_old": f32(0.5 * rng.standard_normal(g.tokens)),
            "score": f32(rng.standard_normal(len(lengths))),
            "ended": (rng.random(len(lengths)) < 0.6).astype(int).tolist(),
            "logp": f32(old + move * rng.standard_normal(g.tokens)),
        }
        x["value"] = f32(x["value_old"] + 0.3 * rng.standard_normal(g.tokens))
        x["entropy"] = f32(rng.exponential(2, g.tokens)) if with_entropy or c["entropy"] else None
        if edit:
            edit(x, rng)
        advantage, returns, metrics, kl = ppo_prepare(c, beta, g, x["old"], x["ref"], x["value_old"], x["score"],
                                                      x["ended"])
        call = {
            **g.shape(),
            "logp_old": g.input(x["old"]),
            "logp_ref": None if x["ref"] is None else g.input(x["ref"]),
            "value_old": g.input(x["value_old"]),
            "entropy": None if x["entropy"] is None else g.input(x["entropy"]),
            "reward": x["score"].tolist(), "ended": x["ended"],
            "logp": g.input(x["logp"]), "value": g.input(x["value"]),
            "cuts": [list(k) for k in cuts],
            "prepare": {"advantage": advantage.tolist(), "return": returns.tolist(), "metrics": values(metrics)},
        }
        call["loss"] = ppo_loss(c, g, x["logp"], x["old"], x["ref"], x["value"], x["value_old"], x["entropy"],
                                f32(advantage), f32(returns))
        calls.append(call)
        if c["target_kl"]:
            beta *= 1 + float(np.clip(kl / c["target_kl"] - 1, -0.2, 0.2)) * len(lengths) / c["horizon"]
    spelt = {SPELLING.get(k, k): (str(v).lower() if isinstance(v, bool) else str(v)) for k, v in options.items()}
    return {"name": name, "options": spelt, "calls": calls}


def far(x, rng):
    """Drifts of 200 nats both ways, in both comparisons, on both signs of the advantage."""
    n = len(x["old"])
    x["logp"] = f32(x["old"] + 200.0 * rng.choice([-1, 0, 1], n))
    x["ref"] = f32(x["old"] + 200.0 * rng.choice([-1, 0, 1], n))


def far_apart(x, rng):
    x["score"] = f32(np.where(rng.random(len(x["score"])) < 0.5, -1000.0, 1000.0))


def all_equal(x, rng):
    x["score"] = np.full(len(x["score"]), 0.75)
    x["ended"] = [1] * len(x["score"])
    x["ref"] = x["old"].copy()
    x["value_old"] = np.full(len(x["old"]), 0.25)


def at_start(x, rng):
    x["logp"], x["value"] = x["old"].copy(), x["value_old"].copy()


def all_cut_off(x, rng):
    x["ended"] = [0] * len(x["score"])


def ppo():
    some = [1, 0, 1, 1, 1, 0, 1, 0, 1, 1, 1, 0, 0, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1]
    return [
        ppo_case("defaults"),
        ppo_case("before the first update", edit=at_start),
        ppo_case("kl k2", kl="k2", seed=2),
        ppo_case("kl k3", kl="k3", seed=3),
        ppo_case("strong penalty", beta=0.5, kl="k3", seed=4),
        ppo_case("no penalty, no reference", beta=0.0, with_ref=False, seed=5),
        ppo_case("discount", gamma=0.9, lam=0.5, seed=6),
        ppo_case("lambda 0", lam=0.0, seed=7),
        ppo_case("lambda 1", lam=1.0, seed=8),
        ppo_case("reward minus value", advantage="reward-minus-value", seed=9),
        ppo_case("reward minus value, discounted, as it is", advantage="reward-minus-value", gamma=0.9,
                 whiten_advantages=False, seed=10),
        ppo_case("missing end", missing_eos_penalty=1.5, seed=11),
        ppo_case("all cut off", missing_eos_penalty=1.0, edit=all_cut_off, seed=12),
        ppo_case("reward clip", reward_clip=0.5, seed=13),
        ppo_case("reward clip and missing end", reward_clip=0.5, missing_eos_penalty=1.0, seed=14),
        ppo_case("whiten rewards", whiten_rewards=True, seed=15),
        ppo_case("whiten rewards only", whiten_rewards=True, whiten_advantages=False, seed=16),
        ppo_case("whiten nothing", whiten_advantages=False, seed=17),
        ppo_case("narrow clip", clip=0.05, seed=18),
        ppo_case("clip higher", clip_high=0.4, move=0.5, seed=40),
        ppo_case("dual clip", dual_clip=1.25, move=0.6, seed=19),
        ppo_case("ratio to the reference", ratio="ref", seed=20),
        ppo_case("value weight", vf_coef=0.7, seed=21),
        ppo_case("no value clip", clip_value=0.0, seed=22),
        ppo_case("narrow value clip", clip_value=0.05, seed=23),
        ppo_case("entropy bonus", entropy=0.02, seed=24),
        ppo_case("entropy reported", with_entropy=True, seed=25),
        ppo_case("masked tokens", mask=some, seed=26),
        ppo_case("masked tokens, all whitening, entropy", mask=some, whiten_rewards=True, entropy=0.01,
                 missing_eos_penalty=0.5, seed=27),
        ppo_case("masked tokens, reward minus value", mask=some, advantage="reward-minus-value", seed=28),
        ppo_case("drift of 200 nats", edit=far, seed=29),
        ppo_case("drift of 200 nats, k3", kl="k3", whiten_advantages=False, beta=1e-3, edit=far, seed=30),
        ppo_case("drift of 200 nats, k2, dual clip, ratio ref", kl="k2", dual_clip=3.0, ratio="ref", edit=far, seed=31),
        ppo_case("scores of 1000", edit=far_apart, whiten_advantages=False, seed=32),
        ppo_case("equal rewards", lam=1.0, edit=all_equal, seed=33),
        ppo_case("one row", lengths=[6], cuts=((1,),), seed=34),
        ppo_case("one token", lengths=[0, 1], cuts=((2,), (1, 1)), seed=35),
        ppo_case("one token, whitened rewards", lengths=[1], cuts=((1,),), whiten_rewards=True, seed=36),
        ppo_case("adaptive", beta=0.2, target_kl=0.6, horizon=40.0, rollouts=4, drift=0.2, seed=37),
        ppo_case("adaptive, exceeded", beta=0.2, target_kl=0.01, horizon=40.0, kl="k2", rollouts=3, seed=39),
        ppo_case("adaptive, k3, high target", beta=0.2, target_kl=6.0, horizon=40.0, kl="k3", rollouts=3, seed=38),
    ]
