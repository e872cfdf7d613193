#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Trains the demo's byte-level BPE tokenizer on its texts and writes tokenizer.json. Standard library only.

   make_tokenizer.py DATA-FOLDER OUT-FOLDER [VOCABULARY]
"""
import collections
import json
import pathlib
import re
import sys

END = "<|end|>"
# the GPT-2 pre-tokenizer, as far as plain ASCII texts can tell
WORDS = re.compile(r"'(?:s|t|re|ve|m|ll|d)| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+")


def byte_characters():
    """GPT-2's printable character for each byte."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table = {b: chr(b) for b in printable}
    for b in range(256):
        if b not in table:
            table[b] = chr(256 + len(table) - len(printable))
    return table


def texts(folder):
    for name in ("sft.jsonl", "pairs.jsonl"):
        for line in (folder / name).read_text().splitlines():
            yield from json.loads(line).values()


def train(words, alphabet, size):
    """words: {tuple of symbols: count}. The most frequent pair first, the smaller one on a tie."""
    vocabulary, merges = [END, *alphabet], []
    while len(vocabulary) < size:
        pairs = collections.Counter()
        for symbols, count in words.items():
            for pair in zip(symbols, symbols[1:]):
                pairs[pair] += count
        if not pairs:
            break
        best = min(pairs, key=lambda p: (-pairs[p], p))
        merges.append(best)
        vocabulary.append(best[0] + best[1])
        merged = collections.Counter()
        for symbols, count in words.items():
            out, i = [], 0
            while i < len(symbols):
                if symbols[i:i + 2] == best:
                    out.append(best[0] + best[1])
                    i += 2
                else:
                    out.append(symbols[i])
                    i += 1
            merged[tuple(out)] += count
        words = merged
    return vocabulary, merges


def main(data, out, size):
    table = byte_characters()
    words = collections.Counter()
    for text in texts(data):
        for word in WORDS.findall(text):
            words[tuple(table[b] for b in word.encode())] += 1
    vocabulary, merges = train(words, sorted(table.values()), size)
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": 0, "content": END, "single_word": False, "lstrip": False, "rstrip": False,
                          "normalized": False, "special": True}],
        "normalizer": None, "pre_tokenizer": level, "post_processor": None, "decoder": level,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": {token: i for i, token in enumerate(vocabulary)},
                  "merges": [" ".join(pair) for pair in merges]},
    }
    (out / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False, indent=0) + "\n")


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) == 4 else 512)
