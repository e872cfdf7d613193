#!/bin/sh
# SPDX-License-Identifier: MIT
# A later stage can start from the moving average of an earlier one; the sums of conf/pipelines/grpo-group.yaml.
. "${srcdir:-.}/tests/cli/lib.sh"
export REIN_PLUGIN_PATH="$top_builddir/modules"
here=$(cd "$srcdir" && pwd)
pipelines=$here/conf/pipelines

cat >"$work/average.yaml" <<EOF
rein: 1
output: average
models:
  base: {config: $here/conf/demo/model, init: random}
stages:
  - name: first
    algorithm: {use: sft}
    model: {from: base}
    data: {train: $here/conf/demo/data/sft.jsonl, limit: 16}
    train: {steps: 3, lr: 1.0e-2, ema: 0.5}
  - name: second
    algorithm: {use: sft}
    model: {from: first/ema}
    data: {train: $here/conf/demo/data/sft.jsonl, limit: 16}
    train: {steps: 1, lr: 0}
EOF
run run "$work/average.yaml" --quiet
ok "a later stage starts from an average" cmp "$work/average/first/ema/model.safetensors" "$work/average/second/model/model.safetensors"
ok "which is not the model" [ -n "$(cmp "$work/average/first/ema/model.safetensors" "$work/average/first/model/model.safetensors")" ]
run run "$work/average/pipeline.yaml" --set "output=$work/again" --quiet
ok "and the pipeline as written says so again" cmp "$work/average/second/model/model.safetensors" "$work/again/second/model/model.safetensors"

cat >"$work/scores.yaml" <<EOF
rein: 1
output: scores
models:
  base: {config: $here/conf/demo/model, init: random}
stages:
  - name: quality
    algorithm: {use: rm}
    model: {from: base, head: score}
    data: {train: $here/conf/demo/data/pairs.jsonl, limit: 16}
    train: {steps: 3, lr: 1.0e-2, ema: 0.5}
EOF
run run "$work/scores.yaml" --quiet
head -n 16 "$here/conf/demo/data/pairs.jsonl" >"$work/16.jsonl"
# kept FOLDER, measured FOLDER: where the scores lie, as config.json says and as they are
kept() { sed -n 's/^ *"rein_score_mean": \(.*\),*$/\1/p' "$work/scores/quality/$1/config.json" | awk '{printf "%.4f", $1}'; }
measured() { "$rein" score "$work/scores/quality/$1" "$work/16.jsonl" | awk -F'[:}]' '{n++; s += $2} END {printf "%.4f", s / n}'; }
ok "where a reward model's scores lie is kept with it" [ "$(kept model)" = "$(measured model)" ]
ok "and with its average, whose scores lie elsewhere" [ "$(kept ema)" = "$(measured ema)" ]
ok "indeed" [ "$(kept ema)" != "$(kept model)" ]

if command -v python3 >/dev/null; then
    ok "the sums are made" python3 "$pipelines/prepare_addition.py" "$work/sums" 2>/dev/null
    # both files as "smaller larger"; a sum in both would be there once more than its two orders
    turned() { sed 's/.*\\n\([0-9]*\) + \([0-9]*\) .*/\1 \2/' "$1" | awk '{ print ($1 < $2) ? $1 " " $2 : $2 " " $1 }' | sort -u; }
    turned "$work/sums/sums.jsonl" >"$work/trained"
    turned "$work/sums/sums-eval.jsonl" >"$work/held"
    ok "there are sums to train on" [ "$(wc -l <"$work/trained")" -gt 200 ]
    ok "there are sums held out" [ "$(wc -l <"$work/held")" -gt 70 ]
    ok "no held-out sum is trained on, not even turned round" [ -z "$(comm -12 "$work/trained" "$work/held")" ]
fi
done_testing
