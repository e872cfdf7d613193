#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes the data of sentiment-smollm2.yaml out of sentences labelled 1 (positive) or 0.

   prepare_sentiment.py SENTENCES.jsonl FOLDER

SENTENCES.jsonl has a line {"text": "...", "label": 0 or 1} for each sentence, such as the 10,662 of Pang and Lee's
"sentence polarity dataset v1.0". Needs nothing but Python's standard library; the same input gives the same bytes.

Which file a sentence may go to is decided by the SHA-256 of its text (lower case, single spaces), modulo 100:

     0-19  texts to imitate                         sft.jsonl
    20-55  pairs for the reward model               pairs.jsonl
    56-91  pairs for the judge, seen by none else   judge-pairs.jsonl
    92-99  held out, seen by no training at all     sft-eval.jsonl pairs-eval.jsonl held-out.jsonl

so no sentence is in two groups. prompts.jsonl has the openings (first words) of sentences of the first two groups,
held-out.jsonl those of held-out sentences; an opening that also begins a training sentence of any group is left out.
The pipelines are copied beside the data, since paths in a pipeline are relative to it.
"""
import hashlib
import json
import pathlib
import shutil
import sys

GROUPS = (("sft", 20), ("rm", 56), ("judge", 92), ("held", 100))
WORDS = range(6, 36)      # sentences of other lengths are left out: they would be cut off
OPENING = 4               # words
PROMPT = "Review:"        # every text begins so
TEXTS, PAIRS, OPENINGS, HELD_OUT = 2000, 2000, 1600, 200


def digest(text):
    return hashlib.sha256(" ".join(text.lower().split()).encode()).hexdigest()


def read(path):
    """{group: [(hash, text, label)]}, each in the order of the hashes, which is as good as any shuffle."""
    groups = {name: [] for name, _ in GROUPS}
    seen = set()
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
                text, label = " ".join(row["text"].split()), row["label"]
            except (ValueError, KeyError, TypeError, AttributeError):
                sys.exit(f"{path}:{number}: expected {{\"text\": \"...\", \"label\": 0 or 1}}")
            if label not in (0, 1):
                sys.exit(f"{path}:{number}: label must be 0 or 1")
            key = digest(text)
            if key in seen or len(text.split()) not in WORDS:
                continue
            seen.add(key)
            bucket = int(key[:8], 16) % 100
            group = next(name for name, end in GROUPS if bucket < end)
            groups[group].append((key, text, label))
    for rows in groups.values():
        rows.sort()
    return groups


def texts(rows, most):
    return [{"prompt": PROMPT, "completion": " " + text} for _, text, _ in rows[:most]]


def pairs(rows, most):
    good = [text for _, text, label in rows if label == 1]
    bad = [text for _, text, label in rows if label == 0]
    return [{"prompt": PROMPT, "chosen": " " + g, "rejected": " " + b} for g, b in list(zip(good, bad))[:most]]


def opening(text):
    return " ".join(text.split()[:OPENING])


def openings(rows, most, without=frozenset()):
    found = dict.fromkeys(opening(text) for _, text, _ in rows)
    return [{"prompt": f"{PROMPT} {o}"} for o in found if o not in without][:most]


def write(folder, name, rows, least):
    if len(rows) < least:
        sys.exit(f"{name}: only {len(rows)} rows can be made of the input, at least {least} are needed")
    with open(folder / name, "w", encoding="utf-8", newline="\n") as out:
        for row in rows:
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
    print(f"{name}: {len(rows)} rows", file=sys.stderr)


def main(source, folder):
    groups = read(source)
    folder.mkdir(parents=True, exist_ok=True)
    trained = {opening(text) for name in ("sft", "rm", "judge") for _, text, _ in groups[name]}
    write(folder, "sft.jsonl", texts(groups["sft"], TEXTS), 100)
    write(folder, "sft-eval.jsonl", texts(groups["held"], 200), 20)
    write(folder, "pairs.jsonl", pairs(groups["rm"], PAIRS), 100)
    write(folder, "judge-pairs.jsonl", pairs(groups["judge"], PAIRS), 100)
    write(folder, "pairs-eval.jsonl", pairs(groups["held"], 400), 20)
    write(folder, "prompts.jsonl", openings(sorted(groups["sft"] + groups["rm"]), OPENINGS), 100)
    write(folder, "held-out.jsonl", openings(groups["held"], HELD_OUT, trained), HELD_OUT)
    for pipeline in pathlib.Path(__file__).resolve().parent.glob("sentiment-*.yaml"):
        shutil.copy(pipeline, folder)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
