# SPDX-License-Identifier: MIT
"""DPO and its relatives as in TRL 1.16, written as they stand there on padded tensors; see generate.py.

  sigmoid, hinge, ipo, robust  trl/trainer/dpo_trainer.py
  cdpo                         OpenRLHF's DPOLoss with label_smoothing
  simpo                        trl/experimental/cpo/cpo_trainer.py, loss_type simpo
  orpo                         trl/experimental/orpo/orpo_trainer.py
  kto                          trl/trainer/kto_trainer.py

Differences from TRL, all intended: the length that simpo and orpo divide by is at least 1 (TRL: 0/0), orpo's mean log p is
at most -2^-24, orpo's likelihood is that of the chosen completion (TRL: prompt included, the paper: not), and kto's batch is
the optimiser step.
"""
import numpy as np
import torch
import torch.nn.functional as F

from ragged import Ragged, f32, masked_mean, values

DEFAULTS = dict(loss="sigmoid", beta=0.1, label_smoothing=0.0, simpo_gamma=0.5, cpo_alpha=1.0, desirable_weight=1.0,
                undesirable_weight=1.0)
PAIR_LENGTHS = [3, 1, 5, 4, 2, 7, 4, 1, 6, 3, 1, 1, 2, 8, 5, 3]
KTO_LENGTHS = [3, 1, 5, 4, 2, 7, 4, 1]
KL_LENGTHS = [2, 3, 1, 5, 4, 2, 7, 4]
LABELS = [1, 0, 0, 1, 1, 1, 0, 1]
CUTS = ((8,), (4, 4), (1,) * 8, (3, 5))
LOGP_MOST = -2.0 ** -24


def log1mexp(x):
    """TRL's: Maechler, log(1 - exp(x)) for x < 0."""
    t = -0.6931471805599453
    return torch.where(x < t, torch.log1p(-torch.exp(x)), torch.log(-torch.expm1(x)))


def preference(c, g, logp, logp_ref):
    """Loss and metrics of pairs: rows 0, 2, ... are chosen."""
    beta, label_smoothing, mask = c["beta"], c["label_smoothing"], g.valid.double()
    logps = (logp * mask).sum(-1)
    lengths = mask.sum(-1).clamp(min=1.0)
    metrics = {}
    if c["loss"] in ("simpo", "orpo"):
        average = logps / lengths
        chosen_logps, rejected_logps = average[0::2], average[1::2]
        nll_loss = -(logp * mask)[0::2].sum() / mask[0::2].sum().clamp(min=1.0)
        chosen_rewards, rejected_rewards = beta * chosen_logps, beta * rejected_logps
        if c["loss"] == "simpo":
            logits = chosen_logps - rejected_logps - c["simpo_gamma"] / beta
            losses = (-F.logsigmoid(beta * logits) * (1 - label_smoothing)
                      - F.logsigmoid(-beta * logits) * label_smoothing)
            loss = losses.mean() + c["cpo_alpha"] * nll_loss
        else:
            a, b = chosen_logps.clamp(max=LOGP_MOST), rejected_logps.clamp(max=LOGP_MOST)
            log_odds = (a - b) - (log1mexp(a) - log1mexp(b))
            ratio = F.logsigmoid(log_odds)
            loss = nll_loss - (beta * ratio).mean()
            metrics.update({"log_odds_ratio": ratio.mean(), "log_odds_chosen": log_odds.mean()})
        if (c["loss"] == "orpo" or c["cpo_alpha"]) and mask[0::2].any():
            metrics["nll_loss"] = nll_loss
    else:
        ref_logps = (logp_ref * mask).sum(-1)
        chosen_logps, rejected_logps = logps[0::2], logps[1::2]
        chosen_logratios = chosen_logps - ref_logps[0::2]
        rejected_logratios = rejected_logps - ref_logps[1::2]
        delta_score = chosen_logratios - rejected_logratios
        if c["loss"] == "sigmoid":
            losses = -F.logsigmoid(beta * delta_score)
        elif c["loss"] == "hinge":
            losses = torch.relu(1 - beta * delta_score)
        elif c["loss"] == "ipo":
            ipo_delta = chosen_logratios / lengths[0::2] - rejected_logratios / lengths[1::2]
            losses = (ipo_delta - 1 / (2 * beta)) ** 2
        elif c["loss"] == "robust":
            clean_loss_term = -(1 - label_smoothing) * F.logsigmoid(beta * delta_score)
            flipped_loss_term = -label_smoothing * F.logsigmoid(-beta * delta_score)
            losses = (clean_loss_term - flipped_loss_term) / (1 - 2 * label_smoothing)
        elif c["loss"] == "cdpo":
            losses = (-F.logsigmoid(beta * delta_score) * (1 - label_smoothing)
                      - F.logsigmoid(-beta * delta_score) * label_smoothing)
        loss = losses.mean()
        chosen_rewards, rejected_rewards = beta * chosen_logratios, beta * rejected_logratios
    metrics.update({
        "rewards/chosen": chosen_rewards.mean(), "rewards/rejected": rejected_rewards.mean(),
        "rewards/accuracies": (chosen_rewards > rejected_rewards).double().mean(),
        "rewards/margins": (chosen_rewards - rejected_rewards).mean(),
        "logps/chosen": chosen_logps.mean(), "logps/rejected": rejected_logps.mean(),
    })
    return loss, metrics


def kto(c, g, logp, logp_ref, labels, k, kl_logp, kl_logp_ref):
    beta = c["beta"]
    completion_logps = (logp * g.valid).sum(-1)
    ref_logps = (logp_ref * g.valid).sum(-1)
    KL_logps, ref_KL_logps = (kl_logp * k.valid).sum(-1), (kl_logp_ref * k.valid).sum(-1)
    kl = (KL_logps - ref_KL_logps).mean().detach().clamp(min=0)
    good = torch.as_tensor(labels, dtype=torch.bool)
    chosen_logratios = completion_logps[good] - ref_logps[good]
    rejected_logratios = completion_logps[~good] - ref_logps[~good]
    chosen_losses = 1 - F.sigmoid(beta * (chosen_logratios - kl))
    rejected_losses = 1 - F.sigmoid(beta * (kl - rejected_logratios))
    losses = torch.cat((c["desirable_weight"] * chosen_losses, c["undesirable_weight"] * rejected_losses), 0)
    metrics = {"kl": kl}
    if good.any():
        metrics["rewards/chosen"] = (beta * chosen_logratios).mean()
        metrics["logps/chosen"] = completion_logps[good].mean()
    if (~good).any():
        metrics["rewards/rejected"] = (beta * rejected_logratios).mean()
        metrics["logps/rejected"] = completion_logps[~good].mean()
    if good.any() and (~good).any():
        metrics["rewards/margins"] = metrics["rewards/chosen"] - metrics["rewards/rejected"]
    return losses.nanmean(), metrics


def log_probs(rng, g, drift, equal):
    ref = f32(-rng.exponential(1.5, g.tokens) - 0.05)
    return ref.copy() if equal else f32(ref + drift * rng.standard_normal(g.tokens)), ref


def spread_far(g, logp, ref, logps_too):
    """Log-ratios of -1000, 0 and 1000 in turn; for the losses without a reference mean log-probabilities of -1000 and 0."""
    for r in range(len(g.index)):
        for n, i in enumerate(g.index[r]):
            if logps_too:
                logp[i] = -1000.0 * len(g.index[r]) if r % 3 == 0 and n == 0 else -0.0 if r % 3 == 1 else logp[i]
            elif n == 0:
                ref[i] = logp[i] + 1000.0 * (r % 3 - 1)
    return f32(logp), f32(ref)


def option_texts(options):
    return {k: v if isinstance(v, str) else repr(v) for k, v in options.items()}


def dpo_case(name, lengths=PAIR_LENGTHS, mask=None, drift=0.4, equal=False, far=False, edit=None, with_entropy=False,
             cuts=CUTS, seed=1, **options):
    rng = np.random.default_rng(2000 + seed)
    c = {**DEFAULTS, **options}
    g = Ragged(lengths, mask)
    logp, ref = log_probs(rng, g, drift, equal)
    needs_reference = c["loss"] not in ("simpo", "orpo")
    if not needs_reference:
        logp = f32(np.minimum(logp, -0.01))
    if edit:
        logp, ref = edit(g, logp, ref)
    if far:
        logp, ref = spread_far(g, logp, ref, not needs_reference)
    entropy = f32(rng.exponential(2, g.tokens)) if with_entropy else None
    lp = g.pad(logp).requires_grad_()
    loss, metrics = preference(c, g, lp, g.pad(ref))
    loss.backward()
    if with_entropy:
        metrics["entropy"] = masked_mean(g.pad(entropy), g.valid)
    call = {**g.shape(), "unit": list(range(0, len(lengths) + 1, 2)), "logp": g.input(logp),
            "logp_ref": g.input(ref) if needs_reference else None,
            "entropy": g.input(entropy) if with_entropy else None, "cuts": [list(k) for k in cuts],
            "loss": {"loss": float(loss.detach()), "metrics": values(metrics), "d_logp": g.flat(lp.grad).tolist()}}
    return {"name": name, "options": option_texts(options), "calls": [call]}


def kto_case(name, lengths=KTO_LENGTHS, kl_lengths=KL_LENGTHS, labels=LABELS, mask=None, kl_mask=None, drift=0.4,
             equal=False, far=False, kl_shift=0.3, kl_equal=False, cuts=CUTS, seed=1, **options):
    rng = np.random.default_rng(3000 + seed)
    c = {**DEFAULTS, "loss": "kto", **options}
    g, k = Ragged(lengths, mask), Ragged(kl_lengths, kl_mask)
    logp, ref = log_probs(rng, g, drift, equal)
    kl_logp, kl_ref = log_probs(rng, k, 0.2, equal or kl_equal)
    if not equal and not kl_equal:
        kl_logp = f32(kl_logp + kl_shift)
    if far:
        logp, ref = spread_far(g, logp, ref, False)
    lp = g.pad(logp).requires_grad_()
    loss, metrics = kto(c, g, lp, g.pad(ref), labels, k, k.pad(kl_logp), k.pad(kl_ref))
    loss.backward()
    call = {**g.shape(), "logp": g.input(logp), "logp_ref": g.input(ref), "label": list(labels),
            "mismatched": {**k.shape(), "logp": k.input(kl_logp), "logp_ref": k.input(kl_ref), "label": list(labels)},
            "cuts": [list(x) for x in cuts],
            "loss": {"loss": float(loss.detach()), "metrics": values(metrics), "d_logp": g.flat(lp.grad).tolist()}}
    return {"name": name, "options": {"loss": "kto", **option_texts(options)}, "calls": [call]}


def some(n, seed):
    return [int(x) for x in np.random.default_rng(seed).random(n) < 0.7]


def equal_ratios(g, logp, ref):
    """Each row's log-ratio is exactly 0.25, so that no completion wins."""
    ref = f32(np.round(ref * 1024) / 1024)
    return ref + 0.25 * np.isin(np.arange(g.tokens), g.offset[:-1]), ref


def certain(g, logp, ref):
    """Tokens of probability 1, and of two steps of float32 below it."""
    logp[g.index[0]] = 0.0
    logp[g.index[3]] = 0.0
    logp[g.index[5]] = -2.0 ** -23
    return f32(logp), ref


def dpo():
    cases, pairs = [], sum(PAIR_LENGTHS)
    variants = {"sigmoid": [{"beta": 0.5}], "hinge": [{"beta": 0.5}, {"beta": 2.0}], "ipo": [{"beta": 0.5}, {"beta": 0.01}],
                "robust": [{"label_smoothing": 0.1}, {"label_smoothing": 0.4, "beta": 0.5}],
                "cdpo": [{"label_smoothing": 0.1}, {"label_smoothing": 0.5, "beta": 0.5}],
                "simpo": [{"cpo_alpha": 0.0}, {"cpo_alpha": 0.3, "simpo_gamma": 1.6, "beta": 2.0},
                          {"label_smoothing": 0.2}],
                "orpo": [{"beta": 0.5}]}
    for n, (loss, more) in enumerate(variants.items()):
        seed = 20 * n
        smooth = {"label_smoothing": 0.1} if loss in ("robust", "cdpo") else {}
        cases.append(dpo_case(loss, loss=loss, seed=seed + 1))
        cases += [dpo_case(f"{loss} {v}", loss=loss, seed=seed + 2 + i, **v) for i, v in enumerate(more)]
        cases.append(dpo_case(f"{loss}, masked tokens", mask=some(pairs, seed), loss=loss, seed=seed + 6, with_entropy=True,
                              **smooth))
        cases.append(dpo_case(f"{loss}, 1000 apart", far=True, loss=loss, seed=seed + 7, **smooth))
        cases.append(dpo_case(f"{loss}, empty completions", lengths=[0, 3, 2, 0, 0, 0, 1, 4], loss=loss, seed=seed + 8,
                              cuts=((4,), (1,) * 4), **smooth))
        cases.append(dpo_case(f"{loss}, one token each", lengths=[1, 1], loss=loss, seed=seed + 9, cuts=((1,),), **smooth))
        cases.append(dpo_case(f"{loss}, nothing counts", lengths=[2, 1, 1, 3], mask=[0] * 7, loss=loss, seed=seed + 10,
                              cuts=((2,), (1, 1)), **smooth))
        if loss not in ("simpo", "orpo"):
            cases.append(dpo_case(f"{loss}, policy is the reference", equal=True, loss=loss, seed=seed + 11, **smooth))
            cases.append(dpo_case(f"{loss}, equal rewards", edit=equal_ratios, loss=loss, seed=seed + 12, **smooth))
    cases.append(dpo_case("orpo, certain completions", edit=certain, loss="orpo", seed=200))
    n, m = sum(KTO_LENGTHS), sum(KL_LENGTHS)
    return cases + [
        kto_case("kto"),
        kto_case("kto, weights", desirable_weight=1.33, undesirable_weight=0.7, beta=0.3, seed=2),
        kto_case("kto, KL below 0", kl_shift=-0.5, seed=3),
        kto_case("kto, KL of 0", kl_equal=True, seed=4),
        kto_case("kto, masked tokens", mask=some(n, 5), kl_mask=some(m, 6), beta=1.0, seed=5),
        kto_case("kto, 1000 apart", far=True, seed=6),
        kto_case("kto, policy is the reference", equal=True, seed=7),
        kto_case("kto, all good", labels=[1] * 8, seed=8),
        kto_case("kto, all bad", labels=[0] * 8, seed=9),
        kto_case("kto, empty completions", lengths=[0, 3, 0, 1], kl_lengths=[1, 0, 3, 0], labels=[0, 1, 1, 0],
                 cuts=((4,), (1,) * 4), seed=10),
        kto_case("kto, nothing counts", lengths=[2, 1], kl_lengths=[1, 2], labels=[0, 1], mask=[0] * 3, kl_mask=[0] * 3,
                 cuts=((2,), (1, 1)), seed=11),
    ]
