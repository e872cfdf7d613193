#!/bin/sh
# SPDX-License-Identifier: MIT
# What the commands say of adapters, and what they leave alone. The models are the demo's shape at random.
. "${srcdir:-.}/tests/cli/lib.sh"
export REIN_PLUGIN_PATH="$top_builddir/modules"
demo=$(cd "$srcdir" && pwd)/conf/demo
mkdir "$work/w"
cd "$work/w" || exit 1
head -n 8 "$demo/data/sft.jsonl" >sft.jsonl
cat >base.yaml <<YAML
rein: 1
output: result
models:
  tiny: {config: $demo/model, init: random}
stages:
  - name: one
    algorithm: {use: sft}
    model: {from: tiny}
    data: {train: sft.jsonl}
    train: {steps: 1, batch: 2}
YAML
cat >lora.yaml <<YAML
rein: 1
output: adapted
models:
  base: {from: result/one/model}
stages:
  - name: two
    algorithm: {use: sft}
    model: {from: base, lora: {rank: 2, alpha: 3, targets: [gate_proj]}}
    data: {train: sft.jsonl}
    train: {steps: 4, batch: 2}
    checkpoint: {every: 2}
YAML
run run base.yaml
ok "there is a base" [ "$status" -eq 0 ]
run run lora.yaml
ok "there is an adapter" [ "$status" -eq 0 ]

run inspect adapted/two/model
ok "inspect knows an adapter" prints "adapter     LoRA of rank 2, alpha 3"
ok "and its base" prints "result/one/model"
ok "and its tensors" prints "base_model.model.model.layers.0.mlp.gate_proj.lora_A.weight"
run inspect --json adapted/two/model
ok "--json too" prints '"rank": 2'
sed 's/"r": 2/"r": 0/' adapted/two/model/adapter_config.json >none
cp -r adapted/two/model broken
cp none broken/adapter_config.json
run inspect broken
ok "inspect refuses a rank of 0" refused 2
run merge broken out
ok "so does merge" refused 2

# the adapter lies elsewhere than the folder that would be removed, its base inside
cp -r adapted/two/model mine
run run base.yaml --overwrite --set 'models.tiny={from: mine}'
ok "--overwrite keeps the base of an adapter that the run reads" says "--overwrite would remove mine"
ok "which is still there" [ -s result/one/model/model.safetensors ]

# one adapter with two bases: each is held against its own
mkdir other
sed 's/"hidden_size": *[0-9]*/"hidden_size": 16/; s/"num_attention_heads": *[0-9]*/"num_attention_heads": 2/
s/"num_key_value_heads": *[0-9]*/"num_key_value_heads": 2/; s/"head_dim": *[0-9]*/"head_dim": 8/' \
    "$demo/model/config.json" >other/config.json
cp "$demo"/model/tokenizer*.json other/
run run base.yaml --set "models.tiny.config=other" --set output=narrow
ok "there is a narrower base" [ "$status" -eq 0 ]
cat >bases.yaml <<YAML
rein: 1
output: bases
models:
  right: {from: mine}
  wrong: {from: mine, base: narrow/one/model}
stages:
  - name: two
    algorithm: {use: sft}
    model: {from: right}
    data: {train: sft.jsonl}
    train: {steps: 1, batch: 2}
  - name: three
    algorithm: {use: sft}
    model: {from: wrong}
    data: {train: sft.jsonl}
    train: {steps: 1, batch: 2}
YAML
run check bases.yaml
ok "an adapter is held against each base that it is given" says "its base and rank ask for"
ok "with its place" says "bases.yaml:14:19"

# an adapter with a score head is a reward model
sed 's/name: two/name: judge/; s/use: sft/use: rm/; s/from: base,/from: base, head: score,/; s/sft.jsonl/pairs.jsonl/; s/output: adapted/output: judged/' \
    lora.yaml >judge.yaml
head -n 8 "$demo/data/pairs.jsonl" >pairs.jsonl
run run judge.yaml
ok "an adapter scores" [ "$status" -eq 0 ]
run score judged/judge/model pairs.jsonl
ok "whoever asks for scores" [ "$(grep -c score "$work/out")" -eq 16 ]
run generate judged/judge/model "the shop"
ok "but generates nothing" says "judged/judge/model: is a reward model or a critic"

# moved together with its base, elsewhere than adapter_config.json says; a base that is where it says is taken first
mkdir moved
run generate adapted/two/model "the shop"
text=$(cat "$work/out")
cp -r result adapted moved/
run generate moved/adapted/two/model "the shop"
ok "a copy has its base where it was" [ "$status" -eq 0 -a "$text" = "$(cat "$work/out")" ]
mv result gone
run generate adapted/two/model "the shop"
ok "an adapter without a base is refused" says "the adapter's base model '"
ok "with where it should be" refused 2
run generate moved/adapted/two/model "the shop" --verbose
ok "moved together they find each other" [ "$status" -eq 0 -a "$text" = "$(cat "$work/out")" ]
ok "which --verbose tells" says "moved/adapted/two/model: its base is not where it was: taking moved/adapted/two/model/../../../result/one/model"
mv gone result

# numbers that are none: in the adapter, where the adapter adds, and elsewhere in the base
at() { # FILE TENSOR: where its last number lies
    head -c 8 "$1" | od -An -tu8 | tr -d ' ' | {
        read -r n
        head -c $((8 + n)) "$1" | tail -c "$n" | tr '{' '\n' | tr -d '[]}"' | tr ',' '\n' | awk -v n="$n" -v want="$2" -v RS= \
            '{ i = index($0, want); rest = substr($0, i); match(rest, /data_offsets:[0-9]+\n[0-9]+/)
               split(substr(rest, RSTART + 13, RLENGTH - 13), o, "\n"); print 8 + n + o[2] - 4 }'
    }
}
spoil() { printf '\000\000\300\177' | dd of="$1" bs=1 seek="$(at "$1" "$2")" conv=notrunc 2>dd.err; }
cp -r adapted/two/model spoilt
spoil spoilt/adapter_model.safetensors mlp.gate_proj.lora_B
run merge spoilt out
ok "an adapter that is not finite is not merged" refused 2
ok "and its tensor named" says ".mlp.gate_proj.lora_B.weight of the adapter holds a number that is not finite"
ok "nothing is left of it" [ ! -e out ]
for tensor in model.layers.1.mlp.gate_proj.weight model.layers.0.mlp.up_proj.weight; do
    cp -r result/one/model spoilt-base
    spoil spoilt-base/model.safetensors $tensor
    run merge adapted/two/model out --base spoilt-base
    ok "nor a base: $tensor" refused 2
    ok "nor is it left unsaid" says "spoilt-base: tensor $tensor holds a number that is not finite"
    ok "nor anything left" [ ! -e out ]
    rm -r spoilt-base
done
run merge adapted/two/model out
ok "what is whole is merged" [ "$status" -eq 0 -a -s out/model.safetensors -a -s out/config.json ]
rm -r out
# a stage finds it when it writes, at its end: an embedding that no line uses
cp -r result/one/model spoilt-base
spoil spoilt-base/model.safetensors model.embed_tokens.weight
run run judge.yaml --set models.base.from=spoilt-base --set judge.model.lora.merge=true --set output=late
ok "a stage does not merge with it" [ "$status" -eq 2 ]
ok "and says so" says "tensor model.embed_tokens.weight holds a number that is not finite"
ok "without losing its steps" says "judge: step 4 of 4 is saved, --resume goes on from there"
run run judge.yaml --resume --set models.base.from=spoilt-base --set output=late
ok "the adapter by itself can be had" [ "$status" -eq 0 -a -s late/judge/model/adapter_model.safetensors ]

# adapters on other layers, of as many parameters
rm -r adapted/two/model
run run lora.yaml --resume --set two.model.lora.targets='[up_proj]'
ok "targets cannot change when a run goes on" refused 2
run run lora.yaml --resume
ok "as it was, it goes on" [ "$status" -eq 0 ]

# dropout as the pipeline says it: B is zero in the first step, so that it moves the gradient and not yet the loss
value() { sed -n "1s|.*\"$2\":\([-+.0-9e]*\).*|\1|p" "$1/two/metrics.jsonl"; }
run run lora.yaml --set output=dropped --set two.model.lora.dropout=0.5
ok "dropout of the adapters' inputs trains" [ "$status" -eq 0 ]
loss=$(value adapted loss) norm=$(value adapted grad_norm)
ok "the first loss is that of no dropout" [ -n "$loss" -a "$loss" = "$(value dropped loss)" ]
ok "its gradient is not" [ -n "$norm" -a "$norm" != "$(value dropped grad_norm)" ]
ok "nor what was learnt" [ "$(cksum <adapted/two/model/adapter_model.safetensors)" != "$(cksum <dropped/two/model/adapter_model.safetensors)" ]

# the critic's adapter is as much a part of what goes on as the policy's
cat >ppo.yaml <<YAML
rein: 1
output: ppo
models:
  base: {from: result/one/model}
stages:
  - name: three
    algorithm: {use: ppo}
    model: {from: base, lora: {rank: 2}}
    critic: {from: base, lora: {rank: 2}}
    rewards: [{use: rule, kind: length, target: 4}]
    data: {train: prompts.jsonl}
    rollout: {prompts: 2, max_tokens: 4}
    train: {steps: 2}
    checkpoint: {every: 1}
YAML
head -n 2 "$demo/data/prompts.jsonl" >prompts.jsonl
run run ppo.yaml
ok "policy and critic have adapters" [ "$status" -eq 0 ]
rm -r ppo/three/model
run run ppo.yaml --resume --set three.critic.lora.alpha=7
ok "the critic's cannot change when a run goes on" says "critic.lora changed"
done_testing
