#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Golden numbers of the engine: tiny decoders of every family, by transformers in float64.

usage: generate_engine.py > engine.json      (versions: requirements.txt)

No weights are kept: each is a formula of the tensor's name and the element's number (engine_weight in
tests/engine/engine.c is the same). Per case: log-probabilities and entropies of each token at a temperature, the gradient
of a weighted sum of both (projected on a direction of signs, and its length, for every tensor), and greedy continuations.
"""
import json

import numpy as np
import torch
import transformers

torch.set_num_threads(1)

BASE = dict(vocab_size=61, hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=64, rms_norm_eps=1e-5, initializer_range=0.02,
            bos_token_id=1, eos_token_id=2, tie_word_embeddings=False, torch_dtype="float32")
CASES = {
    "llama": dict(model_type="llama", architectures=["LlamaForCausalLM"], rope_theta=10000.0),
    "llama, tied, rope of Llama 3, biases": dict(
        model_type="llama", architectures=["LlamaForCausalLM"], tie_word_embeddings=True, attention_bias=True,
        mlp_bias=True, rope_theta=500000.0, head_dim=8,
        rope_scaling=dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                          original_max_position_embeddings=32)),
    "mistral, window": dict(model_type="mistral", architectures=["MistralForCausalLM"], sliding_window=5,
                            rope_theta=10000.0),
    "qwen2, tied": dict(model_type="qwen2", architectures=["Qwen2ForCausalLM"], tie_word_embeddings=True,
                        rope_theta=1000000.0),
    "qwen3": dict(model_type="qwen3", architectures=["Qwen3ForCausalLM"], head_dim=8, rope_theta=1000000.0),
    "gemma": dict(model_type="gemma", architectures=["GemmaForCausalLM"], tie_word_embeddings=True, head_dim=8, pad_token_id=0,
                  hidden_act="gelu_pytorch_tanh", hidden_activation="gelu_pytorch_tanh", rope_theta=10000.0),
    "llama, linear rope": dict(model_type="llama", architectures=["LlamaForCausalLM"], rope_theta=10000.0,
                               rope_scaling=dict(rope_type="linear", factor=2.5)),
    "mistral, no window, head_dim": dict(model_type="mistral", architectures=["MistralForCausalLM"], sliding_window=None,
                                         head_dim=10, rope_theta=10000.0),
    "qwen2, window": dict(model_type="qwen2", architectures=["Qwen2ForCausalLM"], use_sliding_window=True,
                          sliding_window=3, max_window_layers=0, rope_theta=10000.0),
    "qwen3, tied, biases": dict(model_type="qwen3", architectures=["Qwen3ForCausalLM"], head_dim=8, attention_bias=True,
                                tie_word_embeddings=True, rope_theta=10000.0),
    "gpt2": dict(model_type="gpt2", architectures=["GPT2LMHeadModel"]),
    "gpt2, own head, n_inner, erf": dict(model_type="gpt2", architectures=["GPT2LMHeadModel"], n_inner=56,
                                         activation_function="gelu", tie_word_embeddings=False),
    **{f"{family}, score": dict(model_type=family, architectures=[name + "ForSequenceClassification"], num_labels=1,
                                id2label={"0": "LABEL_0"}, label2id={"LABEL_0": 0}, pad_token_id=60, **more)
       for family, name, more in (
           ("llama", "Llama", dict(rope_theta=10000.0)),
           ("mistral", "Mistral", dict(rope_theta=10000.0, sliding_window=4)),
           ("qwen2", "Qwen2", dict(rope_theta=10000.0, tie_word_embeddings=True)),
           ("qwen3", "Qwen3", dict(rope_theta=10000.0, head_dim=8)),
           ("gemma", "Gemma", dict(rope_theta=10000.0, head_dim=8, hidden_act="gelu_pytorch_tanh",
                                   hidden_activation="gelu_pytorch_tanh", tie_word_embeddings=True)),
           ("gpt2", "GPT2", dict()))},
}
GPT2 = dict(hidden_size="n_embd", intermediate_size=None, num_hidden_layers="n_layer", num_attention_heads="n_head",
            num_key_value_heads=None, max_position_embeddings="n_positions", rms_norm_eps="layer_norm_epsilon")
ROWS = [[1, 17, 5, 33, 33, 8, 59, 2, 4, 21, 40], [7], [3, 3, 50], [12, 45, 9, 28, 16, 30, 2, 11]]
TEMPERATURE = 0.75


def hashes(name, index):
    h = 2166136261
    for c in name.encode():
        h = (h ^ c) * 16777619 & 0xFFFFFFFF
    x = (h + index.astype(np.uint64) * 2654435761) & 0xFFFFFFFF
    x = (x ^ x >> 16) * 0x7FEB352D & 0xFFFFFFFF
    x = (x ^ x >> 15) * 0x846CA68B & 0xFFFFFFFF
    return x ^ x >> 16


def weight(name, shape):
    index = np.arange(int(np.prod(shape)), dtype=np.uint64)
    x = ((hashes(name, index) >> np.uint64(21)).astype(np.int64) - 1024) / 4096.0
    norm = ("norm" in name or "ln_" in name) and "weight" in name
    return torch.tensor((x + 1 if norm else x).reshape(shape))


def direction(name, count):
    return 1.0 - 2.0 * ((hashes(name, np.arange(count, dtype=np.uint64) + np.uint64(1000003)) & np.uint64(1)) == 0)


def token_weight(row, i):
    return ((row * 5 + i * 7) % 9 - 4) / 8


def config_of(special):
    """What config.json says: BASE under the family's own names."""
    names = GPT2 if special["model_type"] == "gpt2" else {}
    base = {names.get(key, key): value for key, value in BASE.items() if names.get(key, key)}
    return {**base, **(dict(tie_word_embeddings=True) if names else {}), **special}


def as_written(model):
    """config.json as this version of transformers writes it."""
    return {**model.config.to_diff_dict(), "architectures": [type(model).__name__], "dtype": "float32"}


def build(config):
    settings = transformers.AutoConfig.for_model(**config)
    settings._attn_implementation = "eager"
    kind = transformers.AutoModelForCausalLM
    if "Sequence" in config["architectures"][0]:
        kind = transformers.AutoModelForSequenceClassification
    model = kind.from_config(settings, attn_implementation="eager").double().eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(weight(name, p.shape))
    return model


def gradients(model):
    out = {}
    for name, p in model.named_parameters():
        g = p.grad.numpy().reshape(-1)
        out[name] = [float(g @ direction(name, g.size)), float(np.linalg.norm(g))]
    return out


def language_model(model):
    logprobs, entropies, objective = [], [], torch.zeros((), dtype=torch.float64)
    for r, row in enumerate(ROWS):
        z = torch.log_softmax(model(torch.tensor([row]), use_cache=False).logits[0] / TEMPERATURE, -1)
        lp = [z[i - 1, row[i]] for i in range(1, len(row))]
        h = [-(z[i - 1].exp() * z[i - 1]).sum() for i in range(1, len(row))]
        for i in range(1, len(row)):
            objective = objective + token_weight(r, i) * lp[i - 1] + token_weight(r, i + 100) * h[i - 1]
        logprobs.append([x.item() for x in lp])
        entropies.append([x.item() for x in h])
    objective.backward()
    greedy = []
    for row in ROWS:
        ids = list(row)
        for _ in range(12):
            with torch.no_grad():
                ids.append(int(model(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
        greedy.append(ids[len(row):])
    return dict(logprobs=logprobs, entropies=entropies, gradients=gradients(model), greedy=greedy)


def classifier(model):
    scores = torch.stack([model(torch.tensor([row]), use_cache=False).logits[0, 0] for row in ROWS])
    sum(token_weight(r, 3) * s for r, s in enumerate(scores)).backward()
    pad, longest = model.config.pad_token_id, max(map(len, ROWS))
    with torch.no_grad():  # read at the last token that is not padding
        padded = model(torch.tensor([row + [pad] * (longest - len(row)) for row in ROWS]), attention_mask=torch.tensor(
            [[1] * len(row) + [0] * (longest - len(row)) for row in ROWS]), use_cache=False).logits[:, 0]
    # (padding longer than a sliding window sees nothing and is NaN there, which spreads)
    assert ((padded - scores).abs() < 1e-12)[torch.isfinite(padded)].all() and torch.isfinite(padded[0])
    return dict(scores=scores.tolist(), gradients=gradients(model))


def main():
    cases = []
    for name, special in CASES.items():
        config = config_of(special)
        model = build(config)
        result = classifier(model) if "Sequence" in config["architectures"][0] else language_model(model)
        cases.append(dict(name=name, config=config, written=as_written(model), **result))
    text = json.dumps(dict(rows=ROWS, temperature=TEMPERATURE, cases=cases), indent=None, separators=(",", ":"))
    text = text.replace('{"name"', '\n{"name"')
    for key in ("written", "logprobs", "gradients", "greedy"):
        text = text.replace(f',"{key}"', f',\n "{key}"')
    print(text)


if __name__ == "__main__":
    main()
