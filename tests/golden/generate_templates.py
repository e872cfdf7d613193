#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes tests/golden/templates/texts.jsonl: what Jinja makes of some conversations, and the ids of that text.

usage: generate_templates.py

The texts come from transformers' own renderer (5.23: a sandboxed Jinja 3 with trim_blocks and lstrip_blocks), the ids from
`tokenizers` 0.23.3 with tests/golden/tokenizers/{bytes,pieces}.json and the added tokens below. smollm2, qwen2.5 and
qwen3 are those models' templates (Apache-2.0), as are mistral (7B Instruct v0.2, Mixtral) and mistral-v0.1; gemma (1.1 and 2),
llama3 and zephyr follow theirs; alpaca and plain are our own. A line without a text is one that the template refuses.
"""
import json
import os

import jinja2
from tokenizers import AddedToken, Tokenizer
from transformers.utils.chat_template_utils import render_jinja_template

HERE = os.path.dirname(os.path.abspath(__file__))
ADDED = ["<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|begin_of_text|>"]
LATER = ["<start_of_turn>", "<end_of_turn>"]  # behind all others, whose ids stay


def turns(*contents, system=None):
    out = [] if system is None else [{"role": "system", "content": system}]
    for i, c in enumerate(contents):
        out.append({"role": "user" if i % 2 == 0 else "assistant", "content": c})
    return out


CONVERSATIONS = [
    turns("hi"), turns("hi", "hello"), turns("hi", "hello", "how are you?"), turns("hi", "hello", "how are you?", "fine, thanks"),
    turns("hi", system="Be brief."), turns("hi", "hello", system="Be brief."), turns("a", "b", "c", "d", "e", "f", system="S"),
    turns("  spaces around  ", "  and here \n"), turns("two\nlines\n\nand more", "- a\n- b\n"), turns("", "empty question"),
    turns("empty answer", ""), turns("", "", system=""), turns("naïve café 東京 🙂", "Ünïcödé ½"), turns("1 + 1 = ?", "2"),
    turns("think", "<think>\nfirst this\n</think>\n\nthen that"), turns("q", "<think>old</think>a", "again", "<think>new</think>b"),
    turns("q", "no closing <think> tag"), turns("\n\nleading newlines", "\n\nhere too"), turns("def f(x):\n    return x", "ok\t\n"),
    [{"role": "user", "content": "q"}, {"role": "system", "content": "late system"}, {"role": "assistant", "content": "a"}],
    [{"role": "assistant", "content": "I begin"}, {"role": "user", "content": "fine"}],
    # user and assistant by turns, for the templates that take nothing else
    turns("one", "two", "three", "four", "five"), turns("\t tabs \t", "\u00a0no-break\u00a0", " x "), turns("[INST] not mine [/INST]", "[/INST]"),
    turns("start_of_turn", "no"), turns("a" * 70, "b" * 70), turns("q", " a ", "q2\n", "\na2\n", "q3"),
    turns("{}", "{content} {{eos}}"), [{"role": "user", "content": "twice"}, {"role": "user", "content": "in a row"}],
]


def tokenizer(base):
    t = Tokenizer.from_file(os.path.join(HERE, "tokenizers", base + ".json"))
    if base == "bytes":
        t.add_tokens([AddedToken(a, special=True, normalized=False) for a in ADDED])
        t.add_tokens([AddedToken(a, special=False, normalized=False) for a in ("<think>", "</think>")])
        t.add_tokens([AddedToken(a, special=True, normalized=False) for a in LATER])
    return t


def rows():
    names = sorted(f[:-6] for f in os.listdir(os.path.join(HERE, "templates")) if f.endswith(".jinja"))
    for name in names:
        with open(os.path.join(HERE, "templates", name + ".jinja"), newline="", encoding="utf-8") as f:
            template = f.read()
        for base, bos, eos in (("bytes", "<|begin_of_text|>", "<|end|>"), ("pieces", "<s>", "</s>")):
            if base == "pieces" and name not in ("chatml", "zephyr", "alpaca", "plain", "mistral", "mistral-v0.1"):
                continue
            t = tokenizer(base)
            if base == "bytes" and name in ("alpaca", "plain"):
                bos = ""  # where the post-processor adds none, these have none
            for i, messages in enumerate(CONVERSATIONS):
                generation = i % 2 == 0
                # a conversation without a question is an error to transformers' own qwen3 template only with tools
                row = {"template": name, "base": base, "conversation": i, "generation": generation}
                try:
                    text = render_jinja_template([messages], chat_template=template, add_generation_prompt=generation,
                                                 bos_token=bos, eos_token=eos)[0][0]
                except jinja2.exceptions.TemplateError:
                    yield row
                    continue
                yield {**row, "text": text, "ids": t.encode(text, add_special_tokens=False).ids}


def main():
    added = [json.loads(a) for a in sorted({json.dumps(a) for a in json.loads(tokenizer("bytes").to_str())["added_tokens"]},
                                           key=lambda a: json.loads(a)["id"])]
    with open(os.path.join(HERE, "templates", "texts.jsonl"), "w", encoding="utf-8") as f:
        f.write(json.dumps({"added_tokens": added, "conversations": CONVERSATIONS}, separators=(",", ":")) + "\n")
        for row in rows():
            f.write(json.dumps(row, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
