#!/bin/sh
# SPDX-License-Identifier: MIT
# Weights in bfloat16 with float32 masters learn as float32 ones do: the demo's model on its first task, and a little of its last.
. "${srcdir:-.}/tests/cli/lib.sh"
export REIN_PLUGIN_PATH="$top_builddir/modules"
demo=$(cd "$srcdir" && pwd)/conf/demo
mkdir "$work/w"
cd "$work/w" || exit 1
cat >p.yaml <<YAML
rein: 1
seed: 1
output: out
models:
  tiny: {config: $demo/model, init: random}
stages:
YAML
for dtype in f32 bf16; do
    cat >>p.yaml <<YAML
  - name: $dtype
    algorithm: {use: sft}
    model: {from: tiny, dtype: $dtype}
    data: {train: $demo/data/sft.jsonl, eval: $demo/data/sft-eval.jsonl}
    train: {steps: 60, batch: 16, lr: 4.0e-3, warmup: 0.05, eval_every: 20}
YAML
done
cat >>p.yaml <<YAML
  - name: align
    algorithm: {use: ppo}
    model: {from: bf16, dtype: bf16}
    reference: {from: bf16, dtype: bf16}
    critic: {from: bf16, dtype: bf16}
    rewards: [{use: rule, kind: regex, pattern: 'o[uf]'}]
    data: {train: $demo/data/prompts.jsonl}
    rollout: {prompts: 16, max_tokens: 8}
    train: {steps: 4, lr: 1.0e-3, micro_batch: 8} # a step in one piece would go on from sampling's own states
    checkpoint: {every: 3}
YAML
run run p.yaml
ok "both train" [ "$status" -eq 0 ]
values() { sed -n "s|.*\"$2\":\([-+.0-9e]*\).*|\1|p" "out/$1/metrics.jsonl" | tr '\n' ' '; }
# $first, $second: lists of as many numbers; the largest difference, relative
within() { echo "$first $second" | awk -v most="$1" '{ n = NF / 2; ok = n >= 1; for (i = 1; i <= n; i++) { d = $i / $(n + i) - 1; if (d > most || d < -most) ok = 0 } exit !ok }'; }
first=$(values f32 eval_loss) second=$(values bf16 eval_loss)
echo "# held-out loss: $first / $second"
ok "held-out losses are the same to one in a hundred" within 0.01
ok "at three moments" [ "$(echo $first | wc -w)" -eq 3 ]
first=$(values f32 loss | cut -d' ' -f1-60) second=$(values bf16 loss | cut -d' ' -f1-60)
ok "and every step's to five" within 0.05
ok "but they are others" [ "$first" != "$second" ]
fell() { values bf16 eval_loss | awk '{ exit !($NF < 1.2) }'; } # 6.4 at the start
ok "the model has learnt" fell
small() { values align sampling/sampling_logp_difference/max | awk '{ for (i = 1; i <= NF; i++) large += $i > 1e-5 || $i == ""; n = NF } END { exit !(n > 0 && !large) }'; }
ok "it samples as it trains" small

whole=$(cat out/align/model/model.safetensors out/align/critic/model.safetensors | cksum)
rm -r out/align/model out/align/critic
run run p.yaml --resume
ok "it goes on from a checkpoint" says "align: going on from out/align/checkpoint-3"
ok "to the same bits" [ "$whole" = "$(cat out/align/model/model.safetensors out/align/critic/model.safetensors | cksum)" ]
done_testing
