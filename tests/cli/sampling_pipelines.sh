#!/bin/sh
# SPDX-License-Identifier: MIT
# The shipped pipelines that sample: each passes `check` as it is but for the model, and runs two steps of every stage.
. "${srcdir:-.}/tests/cli/lib.sh"
export REIN_PLUGIN_PATH="$top_builddir/modules"
here=$(cd "$srcdir" && pwd)
pipelines=$here/conf/pipelines
tiny="models.base={config: $here/conf/demo/model, init: random}"

mkdir "$work/add"
cp "$pipelines/grpo-group.yaml" "$work/add"
awk 'BEGIN { for (a = 2; a < 10; a++) printf "{\"prompt\": \"1 + 1 = 2\\n%d + 3 =\", \"answer\": \"%d\"}\n", a, a + 3 }' >"$work/add/sums.jsonl"
cp "$work/add/sums.jsonl" "$work/add/sums-eval.jsonl"

for p in ppo ppo-mixed ppo-seed rloo reinforce grpo grpo-dropout grpo-group; do
    file=$pipelines/$p.yaml
    [ $p = grpo-group ] && file=$work/add/$p.yaml
    for reward in $(sed -n 's/^ *- {use: \(rm-[a-z]*\),.*/\1/p' "$file"); do
        "$rein" plugins "$reward" >/dev/null 2>&1 || continue 2
    done
    run check "$file" --set "$tiny"
    ok "$p: checks" [ $status = 0 ]
    set --
    for stage in $(sed -n 's/^  - name: //p' "$file"); do
        set -- "$@" --set "$stage.train.steps=2"
    done
    run run "$file" --set "$tiny" --set "output=$work/run-$p" "$@" --quiet
    ok "$p: runs" [ $status = 0 ]
    ok "$p: leaves its metrics" [ "$(grep -c '"step"' "$work/run-$p/$stage/metrics.jsonl")" -ge 2 ]
done

ok "a moving average lies beside the model" [ -s "$work/run-ppo/align/ema/model.safetensors" ]
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
