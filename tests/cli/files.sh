#!/bin/sh
# SPDX-License-Identifier: MIT
# `rein inspect` and `rein import`: what they print, what they write, and that they leave nothing behind.
. "$srcdir/tests/cli/lib.sh"

"$top_builddir/tests/model/make_gguf" "$work/tiny.gguf"

run inspect "$work/tiny.gguf"
ok "inspect of a GGUF" [ "$status" -eq 0 ]
ok "names are Hugging Face's" prints "model.layers.1.mlp.down_proj.weight"
ok "types are the file's" prints "Q8_0"
ok "the config is summed up" prints "llama: 2 layers, hidden 32, 4 heads (2 for keys) of 8, MLP 64"
ok "and the tokenizer" prints "260 tokens, bos 0 <|endoftext|>, eos 1 <|im_end|>, with a chat template"
ok "and the metadata" prints "llama.context_length = 128"
run inspect "$work/tiny.gguf" --json
ok "JSON has the parameters" prints '"parameters": 26912'
ok "JSON is one object" [ "$(head -c1 "$work/out")" = "{" ]

run import "$work/tiny.gguf" "$work/out1"
ok "import works" [ "$status" -eq 0 ]
ok "import leaves stdout empty" [ ! -s "$work/out" ]
ok "all files are there" [ "$(ls "$work/out1" | tr '\n' ' ')" = "config.json generation_config.json model.safetensors tokenizer.json tokenizer_config.json " ]
run inspect "$work/out1"
ok "what it wrote is read" prints "llama: 2 layers, hidden 32"
ok "as float32" grep -q '^  model.norm.weight  *F32   \[32\]$' "$work/out"
ok "with the same tokenizer" prints "260 tokens, bos 0 <|endoftext|>, eos 1 <|im_end|>, with a chat template"
run import "$work/tiny.gguf" "$work/out2/" --dtype bf16
run inspect "$work/out2" --json
ok "--dtype bf16" [ "$(grep -c '"dtype": "BF16"' "$work/out")" -eq 21 ]
ok "bf16 files are half as large" [ "$(($(wc -c <"$work/out2/model.safetensors") * 2))" -lt "$(($(wc -c <"$work/out1/model.safetensors") + 4000))" ]
mkdir "$work/empty"
run import "$work/tiny.gguf" "$work/empty" --dtype f16
ok "an empty folder is used" [ -f "$work/empty/model.safetensors" ]

run import "$work/tiny.gguf" "$work/out1"
ok "a folder that is not empty is refused" refused 2
ok "and says so" says "is not an empty folder"
run import "$work/tiny.gguf" "$work/out3" --dtype q4
ok "an unknown dtype is refused" refused 2
run import "$work/out1/model.safetensors" "$work/out3"
ok "what is not GGUF is refused" says "not a GGUF file"
run import "$work/missing.gguf" "$work/out3"
ok "a missing file is refused" refused 2
run import "$work/tiny.gguf" "$work/no/such/out"
ok "a missing parent is refused" refused 2
head -c 20000 "$work/tiny.gguf" >"$work/cut.gguf"
run import "$work/cut.gguf" "$work/out3"
ok "a cut file is refused" refused 2
run inspect "$work/cut.gguf"
ok "by inspect too" refused 2
"$top_builddir/tests/model/make_gguf" "$work/odd.gguf" Q4_K
run import "$work/odd.gguf" "$work/out3"
ok "biases that are none of a Llama's are refused" refused 2
mkdir "$work/readonly"
if [ "$(id -u)" -ne 0 ]; then
    chmod a-w "$work/readonly"
    run import "$work/tiny.gguf" "$work/readonly/x"
    ok "a folder that cannot be written is an error" [ "$status" -ne 0 ]
fi
(ulimit -f 40; "$rein" import "$work/tiny.gguf" "$work/out3" 2>"$work/err") && status=0 || status=$?
ok "a full disk is an error" [ "$status" -ne 0 ]
ok "nothing is left behind" [ "$(ls "$work" | grep -c 'out3\|tmp-')" -eq 0 ]

mkdir "$work/nothing"
run inspect "$work/nothing"
ok "inspect of an empty folder" says "has neither config.json nor model.safetensors"
ok "is refused" refused 2
cp "$work/out1/config.json" "$work/nothing/"
run inspect "$work/nothing"
ok "a config alone is shown" prints "folder without weights"
sed 's/"llama"/"lama"/' "$work/out1/config.json" >"$work/nothing/config.json"
run inspect "$work/nothing"
ok "an unknown family suggests" says "did you mean 'llama'"
mkdir "$work/checkpoint-7"
cp "$work/out1/model.safetensors" "$work/checkpoint-7/policy.safetensors"
printf '{}' >"$work/checkpoint-7/state.json"
printf '{"rein_checkpoint": 1, "files": [{"name": "state.json", "bytes": 2, "crc32": 0}, {"name": "policy.safetensors", "bytes": %d, "crc32": 0}]}' \
    "$(wc -c <"$work/out1/model.safetensors")" >"$work/checkpoint-7/manifest.json"
run inspect "$work/checkpoint-7"
ok "a checkpoint lists its files" prints "policy.safetensors, $(wc -c <"$work/out1/model.safetensors") bytes, 20 tensors, 26912 elements"
run inspect "$work/checkpoint-7" --json
ok "also as JSON" prints '"format": "checkpoint"'
printf 'x' >>"$work/checkpoint-7/policy.safetensors"
run inspect "$work/checkpoint-7"
ok "a file of another size is refused" refused 2
printf '{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}' >"$work/text.safetensors"
run inspect "$work/text.safetensors"
ok "a text file is no safetensors" refused 2
run generate "$work/tiny.gguf" --max-tokens 99999999999
ok "a length that is too large is told the limit" says "--max-tokens must lie in [1, 2147483647]"
done_testing
