#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""How many sums a model gets right: the likeliest answer (temperature 0) to each prompt of a file.

   accuracy.py REIN MODEL SUMS.jsonl

MODEL is a folder or a .gguf file, SUMS.jsonl has lines {"prompt", "answer"} as prepare_addition.py writes them. An answer
is right when the last number in its first line is the one wanted: what conf/pipelines/grpo-group.yaml rewards. Prints one
JSON object; `error` is the standard error of the share. Needs nothing but Python's standard library.
"""
import json
import re
import subprocess
import sys


def last_number(text):
    found = re.findall(r"(?<![\w)\]])-\d+|\d+", text)
    return int(found[-1]) if found else None


def main(rein, model, path):
    with open(path, encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    ran = subprocess.run([rein, "generate", model, "--prompts", path, "--max-tokens", "6", "--stop", "\n",
                          "--temperature", "0", "--json", "--quiet"], stdout=subprocess.PIPE, check=True, text=True)
    answers = [json.loads(line)["completion"] for line in ran.stdout.splitlines()]
    if len(answers) != len(rows):
        sys.exit(f"{path}: {len(answers)} answers to {len(rows)} sums")
    right = sum(last_number(a) == int(row["answer"]) for a, row in zip(answers, rows))
    share = right / len(rows)
    print(json.dumps({"model": model, "right": right, "of": len(rows), "accuracy": round(share, 4),
                      "error": round((share * (1 - share) / len(rows)) ** 0.5, 4)}))


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
