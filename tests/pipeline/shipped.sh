#!/bin/sh
# SPDX-License-Identifier: MIT
# Every pipeline of conf/pipelines, as its user would have it: beside it a model and the data files that it names, here a
# tiny model and a few rows. `rein check` accepts each, and each runs, with fewer and smaller steps.
. "$srcdir/tests/cli/lib.sh"
unset REIN_BACKEND REIN_MACHINE
demo=$srcdir/conf/demo
cd "$work" || exit 1

# a model with weights, once
cat >made.yaml <<YAML
rein: 1
output: made
models:
  tiny: {config: $demo/model, init: random}
stages:
  - name: lm
    algorithm: {use: sft}
    model: {from: tiny}
    data: {train: $demo/data/sft.jsonl}
    train: {steps: 1, batch: 4}
YAML
"$rein" run made.yaml -q || { echo "Bail out! no model could be made"; exit 1; }

# rows FILE: what a data file of that name holds
rows() {
    case $1 in
    *pairs*.jsonl) head -n 24 "$demo/data/pairs.jsonl" ;;
    sft*.jsonl | texts*.jsonl) head -n 24 "$demo/data/sft.jsonl" ;;
    prompts*.jsonl | held-out*.jsonl) head -n 24 "$demo/data/prompts.jsonl" ;;
    ranked.jsonl)
        sed -n '1,24s/"chosen":\(".*"\),"rejected":\(".*"\)}/"ranked":[\1,\2," No."]}/p' "$demo/data/pairs.jsonl" ;;
    sums*.jsonl) sed -n '1,24s/}$/,"answer":"4"}/p' "$demo/data/prompts.jsonl" ;;
    *) return 1 ;;
    esac
}

for file in "$srcdir"/conf/pipelines/*.yaml; do
    shipped=$(basename "$file" .yaml)
    mkdir "$work/$shipped"
    cd "$work/$shipped" || exit 1
    cp "$file" .
    cp -R "$work/made/lm/model" model
    for data in $(sed 's/#.*//' "$file" | grep -o '[a-z-]*\.jsonl' | sort -u); do
        rows "$data" >"$data" && [ -s "$data" ] || { echo "# $shipped: no rows for $data"; rm -f "$data"; }
    done
    model=$(sed -n 's/^ *base: *{from: *\([^},]*\).*/\1/p' "$file")
    set -- "$shipped.yaml"
    [ "$model" = model ] || set -- "$@" --set models.base.from=model
    run check "$@"
    ok "$shipped is accepted" [ "$status" -eq 0 ]

    for stage in $(sed -n 's/^ *- name: *\([a-z0-9-]*\).*/\1/p' "$file"); do
        set -- "$@" --set "$stage.train.steps=1"
        # the stages that sample have a rollout
        if awk -v stage="$stage" '$1 == "-" && $2 == "name:" { in_it = $3 == stage } in_it && $1 == "rollout:" { found = 1 }
            END { exit !found }' "$file"; then
            set -- "$@" --set "$stage.rollout.prompts=4" --set "$stage.rollout.max_tokens=4" --set "$stage.train.minibatch=4"
        else
            set -- "$@" --set "$stage.train.batch=4"
        fi
    done
    run run "$@" -q
    ok "$shipped runs" [ "$status" -eq 0 ]
done
done_testing
