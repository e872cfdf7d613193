#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Golden files of whole training by TRL 1.16's own trainers, on the CPU in float64.

usage: generate_trainers.py sft|rm|dpo|grpo > NAME.json      (versions: requirements.txt)

sft, rm, dpo: 20 optimiser steps of SFTTrainer, RewardTrainer and DPOTrainer over 14 rows in their order, 4 at a time, so that each
epoch ends with a step of 2; linear schedule with warm-up, weight decay, gradients clipped at norm 1. Of each step what
TRL logs, and a digest of the final weights (tiny.py). dpo's reference is another model than its policy: with the policy's own
copy the first step would say little.

grpo: one rollout that is given (rollout_func, fixed rewards) and two optimiser steps over it (num_iterations 2): in the second
the ratio is not 1. A case per loss type.

TRL's code is not changed but for its floats: its float32 is made float64 (wide()).
"""
import os
import sys
import tempfile

os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"

import datasets  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
import trl  # noqa: E402
import trl.kernels.chunked_logprob  # noqa: E402
import trl.trainer.grpo_trainer  # noqa: E402

import tiny  # noqa: E402

STEPS = 20
SHARED = dict(per_device_train_batch_size=4, max_steps=STEPS, lr_scheduler_type="linear", weight_decay=0.1,
              max_grad_norm=1.0, optim="adamw_torch", train_sampling_strategy="sequential")
COMMON = dict(logging_steps=1, bf16=False, gradient_checkpointing=False, use_cpu=True, report_to="none",
              save_strategy="no", disable_tqdm=True)
ROLLOUT_PROMPTS = [[71, 12, 300], [5, 260, 44, 9, 18]]
ROLLOUT_GROUP = 4
ROLLOUT_REWARDS = [1.0, 0.25, -0.5, 2.0, 0.0, 0.0, 1.5, -1.0]
# no completion holds the end token but at its end; two of them were cut off before it
ROLLOUT_LENGTHS = [6, 1, 3, 8, 4, 8, 2, 5]
ROLLOUT_CUT = [3, 5]
ROLLOUT_MAX = 10


class Wide:
    """torch, but float32 is float64."""
    float32 = float = torch.float64

    def __getattr__(self, name):
        return getattr(torch, name)


def wide():
    tiny.use_float64()
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double
    trl.kernels.chunked_logprob.torch = trl.trainer.grpo_trainer.torch = Wide()


class Keep(transformers.TrainerCallback):
    """Everything that is logged, and the gradients of each step as AdamW gets them: clipped."""

    def __init__(self, model):
        self.logs, self.gradients = [], []
        self.model = model

    def on_pre_optimizer_step(self, args, state, control, **kwargs):
        self.gradients.append(tiny.gradients(dict(self.model.named_parameters())))

    def on_log(self, args, state, control, logs=None, **kwargs):
        if "grad_norm" in logs:
            self.logs.append({k: float(v) for k, v in logs.items() if k not in ("step_time", "epoch")})


def train(trainer, model):
    keep = Keep(model)
    start = {k: v.detach().clone() for k, v in model.named_parameters()}
    trainer.add_callback(keep)
    trainer.train()
    return keep, tiny.digest(dict(model.named_parameters()), start)


def whole(kind, folder):
    tokenizer = tiny.tokenizer()
    if kind == "rm":
        model = tiny.model(transformers.AutoModelForSequenceClassification, num_labels=1, pad=tokenizer.pad_token_id)
    else:
        model = tiny.model()
    data = datasets.Dataset.from_list(tiny.rows("completions.jsonl" if kind == "sft" else "pairs.jsonl"))
    options = dict(**SHARED, **COMMON, output_dir=folder, max_length=64)
    if kind == "sft":
        options.update(learning_rate=1e-2, warmup_steps=4)
        trainer = trl.SFTTrainer(model, trl.SFTConfig(**options), train_dataset=data, processing_class=tokenizer)
    elif kind == "rm":
        options.update(learning_rate=5e-3, warmup_steps=4, center_rewards_coefficient=0.01)
        trainer = trl.RewardTrainer(model, trl.RewardConfig(**options), train_dataset=data, processing_class=tokenizer)
    else:
        options.update(learning_rate=5e-3, warmup_steps=4, beta=0.3)
        trainer = trl.DPOTrainer(model, tiny.model(prefix="reference."), trl.DPOConfig(**options), train_dataset=data,
                                 processing_class=tokenizer)
    kept, weights = train(trainer, model)
    return dict(trainer=type(trainer).__name__, steps=kept.logs, weights=weights)


def completions():
    out = []
    for r, length in enumerate(ROLLOUT_LENGTHS):
        ids = [(37 * r + 101 * t + 11) % 490 + 1 for t in range(length)]
        if r not in ROLLOUT_CUT:
            ids[-1] = 0
        out.append(ids)
    return out


def group_relative(folder, loss, special):
    tokenizer = tiny.tokenizer()
    rows = completions()
    prompts = [p for p in ROLLOUT_PROMPTS for _ in range(ROLLOUT_GROUP)]

    def rollout(texts, trainer):
        assert len(texts) == len(rows)
        return dict(prompt_ids=prompts, completion_ids=rows, logprobs=[[0.0] * len(r) for r in rows])

    def reward(completions, **columns):
        assert len(completions) == len(rows)
        return ROLLOUT_REWARDS

    model = tiny.model()
    model.save_pretrained(folder + "/base")  # TRL reads its reference from where the model came from
    model.config._name_or_path = folder + "/base"
    kept = {}

    class Trainer(trl.GRPOTrainer):
        def _generate_and_score_completions(self, inputs):
            out = super()._generate_and_score_completions(inputs)
            kept.update({k: v for k, v in out.items() if torch.is_tensor(v)})
            return out

    options = dict(max_steps=2, learning_rate=2e-2, lr_scheduler_type="constant", weight_decay=0.1, max_grad_norm=1.0,
                   optim="adamw_torch", per_device_train_batch_size=len(rows), num_generations=ROLLOUT_GROUP,
                   num_iterations=2, max_completion_length=ROLLOUT_MAX, temperature=0.75, shuffle_dataset=False,
                   loss_type=loss, output_dir=folder, **COMMON)
    options.update(special)
    trainer = Trainer(model, reward, trl.GRPOConfig(**options), processing_class=tokenizer, rollout_func=rollout,
                      train_dataset=datasets.Dataset.from_list([{"prompt": "a"}, {"prompt": "b"}]))
    if trainer.ref_model is not None:
        trainer.ref_model.double()
        with torch.no_grad():
            for name, p in trainer.ref_model.named_parameters():
                p.copy_(tiny.weight("reference." + name, p.shape))
    told, weights = train(trainer, model)
    mask = kept["completion_mask"].bool()

    def ragged(x):
        return [row[m].tolist() for row, m in zip(x, mask)]

    case = dict(loss=loss, options=special, temperature=0.75, lr=2e-2, logp_old=ragged(kept["old_per_token_logps"]),
                advantages=kept["advantages"].tolist(), steps=told.logs, gradients=told.gradients, weights=weights)
    if "ref_per_token_logps" in kept:
        case["logp_ref"] = ragged(kept["ref_per_token_logps"])
    return case


def main():
    kind = sys.argv[1]
    wide()
    versions = {m.__name__: m.__version__.split("+")[0] for m in (torch, transformers, trl)}
    with tempfile.TemporaryDirectory() as folder:
        if kind == "grpo":
            cases = [group_relative(folder, loss, special) for loss, special in (
                ("dapo", dict(beta=0.3)), ("grpo", dict(beta=0.0)), ("cispo", dict(epsilon_high=1.05)),
                ("dr_grpo", dict(scale_rewards="none")))]
            result = dict(prompts=ROLLOUT_PROMPTS, group=ROLLOUT_GROUP, completions=completions(),
                          rewards=ROLLOUT_REWARDS, cases=cases)
        else:
            result = whole(kind, folder)
    # trainers print what they log: the result is the last thing written
    sys.stdout = sys.__stdout__
    tiny.write(dict(versions=versions, config=tiny.CONFIG, **result))


if __name__ == "__main__":
    sys.stdout = sys.stderr
    main()
