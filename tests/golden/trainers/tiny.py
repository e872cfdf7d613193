# SPDX-License-Identifier: MIT
"""The tiny model of the trainers' golden files: weights by formula, in float64, and a digest of what became of them.

Element i of a tensor is a hash of its name and of i (engine_weight in tests/engine/engine.c), so that no weights need to be kept.
transformers computes norms, rotations and softmax in float32 whatever the model's dtype; here they are in float64, so that
what is left between these numbers and ours is our own rounding.
"""
import copy
import json
import pathlib
import re
import sys

import numpy as np
import torch
import transformers
from transformers.models.llama import modeling_llama

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from generate_engine import direction, weight  # noqa: E402

CONFIG = dict(model_type="llama", architectures=["LlamaForCausalLM"], vocab_size=496, hidden_size=16,
              intermediate_size=24, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=4,
              hidden_act="silu", max_position_embeddings=64, initializer_range=0.05, rms_norm_eps=1e-5,
              rope_theta=10000.0, attention_bias=True, mlp_bias=True, tie_word_embeddings=False, bos_token_id=None,
              eos_token_id=0, torch_dtype="float32")
WHOLE, STRIDE = 64, 37  # elements: smaller tensors are kept whole, of others every 37th


def use_float64():
    torch.set_num_threads(1)

    def norm(self, x):
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon))

    def rotation(self, x, position_ids):
        size = CONFIG["head_dim"]
        inverse = CONFIG["rope_theta"] ** -(torch.arange(0, size, 2, dtype=torch.float64) / size)
        angles = position_ids[..., None].double() * inverse
        angles = torch.cat((angles, angles), dim=-1)
        return angles.cos(), angles.sin()

    modeling_llama.LlamaRMSNorm.forward = norm
    modeling_llama.LlamaRotaryEmbedding.forward = rotation


def model(kind=transformers.AutoModelForCausalLM, prefix="", pad=None, **special):
    settings = copy.deepcopy(transformers.AutoConfig.for_model(**{**CONFIG, **special}))
    settings.pad_token_id = pad
    out = kind.from_config(settings, attn_implementation="sdpa").double()
    with torch.no_grad():
        for name, p in out.named_parameters():
            p.copy_(weight(prefix + name, p.shape))
    return out


def tokenizer():
    """The demo's; `~` does not occur in the data."""
    return transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(HERE.parents[2] / "conf/demo/model/tokenizer.json"), eos_token="<|end|>", pad_token="~")


def rows(name):
    return [json.loads(line) for line in (HERE / name).read_text().splitlines()]


def digest(tensors, start):
    """Of every tensor some elements, and of its change the length and the projection on a direction of signs."""
    out = {}
    for name, x in tensors.items():
        x = x.detach().double().numpy().reshape(-1)
        change = x - start[name].detach().double().numpy().reshape(-1)
        out[name] = dict(stride=1 if x.size <= WHOLE else STRIDE, change=float(np.linalg.norm(change)),
                         most=float(np.abs(change).max()), projection=float(change @ direction(name, x.size)),
                         values=[float(v) for v in x[::1 if x.size <= WHOLE else STRIDE]])
    return out


def gradients(tensors):
    """The projection of each gradient and its length."""
    out = {}
    for name, p in tensors.items():
        g = p.grad.detach().double().numpy().reshape(-1)
        out[name] = [float(g @ direction(name, g.size)), float(np.linalg.norm(g))]
    return out


def write(value):
    """A line a step and a line a tensor, nine digits."""
    def short(x):
        if isinstance(x, float):
            return float(f"{x:.9g}")
        if isinstance(x, dict):
            return {k: short(v) for k, v in x.items()}
        return [short(v) for v in x] if isinstance(x, list) else x

    text = json.dumps(short(value), separators=(",", ":"))
    print(re.sub(r'(\{"loss"|"[\w.]+":\{"stride"|"(?:steps|weights|gradients)":)', r"\n\1", text))
