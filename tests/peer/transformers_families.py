#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every family against transformers: models that transformers makes, and what rein makes of them by training.

usage: transformers_families.py [--backend NAME] [--tolerance 1e-4] REIN

For each case a tiny model with random weights is written by transformers and read by rein: log-probabilities or scores, and
greedy continuations, as transformers_compare.py does. Then rein trains it for three steps and writes it, and transformers
loads that: no tensor missing, unknown or of another shape, and the same numbers, as transformers_load.py does.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

import torch
import transformers

import transformers_compare
import transformers_load

COMMON = dict(vocab_size=101, hidden_size=48, intermediate_size=80, num_hidden_layers=3, num_attention_heads=4,
              num_key_value_heads=2, max_position_embeddings=64, bos_token_id=1, eos_token_id=2, pad_token_id=100,
              initializer_range=0.2)
GPT2 = dict(vocab_size=101, n_embd=48, n_layer=3, n_head=4, n_positions=64, bos_token_id=1, eos_token_id=2, pad_token_id=100,
            initializer_range=0.2)
ROPE3 = dict(rope_type="llama3", rope_theta=500000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
             original_max_position_embeddings=32)
CASES = [
    ("Llama", {}), ("Llama", dict(attention_bias=True, mlp_bias=True, tie_word_embeddings=True)),
    ("Llama", dict(rope_parameters=ROPE3, head_dim=16)),
    ("Llama", dict(rope_parameters=dict(rope_type="linear", rope_theta=10000.0, factor=4.0))),
    ("Mistral", dict(sliding_window=6)), ("Mistral", dict(sliding_window=None, head_dim=20)),
    ("Qwen2", dict(tie_word_embeddings=True)), ("Qwen2", dict(use_sliding_window=True, sliding_window=5, max_window_layers=0)),
    ("Qwen2", dict(use_sliding_window=True, sliding_window=5, max_window_layers=3)),
    ("Qwen3", dict(head_dim=16)), ("Qwen3", dict(head_dim=12, attention_bias=True, tie_word_embeddings=True)),
    ("Gemma", dict(head_dim=16)), ("Gemma", dict(head_dim=24, num_key_value_heads=1)),
    ("GPT2", {}), ("GPT2", dict(n_inner=100, activation_function="gelu", tie_word_embeddings=False)),
]
HEADS = {"GPT2": ("LMHeadModel", "ForSequenceClassification", "Model")}


def make(family, options, head, folder):
    config = getattr(transformers, family + "Config")(**{**(GPT2 if family == "GPT2" else COMMON), **options, "num_labels": 1})
    torch.manual_seed(3)
    model = getattr(transformers, family + head)(config).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "norm" in name or "ln_" in name or name.endswith("bias"):
                p.add_(0.3 * torch.randn_like(p))
    model.save_pretrained(folder)


def train(options, folder, where, score):
    """Three steps of rein; returns the folder of the model."""
    data, out = os.path.join(where, "data.jsonl"), os.path.join(where, "run")
    with open(data, "w", encoding="utf-8") as f:
        for k in range(12):
            row = [(7 * k + 5 * i) % 99 + 1 for i in range(4 + k)]
            f.write(json.dumps(dict(prompt_ids=row[:2], chosen_ids=row[2:], rejected_ids=row[2:][::-1]) if score else
                               dict(input_ids=row)) + "\n")
    head = ", head: score" if score else ""
    with open(os.path.join(where, "p.yaml"), "w", encoding="utf-8") as f:
        f.write(f"rein: 1\noutput: {out}\nmodels:\n  base: {{from: {folder}}}\nstages:\n  - name: s\n"
                f"    algorithm: {{use: {'rm' if score else 'sft'}}}\n    model: {{from: base{head}}}\n"
                f"    data: {{train: {data}}}\n    train: {{steps: 3, batch: 4, lr: 0.01}}\n")
    command = [options.rein, "run", os.path.join(where, "p.yaml")] + (["--backend", options.backend] if options.backend else [])
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}: {done.stderr.strip()}")
    return os.path.join(out, "s", "model")


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("rein")
    parser.add_argument("--backend")
    parser.add_argument("--tolerance", type=float, default=1e-4)
    options = parser.parse_args()
    options.rows, options.length, options.greedy, options.copies = 8, 64, 16, False
    failed, worst = 0, 0.0
    for family, more in CASES:
        causal, classifier, bare = HEADS.get(family, ("ForCausalLM", "ForSequenceClassification", "Model"))
        heads = [causal, classifier] + ([bare] if more.get("tie_word_embeddings", family in ("GPT2", "Gemma")) else [])
        for head in heads:
            with tempfile.TemporaryDirectory() as where:
                folder = os.path.join(where, "model")
                name = f"{family}{head} {json.dumps(more)}"
                make(family, more, head, folder)
                if head == bare:  # the same trunk under its bare names, held against the language model
                    oracle = os.path.join(where, "oracle")
                    make(family, more, causal, oracle)
                    transformers.AutoModel.from_pretrained(oracle).save_pretrained(folder)
                    failed |= transformers_compare.compare(options, name, folder, oracle, where)
                else:
                    failed |= transformers_compare.compare(options, name, folder, folder, where)
                written = train(options, folder, where, head == classifier)
                kind, what, difference, clean = transformers_load.compare(options.rein, written)
                fine = clean and difference <= options.tolerance
                failed |= not fine
                worst = max(worst, difference)
                print(f"{'ok' if fine else 'NOT OK'}  written: {kind}, {what}, largest difference {difference:.2g}", flush=True)
    print(f"largest difference of what was written: {worst:.2g}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
