#!/bin/sh
# SPDX-License-Identifier: MIT
# From reward models to a policy: trained with a seed, with dropout and with several heads, then an ensemble, dropout and
# noise in one stage. The model is the demo's shape at random.
. "$srcdir/tests/cli/lib.sh"
unset REIN_BACKEND REIN_MACHINE
demo=$srcdir/conf/demo
cd "$work" || exit 1
head -n 24 "$demo/data/pairs.jsonl" >pairs.jsonl
tail -n 9 "$demo/data/pairs.jsonl" >held-out.jsonl
head -n 8 "$demo/data/prompts.jsonl" >prompts.jsonl
cat >p.yaml <<YAML
rein: 1
output: result
models:
  tiny: {config: $demo/model, init: random}
stages:
  - name: a
    algorithm: {use: rm}
    model: {from: tiny, head: score}
    data: {train: pairs.jsonl, eval: held-out.jsonl}
    train: {steps: 2, batch: 8, seed: 1}
  - name: b
    algorithm: {use: rm}
    model: {from: tiny, head: score, dropout: 0.1}
    data: {train: pairs.jsonl}
    train: {steps: 2, batch: 8, seed: 2}
  - name: many
    algorithm: {use: rm}
    model: {from: tiny, head: score, heads: 3, bootstrap: true}
    data: {train: pairs.jsonl, eval: held-out.jsonl}
    train: {steps: 2, batch: 8}
  - name: align
    algorithm: {use: grpo, baseline: group, beta: 0}
    model: {from: tiny}
    rewards:
      - {use: rm-ensemble, models: [a, b, many]}
      - {use: rm-dropout, model: b, samples: 5, sites: all, normalise: true, clip: 2}
      - {use: rm-perturb, model: many, samples: 5}
      - {use: rm, model: a, standardise: true}
    data: {train: prompts.jsonl, eval: prompts.jsonl}
    rollout: {prompts: 2, group: 2, max_tokens: 8}
    train: {steps: 2}
YAML
run check p.yaml
ok "check passes" [ "$status" -eq 0 ]
ok "it shows every member" [ "$(grep -c '^  reward ' out)" -eq 3 ]
ok "and heads" grep -q '^  reward  *many .*, 3 heads$' out
run check p.yaml --json
ok "check --json too" prints '"from": "many", "shared": false, "trainable": false, "head": "score", "heads": 3'
run run p.yaml
ok "run" [ "$status" -eq 0 ]
ok "scores of an ensemble are metrics" grep -q '"rewards/rm-ensemble/mean":' result/align/metrics.jsonl
ok "and of an evaluation" grep -q '"eval_rewards/rm-perturb/mean":' result/align/metrics.jsonl

# number KEY FILE: what config.json says
number() { sed -n "s/^ *\"$1\": \([^,]*\),*$/\1/p" "$2"; }
# about NUMBER NUMBER
about() { awk -v a="$1" -v b="$2" 'BEGIN {d = a - b; exit !(a != "" && b != "" && d * d < 1e-8)}'; }
# moments FIELD: mean and deviation of that number of each line
moments() { awk '{n++; s += $1; q += $1 * $1} END {m = s / n; printf "%.9g %.9g", m, sqrt(q / n - m * m)}'; }
place_is() {
    "$rein" score "result/$1/model" "$2" | sed 's/[^0-9.e-]//g; s/^[^0-9-]*//; s/^e//' | moments >place
    about "$(cut -d' ' -f1 place)" "$(number rein_score_mean "result/$1/model/config.json")" &&
        about "$(cut -d' ' -f2 place)" "$(number rein_score_deviation "result/$1/model/config.json")"
}
ok "where scores lie on the evaluation data is kept" place_is a held-out.jsonl
ok "without any on the training data, without dropout" place_is b pairs.jsonl
ok "of each head, too" [ "$(tr -d ' \n' <result/many/model/config.json |
    grep -c '"rein_heads":3,"rein_score_deviation":\[[^],]*,[^],]*,[^],]*\],"rein_score_mean":\[[^],]*,[^],]*,[^],]*\]')" -eq 1 ]
ok "labels are what others read" [ "$(number num_labels result/many/model/config.json)" -eq 3 ]
run inspect result/many/model
ok "and inspect says how many" prints " with 3 score heads:"
run inspect result/many/model --json
ok "in JSON too" prints '"score_heads": 3'
ok "and counts their weights" [ "$(sed -n 's/.*"parameters": \([0-9]*\).*/\1/p' "$work/out" | sort -u | wc -l)" -eq 1 ]
ok "a policy has no such numbers" [ -z "$(number rein_heads result/align/model/config.json)" ]

before=$(cksum result/*/model/model.safetensors)
run run p.yaml --overwrite
ok "the same bits again" [ "$before" = "$(cksum result/*/model/model.safetensors)" ]
run run p.yaml --overwrite --set align.train.seed=3
ok "another seed, other bits" [ "$before" != "$(cksum result/*/model/model.safetensors)" ]

# models in folders, under two names
cp -r result/a/model one
cp -r result/many/model heads
cp -r result/align/model lm
sed '/rein_score/d' one/config.json >plain.json
mkdir plain && cp one/* plain && mv plain.json plain/config.json
rm -r result
cat >q.yaml <<YAML
rein: 1
output: result
models:
  tiny: {config: $demo/model, init: random}
  one: {from: one}
  again: {from: ./one}
  again2: {from: one}
  heads: {from: heads}
  plain: {from: plain}
stages:
  - name: align
    algorithm: {use: grpo, baseline: group, beta: 0}
    model: {from: tiny}
    rewards:
      - {use: rm-ensemble, models: [one, heads]}
      - {use: rm, name: second, model: again2}
    data: {train: prompts.jsonl}
    rollout: {prompts: 2, group: 2, max_tokens: 8}
    train: {steps: 1}
YAML
run check q.yaml
ok "one folder is loaded once" grep -q '^  reward  *again2 .* 0.0 MB, on the trunk of one$' out
run run q.yaml
ok "and runs" [ "$status" -eq 0 ]
rm -rf result
# wrong WHAT EXPECTED --set ...: $file is refused by check and run, with these words
file=q.yaml
wrong() {
    what=$1 expected=$2
    shift 2
    for command in check run; do
        run $command "$file" "$@"
        ok "$command refuses $what" refused 2
        ok "with its place" says "$expected"
    done
}
wrong "a model that is not one for rewards" "is no reward model" \
    --set 'align.rewards=[{use: rm, model: ./lm}]'
wrong "scores without a place" "rm-ensemble.standardise: no mean and deviation of its scores are kept with model plain" \
    --set 'align.rewards=[{use: rm-ensemble, models: [one, plain]}]'
run check q.yaml --set 'align.rewards=[{use: rm-ensemble, models: [one, plain], standardise: false}]'
ok "which may be used as they are" [ "$status" -eq 0 ]
wrong "families of different sizes" "reward rm-dropout has 3 members where rm-ensemble has 4" \
    --set 'align.rewards=[{use: rm-ensemble, models: [one, heads]}, {use: rm-dropout, model: one, samples: 3}]'
wrong "a critic of several heads" "has 3 score heads; a critic begins with one" \
    --set 'align.algorithm={use: ppo, beta: 0}' --set 'align.critic={from: heads}'
run run q.yaml --set 'align.rewards=[{use: rm-ensemble, models: [./one, ./heads]}, {use: rm, model: ./one}]'
mkdir elsewhere && cp result/pipeline.yaml elsewhere/
run check elsewhere/pipeline.yaml --set output=again
ok "models that rewards name by path are found from anywhere" [ "$status" -eq 0 ]
rm -r result
cat >r.yaml <<YAML
rein: 1
output: result
stages:
  - name: more
    algorithm: {use: rm}
    model: {from: ./heads, head: score}
    data: {train: pairs.jsonl}
    train: {steps: 1}
YAML
file=r.yaml
wrong "another number of heads" "./heads has 3 score heads already, not 2" --set more.model.heads=2
run run r.yaml
ok "all heads are trained further" [ "$(number num_labels result/more/model/config.json)" -eq 3 ]
done_testing
