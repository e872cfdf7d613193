#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes tests/golden/tokenizers: two tiny tokenizers of our own and what `tokenizers` 0.23.3 makes of some texts.

usage: generate_tokenizers.py [OUT]

bytes.json is byte-level, pieces.json SentencePiece-style; variants.json lists {name, base, edit, golden}: the base
with some top-level members (and members of "model") replaced, so that every component is covered.
"""
import copy
import json
import os
import sys

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

CORPUS = """The little program reads a story and learns to write one. The reader likes some stories more than others,
and the program learns which. It was a warm day, and the old sailor told us how the sea had taken his boat: first the
sails, then the mast, then everything. We listened; nobody said a word. "Was it cold?" asked the smallest of us.
He laughed. It is always cold in a good story. In 1912 there were 12 boats, in 1920 there were 20, and today there are
none. for (int i = 0; i < 10; i++) { total += story[i]; } The reward of a story is that it is told again and again.
zzz zzzz zzz zzzzz zz said the sailor, and slept: zzzz zzz zz.
"""

TEXTS = [
    "", " ", "a", "The story", " The story", "the  sea\n\n had   taken", "It's told; they'll say we'd've won!", "1234 and 12.5",
    "Straße naïve CAFÉ ﬁne Å ①", "e\u0301te\u0301 A\u030a", "東京 は 12時", "🙂👩‍👩‍👧", "tabs\tand\r\nlines\n", "   leading", "trailing   ",
    "<|end|>", "The<|end|>story", "<|end|><|end|>  x", "<|begin|>user\nhi<|end|>", "<|endx|> <|en", "a <mask> b", "a<mask>b", "a   <mask>   b",
    "word wordy sword word", "x word", "x\u00a0y\u3000z\u2028w", "▁already▁marked", "<0x41> <s> </s> <unk>", "\x00\x01\x7f", "TheTHEthe",
    "a_b-c.d,e;f", "((story))", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "\u180e\u200b\ufeffq", "Iİıi ŉ", "The sea " * 12,
    "x\u00b2\u00bdy\u00b9 e\u0301_\u24b6\u203f", "\u4e2d\u3001\u6587\u3002\u3006\u306f", "zzz", "zzzzzzzzz zzzzz", "a<s>b</s>c", "a <mask>er <mask>ers", "<|end|>>", "  <|end|>  <|end|>",
]


def special(text, **kw):
    return AddedToken(text, special=True, normalized=False, **kw)


def byte_level():
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    t.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=330, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False,
                                  special_tokens=[special("<|end|>"), special("<|begin|>")])
    t.train_from_iterator(CORPUS.splitlines(), trainer)
    t.add_tokens([AddedToken("<mask>", normalized=False, lstrip=True, rstrip=True),
                  AddedToken("word", normalized=True, single_word=True), AddedToken("<|endx|>", normalized=False),
                  AddedToken("<mask>er", normalized=False), AddedToken("<|end|>>", normalized=False)])
    return json.loads(t.to_str())


def pieces():
    t = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    trainer = trainers.BpeTrainer(vocab_size=420, show_progress=False, max_token_length=8,
                                  special_tokens=[special(s) for s in ("<unk>", "<s>", "</s>")]
                                  + [f"<0x{i:02X}>" for i in range(256)])
    t.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")  # for training only: merges stay within words
    t.train_from_iterator(CORPUS.splitlines(), trainer)
    t.pre_tokenizer = None
    t.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    j = json.loads(t.to_str())
    j["added_tokens"] = [a for a in j["added_tokens"] if not a["content"].startswith("<0x")]
    return j


def split(pattern, behavior, invert=False, regex=False):
    return {"type": "Split", "pattern": {"Regex" if regex else "String": pattern}, "behavior": behavior, "invert": invert}


def variants():
    bl = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    seq = lambda *p: {"pre_tokenizer": {"type": "Sequence", "pretokenizers": list(p)}}
    meta = lambda **kw: {"type": "Metaspace", "replacement": "▁", **kw}
    qwen = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
    llama3 = qwen.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
    yield "plain", "bytes", {}
    yield "prefix-space", "bytes", {"pre_tokenizer": {**bl, "add_prefix_space": True, "use_regex": True}}
    yield "nfc-qwen", "bytes", {"normalizer": {"type": "NFC"}, **seq(split(qwen, "Isolated", regex=True), bl)}
    yield "nfkc-llama3", "bytes", {"normalizer": {"type": "NFKC"}, **seq(split(llama3, "Isolated", regex=True), bl)}
    yield "nfd-lower", "bytes", {"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "Lowercase"}]}}
    yield "nfkd-accents", "bytes", {"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFKD"}, {"type": "StripAccents"}]}}
    yield "strip", "bytes", {"normalizer": {"type": "Strip", "strip_left": True, "strip_right": True}}
    yield "strip-right", "bytes", {"normalizer": {"type": "Strip", "strip_left": False, "strip_right": True}}
    yield "replace-regex", "bytes", {"normalizer": {"type": "Replace", "pattern": {"Regex": r"\s{2,}"}, "content": " "}}
    for b in ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"):
        yield f"split-{b}", "bytes", seq(split("e", b), bl)
        yield f"split-{b}-inverted", "bytes", seq(split("[a-m]+", b, invert=True, regex=True), bl)
    yield "split-empty-matches", "bytes", seq(split(r"(?=[aeiou])|\d*", "Isolated", regex=True), bl)
    yield "words", "bytes", seq(split(r"\w+", "Isolated", regex=True), bl)
    yield "no-words", "bytes", seq(split(r"\W", "Removed", regex=True), bl)
    yield "han", "bytes", seq(split(r"[\p{Han}\u306f]+|\S", "MergedWithNext", regex=True), bl)
    yield "digits-together", "bytes", seq({"type": "Digits", "individual_digits": False}, bl)
    yield "punctuation", "bytes", seq({"type": "Punctuation", "behavior": "Contiguous"}, bl)
    yield "whitespace", "bytes", seq({"type": "Whitespace"}, bl)
    yield "whitespace-split", "bytes", seq({"type": "WhitespaceSplit"}, bl)
    yield "ignore-merges", "bytes", {"model": {"ignore_merges": True}}
    yield "roberta", "bytes", {"post_processor": {"type": "RobertaProcessing", "sep": ["<|end|>", 0], "cls": ["<|begin|>", 1],
                                                  "trim_offsets": True, "add_prefix_space": True}}
    yield "bytelevel-template", "bytes", {"post_processor": {"type": "Sequence", "processors": [
        {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True},
        {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<|begin|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                                                  {"SpecialToken": {"id": "<|end|>", "type_id": 0}}],
         "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
         "special_tokens": {"<|begin|>": {"id": "<|begin|>", "ids": [1], "tokens": ["<|begin|>"]},
                            "<|end|>": {"id": "<|end|>", "ids": [0], "tokens": ["<|end|>"]}}}]}}
    yield "sentencepiece", "pieces", {}
    yield "no-fallback", "pieces", {"model": {"byte_fallback": False}}
    yield "no-fallback-no-fuse", "pieces", {"model": {"byte_fallback": False, "fuse_unk": False}}
    yield "no-unk", "pieces", {"model": {"byte_fallback": False, "unk_token": None}}
    for scheme in ("first", "always", "never"):
        m = meta(prepend_scheme=scheme, split=scheme != "always")
        yield f"metaspace-{scheme}", "pieces", {"normalizer": None, "pre_tokenizer": m, "decoder": m}
    yield "metaspace-after-split", "pieces", {"normalizer": None, **seq(split("e", "Isolated"), meta(prepend_scheme="first", split=False))}
    yield "strip-prepend", "pieces", {"normalizer": {"type": "Sequence", "normalizers": [
        {"type": "Strip", "strip_left": True, "strip_right": True}, {"type": "Prepend", "prepend": "▁"}]}}
    yield "decode-strip-both", "pieces", {"decoder": {"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"Regex": "[▁]"}, "content": " "}, {"type": "ByteFallback"},
        {"type": "Strip", "content": " ", "start": 0, "stop": 1}, {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 2, "stop": 0}]}}
    yield "no-decoder", "pieces", {"decoder": None}


def apply(base, edit):
    j = copy.deepcopy(base)
    for key, value in edit.items():
        if key == "model":
            j["model"].update(value)
        else:
            j[key] = value
    return j


def golden(j):
    t = Tokenizer.from_str(json.dumps(j))
    for text in TEXTS:
        t.encode_special_tokens = True
        plain = t.encode(text, add_special_tokens=False).ids
        t.encode_special_tokens = False
        ids = t.encode(text, add_special_tokens=False).ids
        yield {"text": text, "ids": ids, "ids_plain": plain, "ids_special": t.encode(text).ids,
               "decoded": t.decode(ids, skip_special_tokens=False), "decoded_skip": t.decode(ids, skip_special_tokens=True)}


def main():
    out = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "tokenizers")
    bases = {"bytes": byte_level(), "pieces": pieces()}
    for name, j in bases.items():
        with open(os.path.join(out, name + ".json"), "w", encoding="utf-8") as f:
            json.dump(j, f, ensure_ascii=False, separators=(",", ":"))
            f.write("\n")
    with open(os.path.join(out, "variants.jsonl"), "w", encoding="utf-8") as f:
        for name, base, edit in variants():
            row = {"name": name, "base": base, "edit": edit, "golden": list(golden(apply(bases[base], edit)))}
            f.write(json.dumps(row, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
