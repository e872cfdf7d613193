#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Loads models that rein wrote in transformers and compares what both make of the same token ids.

   transformers_load.py [--rein PROGRAM] [--tolerance 5e-4] MODEL-FOLDER ...

A folder whose config.json says ...ForSequenceClassification is compared by scores (rows of unequal length in one padded
batch, so that the pad token is tested too), any other by per-token log-probabilities; a folder without a tokenizer by rows of
ids. Exit status 1 on a difference.
Needs torch and transformers.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import torch
import transformers

TEXTS = ["Hi. Where is the lamp? Sure. It is here.", "Review: one of the funniest films in years .",
         "A tale of two cities, in 1859; naïve?", "The quick brown fox jumps over the lazy dog."]


def rein(program, command, model, rows):
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as data:
        data.write("".join(json.dumps({"input_ids": r}) + "\n" for r in rows))
        data.flush()
        out = subprocess.run([program, command, model, data.name], stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line) for line in out.stdout.splitlines()]


def rows_for(folder, config):
    file, longest = folder / "tokenizer.json", config.get("max_position_embeddings", config.get("n_positions"))
    if file.exists():
        tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(file))
        return [tokenizer.encode(t, add_special_tokens=False)[:longest] for t in TEXTS]
    pad, random = config.get("pad_token_id"), torch.Generator().manual_seed(1)
    ids = [torch.randint(0, config["vocab_size"], (n,), generator=random).tolist() for n in (1, 7, 30, longest)]
    return [[(i + 1) % config["vocab_size"] if i == pad else i for i in row] for row in ids]


@torch.no_grad()
def compare(program, folder):
    config = json.loads((pathlib.Path(folder) / "config.json").read_text())
    rows = rows_for(pathlib.Path(folder), config)
    if config["architectures"][0].endswith("ForSequenceClassification"):
        model, info = transformers.AutoModelForSequenceClassification.from_pretrained(
            folder, dtype=torch.float32, output_loading_info=True)
        longest = max(map(len, rows))
        pad = model.config.pad_token_id
        ids = torch.tensor([r + [pad] * (longest - len(r)) for r in rows])
        mask = torch.tensor([[1] * len(r) + [0] * (longest - len(r)) for r in rows])
        theirs = model.eval()(input_ids=ids, attention_mask=mask).logits.mean(1).tolist()  # of several heads
        ours = [line["score"] for line in rein(program, "score", folder, rows)]
        worst = max(abs(a - b) for a, b in zip(ours, theirs))
        what = f"{len(ours)} scores"
    else:
        model, info = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, output_loading_info=True)
        model.eval()
        worst, count = 0.0, 0
        for row, line in zip(rows, rein(program, "logprobs", folder, rows)):
            logp = torch.log_softmax(model(torch.tensor([row])).logits[0].double(), -1)
            for i in range(1, len(row)):
                worst = max(worst, abs(logp[i - 1, row[i]].item() - line["logprobs"][i]))
                count += 1
        what = f"{count} log-probabilities"
    strange = [k for k in ("missing_keys", "unexpected_keys", "mismatched_keys") if info.get(k)]
    for k in strange:
        print(f"{folder}: {k}: {sorted(info[k])[:4]}")
    return type(model).__name__, what, worst, not strange


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rein", default="rein")
    p.add_argument("--tolerance", type=float, default=5e-4)
    p.add_argument("models", nargs="+")
    args = p.parse_args()
    torch.set_num_threads(1)
    good = True
    for folder in args.models:
        name, what, worst, clean = compare(args.rein, folder)
        fine = clean and worst <= args.tolerance
        good &= fine
        print(f"{'ok' if fine else 'NOT OK'}  {folder}: {name}, {what}, largest difference {worst:.2e}")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
