#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes the data of grpo-group.yaml: sums of two numbers from 0 to 24, as prompts with their answers.

   prepare_addition.py FOLDER

sums.jsonl has the sums to learn on, sums-eval.jsonl those held out, each a line {"prompt": "...", "answer": "..."}.
Whether a sum is held out is decided by the SHA-256 of its two numbers, the smaller first: 13 + 5 and 5 + 13 are both
in one file or both in the other, so that no held-out sum, turned round, has been trained on. The same bytes each time.
Needs nothing but Python's standard library. The pipeline is copied beside the data, since its paths are relative to it.
"""
import hashlib
import json
import pathlib
import shutil
import sys

LARGEST = 24
HELD_OUT = 0.3                        # share of the sums
PROMPT = "1 + 1 = 2\n{} + {} ="       # one example shows a small model what is wanted


def digest(a, b):
    return hashlib.sha256(f"{min(a, b)} {max(a, b)}".encode()).digest()


def held_out(a, b):
    return digest(a, b)[0] < HELD_OUT * 256


def write(path, sums):
    with open(path, "w", encoding="utf-8", newline="\n") as out:
        for a, b in sums:
            out.write(json.dumps({"prompt": PROMPT.format(a, b), "answer": str(a + b)}) + "\n")
    print(f"{path.name}: {len(sums)} sums", file=sys.stderr)


def main(folder):
    sums = [(a, b) for a in range(LARGEST + 1) for b in range(LARGEST + 1) if (a, b) != (1, 1)]
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "sums.jsonl", [s for s in sums if not held_out(*s)])
    write(folder / "sums-eval.jsonl", [s for s in sums if held_out(*s)])
    shutil.copy(pathlib.Path(__file__).resolve().parent / "grpo-group.yaml", folder)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(pathlib.Path(sys.argv[1]))
