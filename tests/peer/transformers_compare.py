#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""rein against transformers on the same weights: log-probabilities, scores and greedy continuations.

usage: transformers_compare.py [options] REIN MODEL...

  REIN             the program to test
  MODEL            a Hugging Face folder, or PATH=FOLDER where rein reads PATH (a .gguf) and transformers FOLDER
  --rows N         rows of random ids (default 12; the first has one token)
  --length N       tokens of the longest row (default 48, the model's context at most)
  --copies         also compare bfloat16, float16 and sharded copies of each folder
  --tolerance X    largest difference of a log-probability or score (default 1e-4)
  --greedy N       greedy tokens to compare (default 24; 0: none)
  --backend NAME   handed on to rein

Prints a line a model and check, exits 1 when one is beyond the tolerance.
"""
import argparse
import copy
import json
import os
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import torch
import transformers

torch.set_num_threads(2)
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()


def rein(options, *words):
    command = [options.rein, *words] + (["--backend", options.backend] if options.backend else [])
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}: {done.stderr.strip()}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def rows_for(config, options):
    random = np.random.default_rng(1)
    longest = min(options.length, config.max_position_embeddings)
    lengths = [1, longest] + [int(n) for n in random.integers(2, longest + 1, options.rows - 2)]
    pad = getattr(config, "pad_token_id", None)
    ids = [random.integers(0, config.vocab_size, n) for n in lengths]
    return [[int((i + 1) % config.vocab_size) if i == pad else int(i) for i in row] for row in ids]


def write_rows(folder, rows, key="input_ids"):
    path = os.path.join(folder, key + ".jsonl")
    with open(path, "w", encoding="utf-8") as out:
        out.writelines(json.dumps({key: row}) + "\n" for row in rows)
    return path


def copies(folder, where):
    """The same model in other files."""
    kind = transformers.AutoConfig.from_pretrained(folder).architectures[0]
    model = getattr(transformers, kind).from_pretrained(folder, dtype=torch.float32)
    size = sum(p.numel() for p in model.parameters()) * 4
    for name, dtype, shard in (("sharded", torch.float32, size // 3), ("bf16", torch.bfloat16, size),
                               ("f16", torch.float16, size), ("bf16-sharded", torch.bfloat16, size // 6)):
        target = os.path.join(where, name)
        copy.deepcopy(model).to(dtype).save_pretrained(target, max_shard_size=shard)
        for extra in ("tokenizer.json", "tokenizer_config.json"):
            if os.path.exists(os.path.join(folder, extra)):
                shutil.copy(os.path.join(folder, extra), target)
        yield f"{folder} ({name})", target


def load(folder):
    kind = transformers.AutoConfig.from_pretrained(folder).architectures[0]
    return getattr(transformers, kind).from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()


def logprobs(model, row):
    with torch.no_grad():
        z = torch.log_softmax(model(torch.tensor([row]), use_cache=False).logits[0].double(), -1)
    return [None] + [z[i - 1, row[i]].item() for i in range(1, len(row))]


def compare_logprobs(options, path, model, rows, data):
    ours, worst, tokens = rein(options, "logprobs", path, data), 0.0, 0
    assert len(ours) == len(rows) and all(o["ids"] == row for o, row in zip(ours, rows)), "rows or ids differ"
    for o, row in zip(ours, rows):
        theirs = logprobs(model, row)
        assert o["logprobs"][0] is None and len(o["logprobs"]) == len(row)
        for a, b in zip(o["logprobs"][1:], theirs[1:]):
            worst, tokens = max(worst, abs(a - b)), tokens + 1
    return worst, f"{tokens} log-probabilities"


def compare_scores(options, path, model, rows, data):
    ours, worst = rein(options, "score", path, data), 0.0
    for o, row in zip(ours, rows):
        with torch.no_grad():
            worst = max(worst, abs(o["score"] - model(torch.tensor([row]), use_cache=False).logits[0, 0].item()))
    return worst, f"{len(rows)} scores"


def compare_greedy(options, path, model, rows, folder):
    """Token for token, as long as the two best logits of transformers are not closer than rounding."""
    room = model.config.max_position_embeddings - options.greedy
    prompts = [row[:room] for row in rows[:4]]
    data = write_rows(folder, prompts, "prompt_ids")
    ours = rein(options, "generate", path, "--prompts", data, "--max-tokens", str(options.greedy), "--temperature", "0",
                "--ignore-eos", "--json")
    wrong = 0
    for o, prompt in zip(ours, prompts):
        ids = list(prompt)
        for t in range(options.greedy):
            with torch.no_grad():
                z = model(torch.tensor([ids]), use_cache=False).logits[0, -1]
            if o["completion_ids"][t] != int(z.argmax()):
                best = z.topk(2).values
                wrong += (best[0] - z[o["completion_ids"][t]]).item() > 1e-4 or (best[0] - best[1]).item() > 1e-4
                break
            ids.append(int(z.argmax()))
    return float(wrong), f"{len(prompts)} greedy continuations of {options.greedy} tokens"


def compare(options, name, path, oracle, where, greedy=True):
    model = load(oracle)
    rows = rows_for(model.config, options)
    data = write_rows(where, rows)
    checks = [compare_scores] if "Sequence" in model.config.architectures[0] else [compare_logprobs]
    failed = False
    for check in checks + ([compare_greedy] if greedy and options.greedy and checks[0] is compare_logprobs else []):
        worst, what = check(options, path, model, rows, where if check is compare_greedy else data)
        failed |= not worst <= options.tolerance
        print(f"{'ok' if worst <= options.tolerance else 'NOT OK'}  {name}: {what}, largest difference {worst:.2g}",
              flush=True)
    return failed


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("rein")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--rows", type=int, default=12)
    parser.add_argument("--length", type=int, default=48)
    parser.add_argument("--copies", action="store_true")
    parser.add_argument("--tolerance", type=float, default=1e-4)
    parser.add_argument("--greedy", type=int, default=24)
    parser.add_argument("--backend")
    options = parser.parse_args()
    failed = False
    for spec in options.models:
        path, _, oracle = spec.partition("=")
        with tempfile.TemporaryDirectory() as where:
            failed |= compare(options, path, path, oracle or path, where)
            for name, other in copies(path, where) if options.copies and not oracle else ():
                failed |= compare(options, name, other, other, where, False)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
