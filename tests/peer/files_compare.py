#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Holds our reading and writing of model files against the libraries that define them.

usage: files_compare.py REIN MODEL.gguf... [--count N] [--seed S]

For every GGUF file: `rein import` in float32 must give, bit for bit, what gguf's own dequantisation gives (q and k rows put
back into Hugging Face's order), transformers must load the folder without a missing or unexpected tensor, run it, and
tokenize with it. Then N mutations of a small valid safetensors file are given to `rein inspect` and to safetensors: both must accept or
both refuse; where we are stricter on purpose it is counted apart. Exit status 1 on any difference.
Made with transformers 5.23, safetensors 0.8, gguf 0.19, torch 2.15.
"""
import argparse
import json
import os
import random
import struct
import subprocess
import sys
import tempfile

import numpy as np
import safetensors
import torch
from safetensors.torch import load_file

torch.set_num_threads(1)
NAMES = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj",
         "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
         "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
TOP = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight", "output.weight": "lm_head.weight"}
# Ours says one of these where the reference (0.8) accepts: see tests/model/check_safetensors.c.
STRICTER = ["duplicate object key", "described by an object", "is not a whole number from 0 to 2^40", "dimensions (the limit", "NUL",
            "\\u0000", "too big integer", "bytes (the limit is 512)", "too large"]


def run(rein, *args):
    return subprocess.run([rein, *args], capture_output=True, text=True, errors="replace")


def expected(path):
    from gguf import GGUFReader, dequantize
    r = GGUFReader(path)
    heads = {"attn_q": r.fields["llama.attention.head_count"].contents(), "attn_k": r.fields["llama.attention.head_count_kv"].contents()}
    out = {}
    for t in r.tensors:
        w = np.asarray(dequantize(t.data, t.tensor_type), dtype=np.float32).reshape(tuple(int(x) for x in reversed(t.shape)))
        if t.name in TOP:
            out[TOP[t.name]] = w
            continue
        _, layer, part, leaf = t.name.split(".")
        if part in heads:
            n = heads[part]
            w = w.reshape(n, w.shape[0] // n // 2, 2, -1).swapaxes(1, 2).reshape(w.shape)
        out[f"model.layers.{layer}.{NAMES[part]}.{leaf}"] = w
    return out


def compare_gguf(rein, path, folder):
    from tokenizers import Tokenizer
    from transformers import AutoModelForCausalLM, AutoTokenizer
    done = run(rein, "import", path, folder)
    if done.returncode != 0:
        print(f"FAIL {path}: {done.stderr.strip()}")
        return 1
    want, got = expected(path), load_file(os.path.join(folder, "model.safetensors"))
    bad = sorted(set(want) ^ set(got))
    bad += [k for k in want if k in got and not np.array_equal(want[k].view(np.uint32), got[k].numpy().view(np.uint32))]
    model, info = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True, torch_dtype=torch.float32)
    bad += [f"{k}: {v}" for k, v in info.items() if k in ("missing_keys", "unexpected_keys", "mismatched_keys") and v]
    fast, auto = Tokenizer.from_file(os.path.join(folder, "tokenizer.json")), AutoTokenizer.from_pretrained(folder)
    text = "The 3rd of 12 café\tcats,  said: \"don't!\"\n\n"
    bad += [] if fast.encode(text).ids == auto(text)["input_ids"] else ["tokenizers differ"]
    with torch.no_grad():
        logits = model(torch.tensor([auto(text)["input_ids"]])).logits
    bad += [] if torch.isfinite(logits).all() else ["logits are not finite"]
    print(f"{'FAIL' if bad else 'ok'} {path}: {len(want)} tensors, {sum(w.size for w in want.values())} parameters" +
          (f": {bad[:5]}" if bad else " bit for bit; transformers loads the folder"))
    return len(bad)


def valid(rng):
    header, data = {}, b""
    if rng.random() < 0.7:
        header["__metadata__"] = {"format": "pt"}
    for i in range(rng.randrange(1, 4)):
        dtype, width = rng.choice([("F32", 4), ("BF16", 2), ("F16", 2), ("I64", 8), ("U8", 1)])
        shape = [rng.randrange(0, 4) for _ in range(rng.randrange(0, 3))]
        size = width * int(np.prod(shape, dtype=np.int64))
        header[f"t{i}"] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + size]}
        data += bytes(rng.randrange(256) for _ in range(size))
    return json.dumps(header, separators=(",", ":")).encode(), data


def mutate(rng):
    """A valid file with one to three small changes in its header; the header's length is kept right in most."""
    header, data = valid(rng)
    pieces = [b"0", b"1", b"4", b"8", b"-", b".0", b"e0", b"[", b"]", b"{", b"}", b",", b":", b'"', b" ", b"\x00", b"\xff", b"null", b"true",
              b'"F32"', b'"BF16"', b"t0", b"18446744073709551616", b"9223372036854775808", b"\\u0000", b"\\u0061", b"\\ud800"]
    for _ in range(rng.randrange(0, 4)):
        at, kind = rng.randrange(len(header) + 1), rng.randrange(4)
        if kind == 0:
            header = header[:at] + rng.choice(pieces) + header[at:]
        elif kind == 1:
            header = header[:at] + header[at + rng.randrange(1, 4):]
        elif kind == 2:
            header = header[:at] + rng.choice(pieces) + header[at + rng.randrange(1, 4):]
        else:
            begin, end = sorted((rng.randrange(len(header) + 1), at))
            header = header[:at] + header[begin:end] + header[at:]
    n = len(header)
    if rng.random() < 0.05:
        n += rng.choice([-1, 1, 8, 1 << 40])
    if rng.random() < 0.1:
        data = data[:-1] if rng.random() < 0.5 else data + b"\0"
    return struct.pack("<Q", max(n, 0)) + header + data


def compare_safetensors(rein, count, seed, folder):
    rng, path = random.Random(seed), os.path.join(folder, "x.safetensors")
    accepted = refused = stricter = bad = 0
    for i in range(count):
        blob = mutate(rng)
        try:
            safetensors.deserialize(blob)
            theirs = True
        except Exception:
            theirs = False
        with open(path, "wb") as f:
            f.write(blob)
        ours = run(rein, "inspect", path)
        if ours.returncode not in (0, 2):
            bad += 1
            print(f"FAIL mutation {i}: exit {ours.returncode}: {ours.stderr.strip()}")
        elif (ours.returncode == 0) == theirs:
            accepted, refused = accepted + theirs, refused + (not theirs)
        elif theirs and any(s in ours.stderr for s in STRICTER):
            stricter += 1
        else:
            bad += 1
            print(f"FAIL mutation {i}: safetensors {'accepts' if theirs else 'refuses'}, we {'accept' if not ours.returncode else ours.stderr.strip()}: {blob!r}")
    print(f"{'FAIL' if bad else 'ok'} {count} mutated safetensors files: {accepted} accepted and {refused} refused by both, {stricter} refused by us alone")
    return bad


def main():
    p = argparse.ArgumentParser()
    p.add_argument("rein")
    p.add_argument("gguf", nargs="*")
    p.add_argument("--count", type=int, default=2000)
    p.add_argument("--seed", type=int, default=1)
    a = p.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bad = sum(compare_gguf(a.rein, g, os.path.join(folder, f"m{i}")) for i, g in enumerate(a.gguf))
        bad += compare_safetensors(a.rein, a.count, a.seed, folder)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
