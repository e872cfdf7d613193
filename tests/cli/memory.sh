#!/bin/sh
# SPDX-License-Identifier: MIT
# What `rein check` says that a stage takes, against what it then took. Models of the demo's size with batches of hundreds. A
# margin of a fifth: what nobody counts (the allocator, threads' stacks, the BLAS library's buffers, a few MiB) is that large
# here; with real models it is a seventh at most (tests/peer/memory_estimate.py).
. "$srcdir/tests/cli/lib.sh"
if grep -q __asan_init "$rein"; then
    echo "1..0 # SKIP a sanitizer has memory of its own"
    exit 0
fi
unset REIN_BACKEND REIN_MACHINE
demo=$srcdir/conf/demo
case $demo in /*) ;; *) demo=$PWD/$demo ;; esac
case $rein in /*) ;; *) rein=$PWD/$rein ;; esac
cd "$work" || exit 1
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

number() { sed -n "\$s/.*$1\": *\([0-9]*\).*/\1/p" "$2"; }
near() { [ "${measured:-0}" -gt 0 ] && [ "$estimate" -gt $((measured * 4 / 5)) ] && [ "$estimate" -lt $((measured * 6 / 5)) ]; }

# of a pipeline with the stage that stdin has
holds() { # NAME
    {
        printf 'rein: 1\nseed: 3\noutput: %s\nmodels:\n  tiny: {config: %s/model, init: random}\nstages:\n' "out-$1" "$demo"
        cat
    } >p.yaml
    run check p.yaml --json
    estimate=$(number '"peak_bytes' "$work/out")
    estimate=${estimate:-0}
    echo "# $1: $(sed 's/.*"model_bytes"/"model_bytes"/' "$work/out")"
    run run p.yaml
    measured=$(number peak_memory "out-$1/one/metrics.jsonl")
    echo "# $1: estimate $estimate, measured $measured"
    ok "$1: the estimate is near what was taken" near
}

holds sft <<YAML
  - name: one
    algorithm: {use: sft}
    model: {from: tiny}
    data: {train: $demo/data/sft.jsonl}
    train: {steps: 1, batch: 256}
YAML
holds rm <<YAML
  - name: one
    algorithm: {use: rm}
    model: {from: tiny, head: score}
    data: {train: $demo/data/pairs.jsonl}
    train: {steps: 1, batch: 128}
YAML
holds dpo <<YAML
  - name: one
    algorithm: {use: dpo}
    model: {from: tiny}
    reference: {from: tiny}
    data: {train: $demo/data/pairs.jsonl}
    train: {steps: 1, batch: 128}
YAML
holds dpo-lora <<YAML
  - name: one
    algorithm: {use: dpo}
    model: {from: tiny, lora: {rank: 4, merge: true}}
    reference: {from: tiny}
    data: {train: $demo/data/pairs.jsonl}
    train: {steps: 1, batch: 128}
YAML
holds grpo <<YAML
  - name: one
    algorithm: {use: grpo, baseline: group, beta: 0.04}
    model: {from: tiny}
    reference: {from: tiny}
    rewards: [{use: rule, kind: regex, pattern: "a"}]
    data: {train: $demo/data/prompts.jsonl}
    rollout: {prompts: 32, group: 8, max_tokens: 24}
    train: {steps: 1, lr: 1.0e-4}
YAML
holds ppo <<YAML
  - name: one
    algorithm: {use: ppo}
    model: {from: tiny}
    reference: {from: tiny}
    critic: {from: tiny, head: value}
    rewards: [{use: rule, kind: regex, pattern: "a"}]
    data: {train: $demo/data/prompts.jsonl}
    rollout: {prompts: 192, group: 1, max_tokens: 24}
    train: {steps: 1, epochs: 1, lr: 1.0e-4}
YAML
# models of 48 MiB, of which frozen ones are never in memory as a whole, and whose gradients lie over
# activations of their size
mkdir wide
cp "$demo"/model/tokenizer* wide
sed 's/"hidden_size": 96/"hidden_size": 384/; s/"intermediate_size": 192/"intermediate_size": 1536/; s/"num_hidden_layers": 3/"num_hidden_layers": 5/' \
    "$demo/model/config.json" >wide/config.json
cat >wide.yaml <<YAML
rein: 1
output: out-wide
models:
  wide: {config: wide, init: random}
stages:
  - name: sft
    algorithm: {use: sft}
    model: {from: wide}
    data: {train: $demo/data/sft.jsonl}
    train: {steps: 1, batch: 1}
  - name: rm
    algorithm: {use: rm}
    model: {from: sft, head: score}
    data: {train: $demo/data/pairs.jsonl}
    train: {steps: 1, batch: 1}
YAML
run run wide.yaml
holds sft-wide <<YAML
  - name: one
    algorithm: {use: sft}
    model: {from: out-wide/sft/model}
    data: {train: $demo/data/sft.jsonl}
    train: {steps: 1, batch: 32}
YAML
whole=$measured
holds sft-wide-cut <<YAML
  - name: one
    algorithm: {use: sft}
    model: {from: out-wide/sft/model}
    data: {train: $demo/data/sft.jsonl}
    train: {steps: 1, batch: 32, micro_batch: 31}
YAML
ok "a step in one piece has no gradients of its own" [ $((whole + (24 << 20))) -lt "$measured" ]
holds ppo-lora <<YAML
  - name: one
    algorithm: {use: ppo}
    model: {from: out-wide/sft/model, lora: {rank: 4}}
    reference: {from: out-wide/sft/model}
    critic: {share: policy}
    rewards: [{use: rm, model: out-wide/rm/model}]
    data: {train: $demo/data/prompts.jsonl}
    rollout: {prompts: 8, group: 1, max_tokens: 24}
    train: {steps: 2, epochs: 1, lr: 1.0e-4}
YAML
holds ppo-lora-drawn <<YAML
  - name: one
    algorithm: {use: ppo}
    model: {from: out-wide/sft/model, lora: {rank: 4}}
    reference: {from: out-wide/sft/model, dtype: bf16}
    critic: {share: policy}
    rewards: [{use: rm-dropout, model: out-wide/rm/model, samples: 3, sites: all}]
    data: {train: $demo/data/prompts.jsonl}
    rollout: {prompts: 8, group: 1, max_tokens: 24}
    train: {steps: 2, epochs: 1, lr: 1.0e-4}
YAML
grpo() { # BETA REFERENCE
    cat <<YAML
  - name: one
    algorithm: {use: grpo, baseline: group, beta: $1}
    model: {from: out-wide/sft/model}
    $2
    rewards: [{use: rule, kind: regex, pattern: "a"}]
    data: {train: $demo/data/prompts.jsonl}
    rollout: {prompts: 4, group: 2, max_tokens: 24}
    train: {steps: 2, epochs: 1, lr: 1.0e-4}
YAML
}
grpo 0 "" >stage && holds grpo-wide <stage
alone=$measured
grpo 0.04 "reference: {from: out-wide/sft/model}" >stage && holds grpo-wide-reference <stage
ok "a reference is never in memory as a whole" [ "$measured" -lt $((alone + (24 << 20))) ]
# 9 million completions are not compared with one another
sed 's/prompts: 4, group: 2,/prompts: 3000, group: 3000,/' p.yaml >large.yaml
timeout 30 "$rein" check large.yaml >"$work/out" 2>"$work/err"
ok "a rollout beyond all measure is answered at once" [ $? -ne 124 ]
done_testing
