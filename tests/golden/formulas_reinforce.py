# SPDX-License-Identifier: MIT
"""REINFORCE++ (and with baseline "group" REINFORCE++-baseline) as in OpenRLHF 0.11,
openrlhf/trainer/ppo_utils/experience_maker.py and openrlhf/models/{loss,utils}.py.

There the estimates of the KL are limited to +-10 a token; here they are not. A row without a score, and the options
`missing_eos_penalty`, `ratio` and `whiten_advantages: false` are not in OpenRLHF; the metrics are those of PPO."""
import numpy as np
import torch

from formulas_grpo import GROUP_LENGTHS, GROUPS
from formulas_ppo import kl_estimate
from formulas_rloo import SOME, adapt, at_start, call_of, equal, far, nanstd, rollout, some_unknown, spelt
from ragged import EXP_LIMIT, Ragged, f32, masked_mean, values

DEFAULTS = dict(baseline="none", beta=0.01, kl="k1", gamma=1.0, reward_clip=10.0, whiten_advantages=True,
                missing_eos_penalty=0.0, clip=0.2, clip_high=0.0, dual_clip=0.0, ratio="old", entropy=0.0,
                target_kl=0.0, horizon=10000.0)


def reinforce_prepare(c, beta, g, x, unit):
    action_mask = g.valid
    ended = torch.as_tensor(x["ended"], dtype=torch.float64)
    rewards = torch.as_tensor(x["reward"]) - c["missing_eos_penalty"] * (1 - ended)
    known = ~torch.isnan(rewards)
    scores = rewards[known].mean()
    metrics = {"objective/entropy": (-g.pad(x["old"]) * action_mask).sum(-1).mean(), "objective/scores": scores,
               "val/num_eos_tokens": ended.sum()}
    kl = torch.zeros(action_mask.shape)
    if x["ref"] is not None:
        kl = kl_estimate(c["kl"], g.pad(x["old"]), g.pad(x["ref"])).masked_fill(~action_mask, 0)
        metrics["objective/kl"] = kl.sum(-1).mean()
    metrics["objective/non_score_reward"] = -beta * kl.sum(-1).mean()
    metrics["objective/rlhf_reward"] = scores - beta * kl.sum(-1).mean()
    if c["target_kl"]:
        metrics["objective/kl_coef"] = beta
    if c["baseline"] == "group":  # process_experiences
        still = torch.zeros_like(rewards)
        for u in range(len(unit) - 1):
            rows = slice(unit[u], unit[u + 1])
            still[rows] = torch.isclose(nanstd(rewards[rows]), torch.tensor(0.0)).double()
            rewards[rows] = rewards[rows] - torch.nanmean(rewards[rows])
        metrics["frac_reward_zero_std"] = still[known].mean()
    if c["reward_clip"]:  # compute_reward
        rewards = rewards.clamp(-c["reward_clip"], c["reward_clip"])
    reward = -beta * kl
    for r in range(len(rewards)):
        if len(g.index[r]):
            reward[r, len(g.index[r]) - 1] += rewards[r]
    returns = torch.zeros_like(reward)  # get_cumulative_returns
    cumulative_return = torch.zeros(len(rewards))
    for t in reversed(range(reward.shape[1])):
        cumulative_return = reward[:, t] + c["gamma"] * cumulative_return
        returns[:, t] = cumulative_return
    action_mask = action_mask & known.unsqueeze(1)
    advantages = torch.where(action_mask, returns, torch.zeros(()))
    if c["whiten_advantages"]:
        num_actions = action_mask.sum()
        mean = (advantages * action_mask).sum() / num_actions
        var = ((advantages - mean).pow(2) * action_mask).sum() / num_actions
        rstd = var.clamp(min=1e-8).rsqrt()
        advantages = (advantages - mean) * rstd
    return torch.where(action_mask, advantages, torch.zeros(())), metrics, float(kl.sum(-1).mean())


def reinforce_loss(c, g, x, advantages):
    action_mask = g.valid
    new = g.pad(x["logp"]).requires_grad_()
    ent = g.pad(x["entropy"] if x["entropy"] is not None else np.zeros(g.tokens)).requires_grad_()
    log_ratio = new - g.pad(x["ref"] if c["ratio"] == "ref" else x["old"])
    ratio = torch.clamp(log_ratio, max=EXP_LIMIT).exp()
    surr1 = ratio * advantages
    surr2 = ratio.clamp(1 - c["clip"], 1 + (c["clip_high"] or c["clip"])) * advantages
    if c["dual_clip"]:
        clip1 = torch.min(surr1, surr2)
        clip2 = torch.max(clip1, c["dual_clip"] * advantages)
        policy = -torch.where(advantages < 0, clip2, clip1)
    else:
        policy = -torch.min(surr1, surr2)
    loss = masked_mean(policy, action_mask) - c["entropy"] * masked_mean(ent, action_mask)
    loss.backward()
    metrics = {
        "policy/approxkl_avg": 0.5 * masked_mean((new - g.pad(x["old"])) ** 2, action_mask),
        "policy/clipfrac_avg": masked_mean((surr2 < surr1).double(), action_mask),
        "loss/policy_avg": masked_mean(policy, action_mask),
        "val/ratio": masked_mean(ratio, action_mask), "val/ratio_var": masked_mean((ratio - 1) ** 2, action_mask),
    }
    if x["entropy"] is not None:
        metrics["policy/entropy_avg"] = masked_mean(ent, action_mask)
    expect = {"loss": float(loss.detach()), "metrics": values(metrics), "d_logp": g.flat(new.grad).tolist()}
    if c["entropy"]:
        expect["d_entropy"] = g.flat(ent.grad).tolist()
    return expect


def reinforce_case(name, lengths=GROUP_LENGTHS, groups=GROUPS, mask=None, rollouts=1, drift=0.3, move=0.25, seed=1,
                   with_entropy=False, edit=None, cuts=((4,), (2, 2), (1,) * 4), **options):
    rng = np.random.default_rng(3000 + seed)
    c = {**DEFAULTS, **options}
    unit = np.concatenate([[0], np.cumsum(groups)]).astype(int)
    beta, calls = c["beta"], []
    for _ in range(rollouts):
        g = Ragged(lengths, mask)
        x = rollout(c, g, int(unit[-1]), rng, drift, move, with_entropy, edit)
        padded, metrics, kl = reinforce_prepare(c, beta, g, x, unit)
        advantage = g.flat(padded)
        call = call_of(g, x, unit, advantage, metrics, cuts)
        call["loss"] = reinforce_loss(c, g, x, g.pad(f32(advantage)))
        calls.append(call)
        beta = adapt(c, beta, kl, len(lengths))
    return {"name": name, "options": spelt(options), "calls": calls}


def reinforce():
    group = dict(baseline="group")
    return [
        reinforce_case("defaults"),
        reinforce_case("before the first update", edit=at_start, seed=2),
        reinforce_case("baseline", seed=3, **group),
        reinforce_case("baseline, discounted, strong penalty", gamma=0.9, beta=0.5, seed=4, **group),
        reinforce_case("discounted", gamma=0.7, seed=5),
        reinforce_case("penalty k2", beta=0.3, kl="k2", seed=6),
        reinforce_case("penalty k3", beta=0.3, kl="k3", seed=7),
        reinforce_case("no penalty, no reference", beta=0.0, seed=8),
        reinforce_case("reward clip", reward_clip=0.5, seed=9),
        reinforce_case("reward clip, baseline, missing end", reward_clip=0.5, missing_eos_penalty=1.0, seed=10, **group),
        reinforce_case("missing end", missing_eos_penalty=1.5, seed=11),
        reinforce_case("no reward clip", reward_clip=0.0, edit=far, whiten_advantages=False, seed=12),
        reinforce_case("as they are", whiten_advantages=False, seed=13),
        reinforce_case("as they are, baseline", whiten_advantages=False, gamma=0.9, seed=14, **group),
        reinforce_case("narrow clip", clip=0.05, seed=15),
        reinforce_case("clip higher", clip_high=0.4, move=0.5, seed=16),
        reinforce_case("dual clip", dual_clip=1.25, move=0.6, seed=17),
        reinforce_case("ratio to the reference", ratio="ref", seed=18),
        reinforce_case("entropy bonus", entropy=0.02, seed=19),
        reinforce_case("entropy reported", with_entropy=True, seed=20),
        reinforce_case("masked tokens", mask=SOME, seed=21),
        reinforce_case("masked tokens, baseline, discounted, entropy", mask=SOME, gamma=0.8, entropy=0.01, seed=22, **group),
        reinforce_case("equal rewards", edit=equal, seed=23),
        reinforce_case("equal rewards, baseline", edit=equal, seed=24, **group),
        reinforce_case("scores missing", edit=some_unknown, seed=25),
        reinforce_case("scores missing, baseline", edit=some_unknown, seed=26, **group),
        reinforce_case("far apart", edit=far, seed=27),
        reinforce_case("far apart, k3, baseline", edit=far, kl="k3", beta=1e-3, seed=28, **group),
        reinforce_case("one row", lengths=[6], groups=(1,), cuts=((1,),), seed=29),
        reinforce_case("one token", lengths=[0, 1], groups=(2,), cuts=((1,),), seed=30),
        reinforce_case("adaptive", beta=0.2, target_kl=0.6, horizon=40.0, rollouts=3, seed=31),
    ]
