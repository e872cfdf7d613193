#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Adapters between rein and PEFT, both ways, on a real model: log-probabilities of the same ids.

usage: peft_compare.py REIN MODEL [FOLDER]      (transformers and peft; MODEL is a Hugging Face folder)

1. PEFT makes an adapter with random B and saves it; `rein logprobs` reads it and is compared with PEFT.
2. rein trains an adapter (`lora:`, two steps of sft); PEFT loads the folder and is compared with `rein logprobs`.
3. `rein merge` of it, loaded by transformers, is compared with both.
4. The same for a reward model: `rein score` against AutoModelForSequenceClassification with the adapter.
"""
import json
import os
import subprocess
import sys
import tempfile

import peft
import torch
import transformers

rein, base = sys.argv[1], os.path.abspath(sys.argv[2])
work = sys.argv[3] if len(sys.argv) > 3 else tempfile.mkdtemp()
os.makedirs(work, exist_ok=True)
ROWS = [[1, 15, 73, 9, 201, 4, 17], [33, 8, 150, 2, 90]]
rows = os.path.join(work, "rows.jsonl")
with open(rows, "w") as f:
    for row in ROWS:
        f.write(json.dumps(dict(input_ids=row)) + "\n")


def ours(command, path):
    out = subprocess.run([rein, command, path, rows], check=True, capture_output=True, text=True).stdout
    return [json.loads(line) for line in out.splitlines()]


def theirs(model):
    with torch.no_grad():
        for row in ROWS:
            z = torch.log_softmax(model(torch.tensor([row])).logits[0].float(), -1)
            yield [z[i - 1, row[i]].item() for i in range(1, len(row))]


def causal():
    return transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()


def compare(what, path, model):
    worst = max(abs(a - b) for have, want in zip(ours("logprobs", path), theirs(model))
                for a, b in zip(have["logprobs"][1:], want))
    print(f"{what}: log-probabilities differ by at most {worst:.2g}")
    assert worst < 2e-4, what


torch.manual_seed(0)
model = peft.get_peft_model(causal(), peft.LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM"))
with torch.no_grad():
    for name, p in model.named_parameters():
        if "lora_B" in name:
            p.normal_(0, 0.02)
made = os.path.join(work, "by-peft")
model.save_pretrained(made)
compare("made by PEFT", made, model.eval())

data = os.path.join(work, "train.jsonl")
pairs = os.path.join(work, "pairs.jsonl")
with open(data, "w") as f, open(pairs, "w") as g:
    for row in ROWS * 4:
        f.write(json.dumps(dict(input_ids=row)) + "\n")
        g.write(json.dumps(dict(prompt_ids=row[:3], chosen_ids=row[3:], rejected_ids=row[3:][::-1])) + "\n")
with open(os.path.join(work, "p.yaml"), "w") as f:
    f.write(f"""rein: 1
output: out
models: {{base: {{from: {base}}}}}
stages:
  - {{name: sft, algorithm: {{use: sft}}, model: {{from: base, lora: {{rank: 8}}}}, data: {{train: train.jsonl}},
     train: {{steps: 2, batch: 4, lr: 1.0e-3}}}}
  - {{name: rm, algorithm: {{use: rm}}, model: {{from: base, head: score, lora: {{rank: 8}}}}, data: {{train: pairs.jsonl}},
     train: {{steps: 2, batch: 4, lr: 1.0e-3}}}}
""")
subprocess.run([rein, "run", os.path.join(work, "p.yaml"), "--overwrite", "-q"], check=True)
trained = os.path.join(work, "out/sft/model")
compare("trained by rein", trained, peft.PeftModel.from_pretrained(causal(), trained).eval())
whole = os.path.join(work, "whole")
subprocess.run(["rm", "-rf", whole], check=True)
subprocess.run([rein, "merge", trained, whole, "-q"], check=True)
merged = transformers.AutoModelForCausalLM.from_pretrained(whole, dtype=torch.float32).eval()
compare("merged by rein, both", whole, merged)
compare("merged by rein, and its adapter", trained, merged)

trained = os.path.join(work, "out/rm/model")
pad = json.load(open(os.path.join(trained, "config.json")))["pad_token_id"]
model = transformers.AutoModelForSequenceClassification.from_pretrained(base, num_labels=1, pad_token_id=pad, dtype=torch.float32)
model = peft.PeftModel.from_pretrained(model, trained).eval()
with torch.no_grad():
    worst = max(abs(have["score"] - model(torch.tensor([row])).logits[0, 0].item())
                for have, row in zip(ours("score", trained), ROWS))
print(f"reward model trained by rein: scores differ by at most {worst:.2g}")
assert worst < 1e-3
