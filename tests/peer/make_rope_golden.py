#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes tests/model/rope.json: transformers' inverse frequencies for config.json files that tests/model/check_config.c reads.

Made with transformers 5.23, torch 2.15.  usage: make_rope_golden.py OUT.json
"""
import json
import sys

import torch
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

torch.set_num_threads(1)
LLAMA3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=8192)
LLAMA32 = dict(rope_type="llama3", factor=32.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=8192)
CASES = [
    (64, 10000.0, None),
    (96, 10000.0, None),
    (128, 1000000.0, None),
    (64, 10000.0, dict(rope_type="linear", factor=4.0)),
    (80, 50000.0, dict(rope_type="linear", factor=2.5)),
    (128, 500000.0, LLAMA3),
    (64, 500000.0, LLAMA32),
]
out = []
for head_dim, theta, scaling in CASES:
    raw = dict(model_type="llama", vocab_size=32, hidden_size=head_dim, num_hidden_layers=1, num_attention_heads=1,
               intermediate_size=8, max_position_embeddings=131072, rope_theta=theta, rope_scaling=scaling)
    config = LlamaConfig(**{k: v for k, v in json.loads(json.dumps(raw)).items() if k != "model_type"})
    rope = LlamaRotaryEmbedding(config)
    assert rope.attention_scaling == 1.0
    out.append(dict(config=raw, frequencies=[float(x) for x in rope.inv_freq]))
with open(sys.argv[1], "w") as f:
    f.write("[\n" + ",\n".join(json.dumps(c) for c in out) + "\n]\n")
