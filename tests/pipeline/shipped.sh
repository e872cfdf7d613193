#!/bin/sh
# SPDX-License-Identifier: MIT
# Every pipeline of conf/pipelines: `rein check` accepts it and it runs two steps of each stage, with a tiny model in place of
# the real one. Data that does not come with the demo is made up here, a few rows of each kind.
. "$srcdir/tests/cli/lib.sh"
unset REIN_BACKEND REIN_MACHINE
here=$(cd "$srcdir" && pwd)
demo=$here/conf/demo
tiny="models.base={config: $demo/model, init: random}"
ln -s "$demo" "$work/demo"

# rows FILE: what a data file of that name holds
rows() {
    case $1 in
    *pairs*.jsonl) head -n 24 "$demo/data/pairs.jsonl" ;;
    sft*.jsonl) head -n 24 "$demo/data/sft.jsonl" ;;
    prompts.jsonl) head -n 24 "$demo/data/prompts.jsonl" ;;
    ranked.jsonl)
        sed -n '1,24s/"chosen":\(".*"\),"rejected":\(".*"\)}/"ranked":[\1,\2," No."]}/p' "$demo/data/pairs.jsonl" ;;
    sums*.jsonl) sed -n '1,24s/}$/,"answer":"4"}/p' "$demo/data/prompts.jsonl" ;;
    *) return 1 ;;
    esac
}

for file in "$here"/conf/pipelines/*.yaml; do
    shipped=$(basename "$file" .yaml)
    mkdir "$work/$shipped"
    cd "$work/$shipped" || exit 1
    cp "$file" .
    for data in $(sed 's/#.*//' "$file" | grep -o '[a-z./-]*\.jsonl' | grep -v / | sort -u); do
        rows "$data" >"$data" || { echo "# $shipped: no rows for $data"; rm -f "$data"; }
    done
    run check "$shipped.yaml" --set "$tiny"
    ok "$shipped is accepted" [ "$status" -eq 0 ]

    set -- --set output=out
    for stage in $(sed -n 's/^ *- name: *\([a-z0-9-]*\).*/\1/p' "$file"); do
        set -- "$@" --set "$stage.train.steps=2"
    done
    run run "$shipped.yaml" --set "$tiny" "$@" -q
    ok "$shipped runs" [ "$status" -eq 0 ]
    ok "$shipped leaves the metrics of its last stage" [ "$(grep -c '"loss"' "out/$stage/metrics.jsonl")" -ge 2 ]
done
done_testing
