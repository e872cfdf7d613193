#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Holds our tokenizer against Hugging Face `tokenizers` on generated strings.

usage: tokenizers_compare.py TOOL FOLDER... [--count N] [--seed S] [--show N]

TOOL is tests/text/tokenize_tool (make tests/text/tokenize_tool); each FOLDER holds a tokenizer.json. Every string is
encoded with and without the post-processor's tokens, with special tokens as text, and decoded with and without
special tokens; all five must be equal. Exit status 1 when any string differs. `tokenizers` 0.23 was used.
"""
import argparse
import json
import os
import random
import subprocess
import sys
import unicodedata

import tokenizers
from tokenizers import Tokenizer

WORDS = """the a I you he's they're we'll don't can't I'd 'tis hello world model reward policy gradient
Straße naïve café Ünïcödé 東京 中文字符 日本語 한국어 русский язык ελληνικά עברית العربية हिन्दी ไทย 🙂 👩‍👩‍👧 🇩🇪 ½ ² Ⅷ ① ٣٤ 12 1234567
3.14159 1,000,000 x=1; foo() { return bar[i]; } def f(x): if (a && b) || !c -> :: // /* */ <html> </a> #include <stdio.h>
http://example.org/?q=1&r=2 user@example.org ... --- *** ___ ~~~ ``` \\n \\t $x^2$ %d %s 100% C++ C# @@ ## ~/.config""".split()
SPACES = [" ", " ", " ", "  ", "   ", "\n", "\n\n", "\t", "\r\n", " \n ", "\u00a0", "\u3000", "\u2003", "\u2028", "\x0b", "\x0c", "\x85",
          " " * 17, "\n" * 9, "\t\t\t\t", "\u180e", "\u200b", "\ufeff"]
BLOCKS = [(0x20, 0x7e), (0xa0, 0x24f), (0x250, 0x36f), (0x370, 0x52f), (0x590, 0x6ff), (0x900, 0x97f), (0xe00, 0xe7f), (0x1100, 0x11ff),
          (0x1e00, 0x1fff), (0x2000, 0x206f), (0x2070, 0x218f), (0x2460, 0x24ff), (0x3040, 0x30ff), (0x4e00, 0x4fff),
          (0xac00, 0xacff), (0xf900, 0xfaff), (0xfb00, 0xfb4f), (0xfe00, 0xfe0f), (0xff00, 0xffef), (0x1d400, 0x1d4ff), (0x1f300, 0x1f64f)]


def code_point(rng):
    while True:
        c = rng.randrange(0x110000)
        # PCRE2 10.42 and utf8proc 2.8 know Unicode 14, as this Python: leave out what is assigned later or never
        if not 0xd800 <= c < 0xe000 and unicodedata.category(chr(c)) != "Cn":
            return chr(c)


def piece(rng, special):
    kind = rng.randrange(12)
    if kind < 4:
        return rng.choice(WORDS)
    if kind < 6:
        return rng.choice(SPACES)
    if kind == 6:
        return "".join(chr(rng.randrange(0x20, 0x7f)) for _ in range(rng.randrange(1, 12)))
    if kind == 7:
        low, high = rng.choice(BLOCKS)
        return "".join(chr(rng.randint(low, high)) for _ in range(rng.randrange(1, 8)))
    if kind == 8:
        return "".join(code_point(rng) for _ in range(rng.randrange(1, 4)))
    if kind == 9:
        return str(rng.randrange(10 ** rng.randrange(1, 14)))
    if kind == 10:
        s = rng.choice(special) if special else "<s>"
        return s if rng.random() < 0.7 else s[:rng.randrange(len(s) + 1)]
    return rng.choice("aZ_.,'\"!<>|▁ĠĊ\x00\x01\x7f") * rng.randrange(1, 30)


def string(rng, special):
    if rng.random() < 0.01:
        return rng.choice(["", " ", "a" * 3000, " " * 500, "ab" * 700, "\n" * 300])
    joint = rng.choice(["", " ", " ", "\n"])
    text = joint.join(piece(rng, special) for _ in range(rng.randrange(1, 24)))
    return unicodedata.normalize("NFD", text) if rng.random() < 0.1 else text


def assigned(text):
    return all(unicodedata.category(c) != "Cn" for c in text)


def compare(tool, folder, count, seed, show):
    theirs = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    special = [t.content for t in theirs.get_added_tokens_decoder().values()]
    rng = random.Random(seed)
    texts = []
    while len(texts) < count:
        text = string(rng, special)
        if assigned(text):
            texts.append(text)
    feed = "".join(json.dumps({"text": t}) + "\n" for t in texts)
    run = subprocess.run([tool, folder], input=feed.encode(), stdout=subprocess.PIPE, check=True)
    ours = run.stdout.decode().split("\n")[:-1]
    assert len(ours) == len(texts), (len(ours), len(texts))
    differ = 0
    for text, line in zip(texts, ours):
        got = json.loads(line)
        theirs.encode_special_tokens = True
        want = {"ids_plain": theirs.encode(text, add_special_tokens=False).ids}
        theirs.encode_special_tokens = False
        want["ids"] = theirs.encode(text, add_special_tokens=False).ids
        want["ids_special"] = theirs.encode(text, add_special_tokens=True).ids
        want["decoded"] = theirs.decode(want["ids"], skip_special_tokens=False)
        want["decoded_skip"] = theirs.decode(want["ids"], skip_special_tokens=True)
        wrong = [k for k in want if got[k] != want[k]]
        if wrong:
            differ += 1
            if differ <= show:
                k = wrong[0]
                print(f"  {k} of {text!r}:\n    ours   {got[k]!r}\n    theirs {want[k]!r}")
    tokens = sum(len(json.loads(line)["ids"]) for line in ours)
    print(f"{os.path.basename(os.path.normpath(folder))}: {len(texts)} strings, {tokens} tokens, {differ} differ")
    return differ


def main():
    p = argparse.ArgumentParser()
    p.add_argument("tool")
    p.add_argument("folders", nargs="+")
    p.add_argument("--count", type=int, default=20000)
    p.add_argument("--seed", type=int, default=7)
    p.add_argument("--show", type=int, default=3)
    a = p.parse_args()
    print(f"tokenizers {tokenizers.__version__}, Unicode {unicodedata.unidata_version}, seed {a.seed}")
    sys.exit(1 if sum(compare(a.tool, f, a.count, a.seed, a.show) for f in a.folders) else 0)


if __name__ == "__main__":
    main()
