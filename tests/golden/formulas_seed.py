# SPDX-License-Identifier: MIT
"""PPO as it is usually sketched, computed from the sketch and from nothing else:

    for each prompt x:  y ~ policy(x);  r = reward(x, y)
        A     = r - V(x)
        ratio = exp(log policy(y_t) - log reference(y_t))               for each token
        loss  = -mean(min(ratio A, clip(ratio, 1 - eps, 1 + eps) A)) + vf (V - r)^2 / 2

No KL, no discount, no normalisation. V(x) is the value head's answer at the prompt, before the first token, at the time
of sampling. "mean" is over all tokens, the value's too: every position's V learns the reward of the completion.
conf/pipelines/ppo-seed.yaml has the options that make it: SETTINGS."""
import numpy as np
import torch

from ragged import LENGTHS, Ragged, f32

SETTINGS = {"ratio": "ref", "advantage": "reward-minus-value", "beta": "0", "gamma": "1", "clip_value": "0",
            "whiten_advantages": "false"}


def seed_case(name, lengths=LENGTHS, eps=0.2, vf=0.1, move=0.25, seed=1, mask=None, cuts=((8,), (4, 4), (1,) * 8)):
    rng = np.random.default_rng(4000 + seed)
    g = Ragged(lengths, mask)
    ref, old = f32(-rng.exponential(1.5, g.tokens)), None
    old = f32(ref + move * rng.standard_normal(g.tokens))
    logp = f32(old + move * rng.standard_normal(g.tokens))
    value_old = f32(rng.standard_normal(g.tokens))
    value = f32(value_old + 0.3 * rng.standard_normal(g.tokens))
    reward = f32(rng.standard_normal(len(lengths)))
    advantage, returns = np.zeros(g.tokens), np.zeros(g.tokens)
    losses, lp, v = [], torch.tensor(logp, requires_grad=True), torch.tensor(value, requires_grad=True)
    for r, tokens in enumerate(g.index):
        for t in tokens:
            advantage[t] = reward[r] - value_old[tokens[0]]
            returns[t] = reward[r]
            a = float(f32(advantage[t]))
            ratio = torch.exp(lp[t] - ref[t])
            clipped = torch.clamp(ratio, 1 - eps, 1 + eps)
            losses.append(-torch.min(ratio * a, clipped * a) + vf * (v[t] - reward[r]) ** 2 / 2)
    loss = torch.stack(losses).mean()
    loss.backward()
    call = {
        **g.shape(), "logp_old": g.input(old), "logp_ref": g.input(ref), "value_old": g.input(value_old),
        "reward": reward.tolist(), "ended": [1] * len(lengths), "logp": g.input(logp), "value": g.input(value),
        "cuts": [list(k) for k in cuts],
        "prepare": {"advantage": advantage.tolist(), "return": returns.tolist(), "metrics": {}},
        "loss": {"loss": float(loss.detach()), "metrics": {}, "d_logp": lp.grad.tolist(), "d_value": v.grad.tolist()},
    }
    return {"name": name, "options": {**SETTINGS, "clip": str(eps), "vf_coef": str(vf)}, "calls": [call]}


def ppo_seed():
    some = [1, 0, 1, 1, 1, 0, 1, 0, 1, 1, 1, 0, 0, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1]
    return [
        seed_case("the sketch"),
        seed_case("at the start", move=0.0, seed=2),
        seed_case("far from the reference", move=0.6, seed=3),
        seed_case("wide clip, strong value", eps=0.5, vf=1.0, seed=4),
        seed_case("masked tokens", mask=some, seed=5),
        seed_case("one token", lengths=[1], cuts=((1,),), seed=6),
    ]
