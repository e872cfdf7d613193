#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Golden file of one PPO rollout and the optimiser steps over it, by TRL 1.9's PPOTrainer in float64.

usage: generate_ppo.py TRL > ppo.json
TRL: a folder with trl 1.9.0, the last that has PPO (pip install --no-deps --target TRL trl==1.9.0); the rest: requirements.txt

The rollout is given: batch_generation hands out fixed completions with the policy's own logits, get_reward fixed scores of the
reward model. Everything else is PPOTrainer.train, with one line of it changed so that it does what rein does: the
score is added on the last token and the value's mask ends there too (TRL: one token later). Its temperature is 1e-7 more than it is
told, and is told 1e-7 less. TRL does not clip gradients here.
"""
import os
import sys
import tempfile

os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
sys.path.insert(0, sys.argv[1])

import importlib.util  # noqa: E402

import datasets  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
import trl  # noqa: E402
import trl.experimental.ppo  # noqa: E402

import tiny  # noqa: E402

TEMPERATURE = 0.75
PROMPTS = [[71, 12, 300], [5, 260, 44, 9, 18], [33], [400, 401], [90, 91, 92, 90], [7, 8, 9]]
LENGTHS = [6, 1, 3, 8, 4, 8]
CUT = [3, 4]  # these were cut off before an end token
SCORES = [1.0, 0.25, -0.5, 2.0, 0.0, 1.5]
ENDS_ONE_LATER = "sequence_lengths_p1 = sequence_lengths + 1"
ENDS_HERE = "sequence_lengths_p1 = sequence_lengths"


def completions():
    out = []
    for r, length in enumerate(LENGTHS):
        ids = [(53 * r + 89 * t + 17) % 490 + 1 for t in range(length)]
        if r not in CUT:
            ids[-1] = 0
        out.append(ids)
    return out


def patched_trainer():
    """ppo_trainer with the one line changed."""
    spec = importlib.util.find_spec("trl.experimental.ppo.ppo_trainer")
    text = spec.loader.get_source(spec.name)
    assert text.count(ENDS_ONE_LATER) == 1
    module = importlib.util.module_from_spec(spec)
    exec(compile(text.replace(ENDS_ONE_LATER, ENDS_HERE), spec.origin, "exec"), module.__dict__)
    return module


def run(folder, special):
    ppo = patched_trainer()
    tokenizer = tiny.tokenizer()
    tokenizer.padding_side = "left"
    rows, longest = completions(), max(LENGTHS)
    pad = tokenizer.pad_token_id
    policy, reference = tiny.model(), tiny.model(prefix="reference.")
    kind = transformers.AutoModelForSequenceClassification
    critic = tiny.model(kind, prefix="critic.", num_labels=1, pad=pad)
    judge = tiny.model(kind, num_labels=1, pad=pad)
    ours = ppo.get_reward

    def number(query):
        return PROMPTS.index([i for i in query.tolist() if i != pad])

    def generation(model, queries, chunk, pad_token, config):
        full = torch.stack([torch.cat((q, torch.tensor(rows[number(q)] + [pad] * (longest - len(rows[number(q)])))))
                            for q in queries])
        logits = ppo.forward(model, full, pad).logits[:, queries.shape[1] - 1:-1]
        return full, logits / (args.temperature + 1e-7)

    def reward(model, full, pad_token, context):
        if model is judge:
            return None, torch.tensor([SCORES[number(q)] for q in full[:, :context]]), None
        return ours(model, full, pad_token, context)

    ppo.batch_generation, ppo.get_reward = generation, reward
    args = trl.experimental.ppo.PPOConfig(
        output_dir=folder, total_episodes=len(rows), per_device_train_batch_size=len(rows), num_ppo_epochs=2,
        num_mini_batches=1, response_length=longest, temperature=TEMPERATURE - 1e-7, stop_token="eos",
        missing_eos_penalty=0.5, learning_rate=1e-2, weight_decay=0.1, num_sample_generations=0, kl_coef=0.2,
        optim="adamw_torch", bf16=False, gradient_checkpointing=False, use_cpu=True, report_to="none",
        save_strategy="no", disable_tqdm=True, logging_steps=1, **special)
    data = datasets.Dataset.from_list([{"input_ids": p} for p in PROMPTS])
    trainer = ppo.PPOTrainer(args, tokenizer, policy, reference, judge, data, critic, eval_dataset=data)
    case = dict(options=special, losses=[], gradients=[])
    names = {**{"policy." + k: v for k, v in policy.named_parameters()},
             **{"critic." + k: v for k, v in critic.named_parameters()}}
    start = {k: v.detach().clone() for k, v in names.items()}
    backward = trainer.accelerator.backward

    def record(loss, **kwargs):
        case["losses"].append(loss.item())
        return backward(loss, **kwargs)

    trainer.accelerator.backward = record
    optimizer = getattr(trainer.optimizer, "optimizer", trainer.optimizer)
    optimizer.register_step_pre_hook(lambda *_: case["gradients"].append(tiny.gradients(names)))
    trainer.log = lambda metrics, *_: case.update(metrics={
        k: float(v) for k, v in metrics.items() if k != "eps"})
    case.update(given(ppo, tokenizer, policy, reference, critic, rows))
    trainer.train()
    case["weights"] = tiny.digest(names, start)
    return case


def given(ppo, tokenizer, policy, reference, critic, rows):
    """What the rollout knows of each completion, a row at a time and without padding."""
    out = dict(logp_old=[], logp_ref=[], value_old=[])
    for prompt, row in zip(PROMPTS, rows):
        ids, at = torch.tensor([prompt + row]), slice(len(prompt) - 1, len(prompt) + len(row) - 1)
        with torch.no_grad():
            for name, model in (("logp_old", policy), ("logp_ref", reference)):
                z = torch.log_softmax(model(ids, use_cache=False).logits[0, at] / TEMPERATURE, -1)
                out[name].append([z[t, row[t]].item() for t in range(len(row))])
            hidden = critic.model(ids, use_cache=False).last_hidden_state
            out["value_old"].append(critic.score(hidden)[0, at, 0].tolist())
    return out


def main():
    tiny.use_float64()
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double
    assert trl.__version__ == "1.9.0", trl.__version__
    with tempfile.TemporaryDirectory() as folder:
        cases = [run(folder, special) for special in (dict(), dict(kl_estimator="k3", vf_coef=0.5, gamma=0.9,
                                                                   cliprange_value=0.05))]
    versions = {m.__name__: m.__version__.split("+")[0] for m in (torch, transformers, trl)}
    sys.stdout = sys.__stdout__
    tiny.write(dict(versions=versions, config=tiny.CONFIG, temperature=TEMPERATURE, prompts=PROMPTS,
                    completions=completions(), scores=SCORES, cases=cases))


if __name__ == "__main__":
    sys.stdout = sys.stderr
    main()
