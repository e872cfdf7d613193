#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Golden numbers of adapters: tiny decoders with LoRA by Hugging Face's PEFT, in float64.

usage: generate_lora.py > lora.json      (versions: requirements.txt)

Weights, the adapters' too, are a formula of the tensor's name in its file, as in generate_engine.py. Per case:
adapter_config.json as PEFT writes it, log-probabilities (or scores), the gradient of every adapter tensor and of a saved
head, projected on a direction of signs and its length, and the same of the tensors after three steps of AdamW.
"""
import json
import tempfile

import numpy as np
import peft
import torch
from safetensors.torch import load_file

from generate_engine import ROWS, build, config_of, direction, token_weight, weight

torch.set_num_threads(1)

LLAMA = dict(model_type="llama", architectures=["LlamaForCausalLM"], rope_theta=10000.0)
GPT2 = dict(model_type="gpt2", architectures=["GPT2LMHeadModel"])
SCORE = dict(LLAMA, architectures=["LlamaForSequenceClassification"], num_labels=1, id2label={"0": "LABEL_0"},
             label2id={"LABEL_0": 0}, pad_token_id=60)
CASES = {
    "llama, all linear": (LLAMA, dict(r=4, lora_alpha=6, target_modules="all-linear")),
    "llama, q and v, rank-stabilised": (LLAMA, dict(r=3, lora_alpha=5, target_modules=["q_proj", "v_proj"], use_rslora=True)),
    "llama, one layer": (LLAMA, dict(r=2, lora_alpha=2, target_modules=["q_proj", "down_proj"], layers_to_transform=[1])),
    "gpt2, all linear": (GPT2, dict(r=4, lora_alpha=6, target_modules="all-linear")),
    "gpt2, fused attention": (GPT2, dict(r=5, lora_alpha=9, target_modules=["c_attn"])),
    "llama, score": (SCORE, dict(r=4, lora_alpha=8, target_modules="all-linear", task_type="SEQ_CLS")),
}
LR, DECAY, STEPS = 0.01, 0.1, 3


def file_name(name):
    return name.replace(".default", "").replace(".modules_to_save", "")


def summary(name, x):
    x = x.detach().numpy().reshape(-1)
    return [float(x @ direction(name, x.size)), float(np.linalg.norm(x))]


def outputs(model, score):
    if score:
        return torch.stack([model(input_ids=torch.tensor([row]), use_cache=False).logits[0, 0] for row in ROWS])
    lists = []
    for row in ROWS:
        z = torch.log_softmax(model(input_ids=torch.tensor([row]), use_cache=False).logits[0], -1)
        lists.append([z[i - 1, row[i]] for i in range(1, len(row))])
    return lists


def objective(out, score):
    if score:
        return sum(token_weight(r, 3) * s for r, s in enumerate(out))
    return sum((token_weight(r, i + 1) * x for r, row in enumerate(out) for i, x in enumerate(row)),
               torch.zeros((), dtype=torch.float64))


def case(name, special, options):
    score = "task_type" in options
    config = config_of(special)
    model = build(config)
    adapted = peft.get_peft_model(model, peft.LoraConfig(**{"task_type": "CAUSAL_LM", **options})).double().eval()
    trained = {file_name(n): p for n, p in adapted.named_parameters() if p.requires_grad}
    with torch.no_grad():
        for n, p in trained.items():
            p.copy_(weight(n, p.shape))
    with tempfile.TemporaryDirectory() as folder:
        adapted.save_pretrained(folder)
        written = json.load(open(folder + "/adapter_config.json"))
        assert set(load_file(folder + "/adapter_model.safetensors")) == set(trained)
    values = lambda out: out.tolist() if score else [[x.item() for x in row] for row in out]
    first = outputs(adapted, score)
    with adapted.disable_adapter():
        off = values(outputs(adapted, score))
    optimizer = torch.optim.AdamW(trained.values(), lr=LR, weight_decay=DECAY)
    gradients = {}
    for step in range(STEPS):
        optimizer.zero_grad()
        objective(outputs(adapted, score), score).backward()
        if step == 0:
            gradients = {n: summary(n, p.grad) for n, p in trained.items()}
        optimizer.step()
    return dict(name=name, config=config, adapter=written, shapes={n: list(p.shape) for n, p in trained.items()},
                on=values(first), off=off, gradients=gradients, after={n: summary(n, p) for n, p in trained.items()},
                later=values(outputs(adapted, score)))


def main():
    cases = [case(name, *what) for name, what in CASES.items()]
    text = json.dumps(dict(rows=ROWS, lr=LR, weight_decay=DECAY, steps=STEPS, cases=cases), separators=(",", ":"))
    text = text.replace('{"name"', '\n{"name"')
    for key in ("adapter", "shapes", "on", "gradients", "after"):
        text = text.replace(f',"{key}"', f',\n "{key}"')
    print(text)


if __name__ == "__main__":
    main()
