#!/bin/sh
# SPDX-License-Identifier: MIT
# What `rein run --resume` holds against the pipeline and the files that the models came from.
. "${srcdir:-.}/tests/cli/lib.sh"
export REIN_PLUGIN_PATH="$top_builddir/modules"
demo=$(cd "$srcdir" && pwd)/conf/demo
mkdir "$work/w"
cd "$work/w" || exit 1
head -n 8 "$demo/data/sft.jsonl" >sft.jsonl
head -n 2 "$demo/data/prompts.jsonl" >prompts.jsonl
head -n 4 "$demo/data/pairs.jsonl" >pairs.jsonl
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
  - name: judge
    algorithm: {use: rm}
    model: {from: tiny, head: score}
    data: {train: pairs.jsonl}
    train: {steps: 1, batch: 2}
YAML
run run base.yaml
ok "there are a base and a reward model" [ "$status" -eq 0 ]
cat >p.yaml <<YAML
rein: 1
output: out
models:
  base: {from: result/one/model}
stages:
  - name: two
    algorithm: {use: ppo}
    model: {from: base, freeze: [layers.0]}
    reference: {from: base}
    critic: {share: policy}
    rewards: [{use: rm, model: result/judge/model}]
    data: {train: prompts.jsonl}
    rollout: {prompts: 2, max_tokens: 4}
    train: {steps: 2}
    checkpoint: {every: 1}
YAML
run run p.yaml
ok "a stage trains" [ "$status" -eq 0 ]
whole=$(cksum <out/two/model/model.safetensors)
# back to its checkpoint
again() { [ -d out/two/checkpoint-1 ] && rm -rf out/two/model out/two/critic; }

again
run run p.yaml --resume --set two.model.dtype=bf16
ok "another dtype is refused" refused 2
ok "where it was said" says "--set two.model.dtype=bf16: stage 'two': out/two/checkpoint-1 cannot be resumed: model.dtype changed"
sed 's/layers.0/norms/' p.yaml >frozen.yaml
run run frozen.yaml --resume
ok "another list of what is frozen too" says "frozen.yaml:8:33: stage 'two': out/two/checkpoint-1 cannot be resumed: model.freeze changed"
run run p.yaml --resume --set two.reference.dtype=bf16
ok "and the reference's dtype" says "reference.dtype changed"

# other weights of the same shape in the same place: one bit of one number
flip() { # FILE
    size=$(wc -c <"$1")
    cp "$1" kept
    byte=$(tail -c "$2" "$1" | head -c 1 | od -An -tu1 | tr -d ' ')
    printf "\\$(printf %03o $((byte ^ 1)))" | dd of="$1" bs=1 seek=$((size - $2)) conv=notrunc 2>dd.err
    ! cmp -s kept "$1"
}
restore() { cp kept "$1"; }
ok "(a bit can be changed)" flip result/one/model/model.safetensors 3
run run p.yaml --resume
ok "other weights are noticed" refused 2
ok "and said, with the place" says "p.yaml:8:19: stage 'two': out/two/checkpoint-1 cannot be resumed: the model that it started from changed"
restore result/one/model/model.safetensors
cp result/one/model/config.json config.json
sed 's/"rope_theta": *[0-9.]*/"rope_theta": 777.0/' config.json >result/one/model/config.json
ok "(the configuration can be changed)" [ -n "$(grep 777 result/one/model/config.json)" ]
run run p.yaml --resume
ok "another configuration too" says "the model that it started from changed"
cp config.json result/one/model/config.json
ok "(a bit of the reward model)" flip result/judge/model/model.safetensors 1
run run p.yaml --resume
ok "another reward model" says "p.yaml:11:14: stage 'two': out/two/checkpoint-1 cannot be resumed: the reward model result/judge/model changed"
restore result/judge/model/model.safetensors
cp -r result/one/model elsewhere
touch elsewhere/*
run run p.yaml --resume --set models.base.from=elsewhere
ok "a copy is as good" [ "$status" -eq 0 ]
ok "and gives the same bits" [ "$whole" = "$(cksum <out/two/model/model.safetensors)" ]

# a base that is cut short while it is mapped: nothing can go on, but it is named
cat >lora.yaml <<YAML
rein: 1
output: cut
models:
  base: {from: elsewhere}
stages:
  - name: long
    algorithm: {use: sft}
    model: {from: base, lora: {rank: 2}}
    data: {train: sft.jsonl}
    train: {steps: 1000000, batch: 2}
YAML
"$rein" run lora.yaml --quiet 2>"$work/err" &
pid=$!
for i in 1 2 3 4 5 6 7 8 9 10; do
    [ -s cut/long/metrics.jsonl ] && break
    sleep 1
done
: >elsewhere/model.safetensors
for i in 1 2 3 4 5 6 7 8 9 10; do
    kill -0 $pid 2>kill.err || break
    sleep 1
done
kill $pid 2>kill.err # never: it has ended
status=0
wait $pid || status=$?
ok "a base that is cut short ends the run" [ "$status" -eq 1 ]
ok "and is named" says "rein: elsewhere/model.safetensors: was cut short while it was in use"
ok "in one line" [ "$(wc -l <"$work/err")" -eq 1 ]
done_testing
