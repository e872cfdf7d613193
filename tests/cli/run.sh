#!/bin/sh
# SPDX-License-Identifier: MIT
# `rein check` and `rein run`: run folders, refusals, and which backend computes. The model is the demo's shape at random.
. "$srcdir/tests/cli/lib.sh"
unset REIN_BACKEND REIN_MACHINE
demo=$srcdir/conf/demo
mkdir "$work/w" "$work/w/other"
cd "$work/w" || exit 1
head -n 8 "$demo/data/sft.jsonl" >sft.jsonl
head -n 8 "$demo/data/prompts.jsonl" >prompts.jsonl
cp "$demo"/model/tokenizer*.json other/
vocabulary=$(sed -n 's/.*"vocab_size": *\([0-9]*\).*/\1/p' "$demo/model/config.json")
sed "s/\"vocab_size\": *$vocabulary/\"vocab_size\": $((vocabulary + 8))/" "$demo/model/config.json" >other/config.json
cat >p.yaml <<YAML
rein: 1
backend: ref
output: result
models:
  tiny: {config: $demo/model, init: random}
stages:
  - name: one
    algorithm: {use: sft}
    model: {from: tiny}
    data: {train: sft.jsonl}
    train: {steps: 1, batch: 2}
  - name: two
    algorithm: {use: sft}
    model: {from: one}
    data: {train: sft.jsonl}
    train: {steps: 1, batch: 2}
YAML
nothing_left() { [ ! -e result ]; }

run check p.yaml
ok "check passes" [ "$status" -eq 0 ]
ok "check tells the model of each stage" prints "  model      one "
ok "check tells the memory" prints "About "
ok "check leaves nothing behind" nothing_left
run check p.yaml --json
ok "check --json is one line" [ "$(head -c1 "$work/out")$(wc -l <"$work/out")" = "{1" ]
ok "with what each model is" prints '"role": "model", "from": "tiny", "shared": false, "trainable": true, "head": "lm"'

# what is wrong is said by both, with its place, and leaves nothing
wrong() {
    what=$1 expected=$2
    shift 2
    for command in check run; do
        run $command p.yaml "$@"
        ok "$command refuses $what" refused 2
        ok "$command says where: $what" says "$expected"
        ok "$command leaves nothing of $what" nothing_left
    done
}
wrong "an unknown key" "--set one.train.lrr=1: train has no option 'lrr' (did you mean 'lr'?)" --set one.train.lrr=1
echo 'not json' >bad.jsonl
wrong "a broken line" "bad.jsonl:1" --set two.data.train=bad.jsonl
: >empty.jsonl
wrong "an empty data set" "empty.jsonl" --set two.data.train=empty.jsonl
echo '{"input_ids": [1, 2, 99999]}' >ids.jsonl
wrong "ids outside the vocabulary" "ids.jsonl:1" --set one.data.train=ids.jsonl
wrong "a length beyond the context" "data.max_length: the model's context is" --set one.data.max_length=999999
wrong "an unknown backend" "--backend: there is no backend 'cpu-bals' (did you mean 'cpu-blas'?)" --backend cpu-bals
wrong "a folder without a model" "p.yaml:9:19: other: has neither model.safetensors nor model.safetensors.index.json" --set models.tiny="{from: other}"
run run nowhere.yaml
ok "a missing file" says "nowhere.yaml: cannot open: No such file or directory"
ok "exits 2" refused 2
run run .
ok "a folder as pipeline" refused 2
run run p.yaml --resume --overwrite
ok "--resume and --overwrite exclude each other" refused 2

cat >rl.yaml <<YAML
rein: 1
backend: ref
output: result
models:
  tiny: {config: $demo/model, init: random}
  other: {config: other, init: random}
stages:
  - name: align
    algorithm: {use: ppo}
    model: {from: tiny}
    reference: {from: other}
    critic: {from: tiny}
    rewards: [{use: rule, kind: length}]
    data: {train: prompts.jsonl}
    rollout: {prompts: 4, max_tokens: 4}
    train: {steps: 2}
YAML
run check rl.yaml
ok "a reference with another vocabulary" says "rl.yaml:11:23: stage 'align': the reference has a vocabulary of $((vocabulary + 8)) tokens, the model one of $vocabulary"
run check rl.yaml --set align.reference.from=tiny --set align.rollout.max_tokens=100000
ok "no room for a prompt" says "leave no room for a prompt in the model's context"
run check rl.yaml --set align.reference.from=tiny --set align.algorithm.beta=0
ok "a reference that is not used is not loaded" says "stage 'align': ppo as configured uses no reference: it is not loaded"
ok "nor planned" [ "$(grep -c reference "$work/out")" -eq 0 ]

run check rl.yaml --set align.reference.from=tiny --set align.rewards="[{use: rule, kind: exact, column: answer}]"
ok "a column that the data lacks" says "rule.column: prompts.jsonl:1 has no column 'answer'"
ok "exits 2" refused 2
sed 's/}$/, "answer": 1}/' prompts.jsonl >answered.jsonl
{ cat answered.jsonl && head -n 1 prompts.jsonl; } >partly.jsonl
set -- --set align.reference.from=tiny --set align.rewards="[{use: rule, kind: exact, column: answer}]"
run check rl.yaml "$@" --set align.data.train=partly.jsonl
ok "or one of its rows" says "rule.column: partly.jsonl:$(wc -l <partly.jsonl) has no column 'answer'"
run check rl.yaml "$@" --set align.data.train=answered.jsonl --set align.data.eval=prompts.jsonl
ok "or the held-out data" says "rule.column: prompts.jsonl:1 has no column 'answer'"

# a reward that fails between two steps costs none of them
head -n 1 answered.jsonl >numbers.jsonl && sed -n '2s/}$/, "answer": "none"}/p' prompts.jsonl >>numbers.jsonl
set -- --set align.algorithm="{use: grpo, baseline: group, beta: 0}" --set align.rollout="{prompts: 1, group: 2, max_tokens: 4}" \
    --set align.data.train=numbers.jsonl --set align.train.shuffle=false
grep -v 'reference:\|critic:' rl.yaml >numbers.yaml
run run numbers.yaml "$@" --set align.rewards="[{use: rule, kind: number, column: answer}]"
ok "a row that holds no number ends the run" says "row 0: column 'answer' holds no number"
ok "which can go on where it was" says "align: step 1 of 2 is saved, --resume goes on from there"
run run numbers.yaml "$@" --resume
ok "and does" [ "$status" -eq 0 ]
ok "by one step" [ "$(grep -c '"loss"' result/align/metrics.jsonl)" -eq 2 ]
rm -r result

# a language model as judge: asked before anything is sampled whether it can be, and then in each rollout
judged="[{use: judge, model: tiny, rubric: '{prompt} {completion} {n}?', columns: [n], good: [' yes'], bad: [' no']}]"
sed 's/}$/, "n": 1}/' prompts.jsonl >numbered.jsonl
grep -v 'reference:\|critic:' rl.yaml >judge.yaml
run run judge.yaml --set align.algorithm="{use: grpo, baseline: group, beta: 0}" \
    --set align.rollout.group=2 --set align.train.steps=1 --set align.rewards="$judged" --set align.data.train=numbered.jsonl
ok "a judge rewards" [ "$status" -eq 0 ]
ok "with probabilities" grep -Eq '"rewards/judge/mean":0\.[0-9]+' result/align/metrics.jsonl
rm -r result
run run rl.yaml --set align.reference.from=tiny --set align.rewards="[{use: judge, model: tiny, good: ['']}]"
ok "a judge that cannot be asked" says "judge.good: names an empty word"
ok "exits 2 and leaves nothing" refused 2

# the run folder
run run p.yaml --set one.train.lr=0
ok "a learning rate of 0 is no default" grep -q '"learning_rate":0,' result/one/metrics.jsonl
rm -r result
run run p.yaml
ok "run works" [ "$status" -eq 0 ]
ok "run leaves stdout empty" [ ! -s "$work/out" ]
ok "a stage ends with its time and peak memory" grep -Eq '^one: 1 of 1 steps in [0-9]+:[0-9][0-9], peak memory (of the process )?[0-9.]+ [MG]B  loss' "$work/err"
ok "which are in its metrics" grep -Eq '^\{"step":1,"stage_time":[0-9.]+,"(process_)?peak_memory":[0-9]{6,}\}$' result/one/metrics.jsonl
ok "a stage without samples has no file of them" [ ! -e result/one/samples.jsonl ]
ok "the pipeline as resolved is there" grep -q "lr: 2e-05" result/pipeline.yaml
ok "both models are there" [ -s result/one/model/model.safetensors -a -s result/two/model/model.safetensors ]
before=$(cksum result/two/model/model.safetensors)
run run p.yaml
ok "a second run is refused" says "p.yaml:3:9: result is not empty: --resume goes on with it, --overwrite removes it"
ok "and exits 2" refused 2
run run p.yaml --resume
ok "--resume skips finished stages" says "stage two was finished before"
ok "and changes nothing" [ "$before" = "$(cksum result/two/model/model.safetensors)" ]
rm -r result/two
run run p.yaml --resume
ok "--resume runs what is missing, with the same result" [ "$before" = "$(cksum result/two/model/model.safetensors)" ]
run run p.yaml --resume --set two.train.steps=2
ok "--resume warns when the pipeline changed" says "the pipeline is not the same as when the run began"
ok "what is finished was run as pipeline.yaml says" [ "$(grep -c 'steps: 2$' result/pipeline.yaml)" -eq 0 -a ! -e result/pipeline-1.yaml ]
rm -r result/two
run run p.yaml --resume --set two.train.steps=2
ok "a stage that is run anew is written down" grep -q 'steps: 2$' result/pipeline.yaml
ok "beside what the stage before was run by" [ "$(grep -c 'steps: 2$' result/pipeline-1.yaml)" -eq 0 ]
touch result/left-over
run run p.yaml --overwrite
ok "--overwrite begins again" [ "$status" -eq 0 -a ! -e result/left-over ]
ok "with the same bits" [ "$before" = "$(cksum result/two/model/model.safetensors)" ]
run check result/pipeline.yaml
ok "the written pipeline is one" [ "$status" -eq 0 ]
cp sft.jsonl result/
run run p.yaml --overwrite --set one.data.train=result/sft.jsonl
ok "--overwrite keeps what the run reads" says "--overwrite would remove"
ok "and removes nothing" [ -s result/sft.jsonl -a -s result/pipeline.yaml ]
mkdir mine
touch mine/thesis.txt
run run p.yaml --overwrite --set output=mine
ok "--overwrite leaves other folders alone" says "is not the folder of an earlier run"
ok "with all that is in them" [ -e mine/thesis.txt ]
mkdir killed
touch killed/pipeline.yaml.tmp-1
run run p.yaml --resume --set output=killed
ok "a run that was killed before it had begun is no obstacle" [ "$status" -eq 0 -a ! -e killed/pipeline.yaml.tmp-1 ]
run run p.yaml --set output=sft.jsonl
ok "a file as run folder" says "is not a folder"

# which backend: the command line, the environment, the pipeline, the machine
run check p.yaml --backend nope
ok "--backend wins" says "--backend: there is no backend 'nope'"
REIN_BACKEND=nope run check p.yaml
ok "then REIN_BACKEND" says "REIN_BACKEND: there is no backend 'nope'"
run check p.yaml --set backend=nope
ok "a backend of the pipeline has its place" says "--set backend=nope: there is no backend 'nope'"
cat >machine.yaml <<YAML
backend: nope
YAML
REIN_MACHINE=$work/w/machine.yaml
export REIN_MACHINE
run check p.yaml
ok "then the pipeline" [ "$status" -eq 0 ]
run check p.yaml --set backend=auto
ok "then machine.yaml" says "there is no backend 'nope'"
printf 'backend: ref\nthreads: many\n' >machine.yaml
run check p.yaml
ok "machine.yaml has places too" says "machine.yaml:2:10: machine.threads: expected an integer, got 'many'"
printf 'backends:\n  ref: {speed: 11}\n' >machine.yaml
run check p.yaml
ok "and options of backends" says "machine.yaml:2:9: ref has no option 'speed'"
unset REIN_MACHINE
run check p.yaml --device 99
ok "a device that is not there" says "there is no device 99"
run check p.yaml --threads -3
ok "threads out of range" refused 2

# without cpu-blas the reference computes, which is said with the reason, unless it was asked for
mkdir "$work/plain"
cp -r "$top_builddir/modules/algorithms" "$work/plain/"
cp -r "$top_builddir/modules/backends" "$work/plain/"
echo broken >"$work/plain/backends/cpu-blas.so"
plain() { REIN_PLUGIN_PATH=$work/plain XDG_DATA_HOME= HOME=$work run "$@"; }
plain plugins
if grep -q '^backend *cpu-blas' "$work/out"; then
    echo "# rein is installed with cpu-blas: cannot be without it"
else
    plain check p.yaml --set backend=auto
    ok "a backend that cannot be loaded is told" says "rein: warning: the slow reference backend computes ($work/plain/backends/cpu-blas.so: it cannot be loaded: "
    ok "in one line" [ "$(grep -c . "$work/err")" -eq 1 -a "$status" -eq 0 ]
    rm "$work/plain/backends/cpu-blas.so"
    plain check p.yaml --set backend=auto
    ok "as is that there is none" says "computes (no other backend is on the plugin path)"
fi
plain check p.yaml --backend ref
ok "who asks for the reference is not warned" [ ! -s "$work/err" -a "$status" -eq 0 ]

# seeds: a stage draws by the pipeline's, unless it has its own
head -n 8 "$demo/data/pairs.jsonl" >pairs.jsonl
cat >heads.yaml <<YAML
rein: 1
backend: ref
seed: 5
output: heads
models:
  tiny: {config: $demo/model, init: random}
stages:
YAML
for stage in a:-1 b:-1 c:6; do
    cat >>heads.yaml <<YAML
  - name: ${stage%:*}
    algorithm: {use: rm}
    model: {from: tiny, head: score}
    data: {train: pairs.jsonl}
    train: {steps: 1, batch: 2, lr: 0, seed: ${stage#*:}}
YAML
done
run run heads.yaml
ok "reward models train" [ "$status" -eq 0 ]
same() { cmp -s "heads/$1/model/model.safetensors" "heads/$2/model/model.safetensors"; }
ok "one seed draws one head" same a b
differ() { [ -s "heads/$1/model/model.safetensors" ] && ! same "$1" "$2"; }
ok "another seed another" differ a c
run run heads.yaml --set seed=6 --set output=heads2
ok "the pipeline's seed draws all that is random" differ a ../heads2/a

# a reward model predicts no tokens, though its tied embedding has the shape of a head
run generate heads/a/model "the shop"
ok "generate refuses a reward model" refused 2
ok "and says why" says "heads/a/model: is a reward model or a critic: it has a score head and predicts no tokens"
run logprobs heads/a/model sft.jsonl
ok "so does logprobs" refused 2
run check p.yaml --set one.model.from=heads/a/model --set output=none
ok "and a stage that would train it to" says "--set one.model.from=heads/a/model: "
ok "before anything is run" refused 2

# the policy on one backend, the reward model on another
cat >two.yaml <<YAML
rein: 1
output: two
models:
  tiny: {config: $demo/model, init: random}
stages:
  - name: align
    algorithm: {use: ppo}
    model: {from: tiny}
    reference: {from: tiny}
    critic: {from: tiny}
    rewards: [{use: rm, model: heads/c/model}]
    data: {train: prompts.jsonl}
    rollout: {prompts: 4, max_tokens: 4}
    train: {steps: 2}
YAML
run run two.yaml --backend ref
ok "a reward model trains a policy" [ "$status" -eq 0 ]
run run two.yaml --backend ref -v --set align.reward_backend=cpu-blas --set output=two2
ok "a backend of its own for the reward model" says "stage align: reward models on backend cpu-blas"
scores() { sed -n 's/.*"objective\/scores":\([-+.0-9e]*\).*/\1/p' "$1/align/metrics.jsonl" | tr '\n' ' '; }
agree() { echo "$(scores two)$(scores two2)" | awk '{ d1 = $1 - $3; d2 = $2 - $4; exit !(NF == 4 && d1 * d1 < 1e-8 && d2 * d2 < 1e-8) }'; }
ok "and the same scores" agree
run run two.yaml --set align.reward_backend=cpu-blass --set output=two3
ok "an unknown one is refused" says "there is no backend 'cpu-blass' (did you mean 'cpu-blas'?)"
ok "exits 2" refused 2
run check two.yaml --set align.reward_backend=cpu-blass
ok "by a check too" refused 2
run check two.yaml --backend ref --set align.reward_device=1
ok "a device that is not there is refused" says "--set align.reward_device=1: backend ref: there is no device 1; it has 1"
ok "exits 2" refused 2
run check two.yaml --set align.reward_device=-1
ok "a device is a number from 0" says "reward_device: must lie in [0, 4096]"
run check two.yaml --set align.reward_device=first
ok "and a number" refused 2
run check two.yaml --set align.reward_device=0 --set align.rewards="[{use: rule, kind: length}]"
ok "a device without reward models is refused" says "reward_device: no reward of this stage has a model"
run check two.yaml --set align.reward_backend=ref --set align.rewards="[{use: rule, kind: length}]"
ok "one without reward models too" says "reward_backend: no reward of this stage has a model"
done_testing
