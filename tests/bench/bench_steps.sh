#!/bin/sh
# SPDX-License-Identifier: MIT
#
# What sampling and training steps cost on this machine: seconds, share of OpenBLAS's sgemm rate (on the CPU), peak memory.
#
#     bench_steps.sh BUILD [--scaling] [--work LIST]      BUILD: the build folder
#
#   BENCH_MODEL    a Hugging Face folder of the Llama kind (default: random weights in the shape of SmolLM2-135M)
#   BENCH_THREADS  (default 2)      BENCH_STEPS  steps that count, after one that warms up (default 3)
#   REIN_BACKEND   (default cpu-blas)
#   BENCH_DIR      where it works and leaves bench.tsv (default BUILD/bench.out)
#
# The rows are random tokens with the lengths of GSM8K's. GFLOP/s count useful work only: 6 floating-point operations for
# each matrix weight and trained token, 2 for a sampled or scored one, the head on completions only, a prompt that a group
# or a pair shares once, nothing computed twice, attention not at all. --scaling varies one thing at a time.
set -eu
build=${1:?usage: bench_steps.sh BUILD [--scaling] [--work LIST]}
shift
scaling= works=sft,sample,dpo,rm,ppo,grpo
while [ $# -gt 0 ]; do
    case $1 in
        --scaling) scaling=1 ;;
        --work) works=${2:?} && shift ;;
        *) echo "bench_steps.sh: what is $1?" >&2 && exit 2 ;;
    esac
    shift
done
build=$(cd "$build" && pwd)
dir=${BENCH_DIR:-$build/bench.out} steps=${BENCH_STEPS:-3} threads=${BENCH_THREADS:-2}
REIN_PLUGIN_PATH=$build/modules REIN_BACKEND=${REIN_BACKEND:-cpu-blas}
export REIN_PLUGIN_PATH REIN_BACKEND
mkdir -p "$dir" && cd "$dir"
tsv=$dir/bench.tsv

# A config of SmolLM2's shape with $1 layers, into the folder $2; a tokenizer of the 256 bytes.
shape() {
    mkdir -p "$2"
    cat > "$2/config.json" << END
{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 49152, "hidden_size": 576,
 "intermediate_size": 1536, "num_hidden_layers": $1, "num_attention_heads": 9, "num_key_value_heads": 3,
 "hidden_act": "silu", "max_position_embeddings": 8192, "initializer_range": 0.04, "rms_norm_eps": 1e-05,
 "rope_theta": 100000.0, "tie_word_embeddings": true, "eos_token_id": 0, "torch_dtype": "float32"}
END
    awk 'BEGIN {
        printf "{\"version\": \"1.0\", \"added_tokens\": [], \"normalizer\": null, \"pre_tokenizer\": {\"type\": \"ByteLevel\", " \
            "\"add_prefix_space\": false, \"trim_offsets\": true, \"use_regex\": true}, \"post_processor\": null, \"decoder\": " \
            "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": true, \"use_regex\": true}, \"model\": " \
            "{\"type\": \"BPE\", \"vocab\": {"
        for (b = 0; b < 256; b++) { # as byte-level BPE writes bytes: those that do not print are moved up
            prints = (b >= 33 && b <= 126) || (b >= 161 && b != 173)
            printf "%s\"\\u%04x\": %d", b ? ", " : "", prints ? b : 256 + moved++, b
        }
        print "}, \"merges\": []}}"
    }' > "$2/tokenizer.json"
}

# $1 rows of kind $2; a prompt of about $3 tokens and answers of about $4, whose lengths spread as GSM8K's do.
rows() {
    awk -v n="$1" -v kind="$2" -v prompt="$3" -v answer="$4" '
        function next_random() { return state = (state * 16807) % 2147483647 }
        function ids(mean,    i, k, text) {
            k = int(mean * (0.6 + 0.8 * (next_random() % 1000) / 1000) + 0.5)
            for (i = 0; i < k; i++)
                text = text (i ? "," : "") (1000 + next_random() % 40000)
            return "[" text "]"
        }
        BEGIN {
            state = 20250107
            for (r = 0; r < n; r++) {
                line = "{\"prompt_ids\": " ids(prompt)
                if (kind == "rows") line = line ", \"completion_ids\": " ids(answer)
                if (kind == "pairs") line = line ", \"chosen_ids\": " ids(answer) ", \"rejected_ids\": " ids(answer)
                print line "}"
            }
        }'
}

# Tokens of the columns that match $1, in the first $3 lines of $2.
tokens() {
    awk -v what="$1" -v lines="$3" 'NR <= lines { n = split($0, part, /"[a-z]*_ids": \[/); rest = $0
        for (i = 1; i < n; i++) {
            match(rest, /"[a-z]*_ids": \[/); name = substr(rest, RSTART + 1, RLENGTH - 5); rest = substr(rest, RSTART + RLENGTH)
            if (name ~ what) total += gsub(/,/, ",", part[i + 1]) + (part[i + 1] ~ /\], *"$|\], $/ ? 0 : 1)
        } } END { print total + 0 }' "$2"
}

# Matrix weights of the layers and of the head.
weights() {
    awk 'BEGIN { RS = "[,{}]" }
        function number(name) { if ($0 ~ "\"" name "\"") { split($0, part, ":"); v[name] = part[2] + 0 } }
        { number("vocab_size"); number("hidden_size"); number("intermediate_size"); number("num_hidden_layers")
          number("num_attention_heads"); number("num_key_value_heads"); number("head_dim") }
        END { h = v["hidden_size"]; d = v["head_dim"] ? v["head_dim"] : h / v["num_attention_heads"]
              kv = v["num_key_value_heads"] ? v["num_key_value_heads"] : v["num_attention_heads"]
              print v["num_hidden_layers"] * (2 * h * d * (v["num_attention_heads"] + kv) + 3 * h * v["intermediate_size"]), \
                    v["vocab_size"] * h }' "$1/config.json"
}

model=${BENCH_MODEL:-} shaped=
if [ -n "$model" ]; then
    base="{from: $model}"
else
    shape 30 shape
    model=shape base="{config: shape, init: random}" shaped=1
fi

# All core types that this OpenBLAS may know; the fastest counts.
sgemm_rate() {
    for core in "" HASWELL ZEN SKYLAKEX COOPERLAKE; do
        if [ -n "$core" ]; then OPENBLAS_CORETYPE=$core "$build/tests/bench/bench_sgemm" "$threads" 2> /dev/null || :
        else "$build/tests/bench/bench_sgemm" "$threads" || :; fi
    done | sort -n | tail -1
}
sgemm=
if [ "$REIN_BACKEND" != cpu-blas ]; then
    against="no share of OpenBLAS's sgemm"
elif [ ! -x "$build/tests/bench/bench_sgemm" ]; then
    against="no share of sgemm: $build/tests/bench/bench_sgemm is missing (make tests/bench/bench_sgemm, or make bench)"
else
    sgemm=$(sgemm_rate)
    against="OpenBLAS sgemm at its best: $sgemm GFLOP/s"
    [ -n "$sgemm" ] || against="no share of sgemm: $build/tests/bench/bench_sgemm says nothing"
fi

printf 'work\tthreads\tstep_median\tstep_min\tgflop\tgflops\tshare_of_sgemm\tpeak_mib\tstart\n' > "$tsv"
printf '# %s; backend %s, %s threads; useful work only\n' "$against" "$REIN_BACKEND" "$threads"
printf '%-22s%10s%10s%9s%10s%8s%9s%8s\n' work 'median s' 'least s' GFLOP GFLOP/s 'share %' 'peak MiB' 'start s'

# report NAME GFLOP PEAK START THREADS < seconds
report() {
    sort -n | awk -v name="$1" -v work="$2" -v peak="$3" -v start="$4" -v threads="$5" -v sgemm="$sgemm" -v tsv="$tsv" '
        { s[NR] = $1 }
        END {
            if (NR == 0) exit 1
            m = NR % 2 ? s[(NR + 1) / 2] : (s[NR / 2] + s[NR / 2 + 1]) / 2
            share = sgemm > 0 ? work / m / sgemm : "-"
            printf "%-22s%10.3f%10.3f%9.0f%10.1f%8s%9.0f%8s\n", name, m, s[1], work, work / m, \
                share == "-" ? share : sprintf("%.0f", 100 * share), peak, start
            printf "%s\t%s\t%.4f\t%.4f\t%.1f\t%.1f\t%s\t%.0f\t%s\n", name, threads, m, s[1], work, work / m, \
                share == "-" ? share : sprintf("%.3f", share), peak, start >> tsv
        }'
}

now() { date +%s.%N; }

# train NAME GFLOP STAGE: a pipeline of one stage in which {STEPS} is to be run. {B} is the model.
train() {
    rm -rf run && mkdir -p kept
    { printf 'rein: 1\nseed: 7\noutput: run\nmodels:\n  base: %s\n' "$base"
      [ ! -d kept/rm ] || printf '  quality: {from: kept/rm}\n'
      printf 'stages:\n  - name: it\n%s\n' "$3"; } > pipeline.yaml
    began=$(now)
    "$build/rein" run pipeline.yaml -v --threads "$at_threads" 2> rein.err &
    child=$!
    until [ -s run/it/metrics.jsonl ] || ! kill -0 $child 2> /dev/null; do sleep 0.01; done
    first=$(now)
    wait $child || { cat rein.err >&2; exit 1; }
    once=$(sed -n 's/.*reference log-probabilities of [0-9]* rows in \([0-9.]*\) s.*/\1/p' rein.err | head -1)
    seconds=$(awk -v once="${once:-0}" '
        function number(name) { return match($0, "\"" name "\":[0-9.e+-]*") ? substr($0, RSTART + length(name) + 3, RLENGTH) + 0 : 0 }
        /"step_time"/ && ++n > 1 { print number("step_time") + number("rollout_time") + once }' run/it/metrics.jsonl)
    one=$(awk 'function number(name) { return match($0, "\"" name "\":[0-9.e+-]*") ? substr($0, RSTART + length(name) + 3, RLENGTH) + 0 : 0 }
        /"step_time"/ { print number("step_time") + number("rollout_time"); exit }' run/it/metrics.jsonl)
    peak=$(sed -n 's/.*"\(process_\)*peak_memory":\([0-9.e+]*\).*/\2/p' run/it/metrics.jsonl | tail -1)
    start=$(awk -v a="$began" -v b="$first" -v one="$one" -v once="${once:-0}" 'BEGIN { printf "%.2f", b - a - one - once }')
    echo "$seconds" | report "$1" "$2" "$(awk -v p="${peak:-0}" 'BEGIN { print p / 1048576 }')" "$start" "$at_threads"
}

gflop() { awk -v n="$(weights "$model")" "BEGIN { split(n, w, \" \"); layers = w[1]; head = w[2]; printf \"%.1f\", 1e-9 * ($1) }"; }

# sft NAME ROWS PROMPT ANSWER
sft() {
    rows "$2" rows "$3" "$4" > rows.jsonl
    p=$(tokens prompt rows.jsonl "$2") c=$(tokens completion rows.jsonl "$2")
    train "$1" "$(gflop "6 * (($p + $c) * layers + $c * head)")" "    algorithm: {use: sft}
    model: {from: base}
    data: {train: rows.jsonl, eos: false}
    train: {steps: $((steps + 1)), batch: $2, lr: 1.0e-6}"
}

# grpo NAME PROMPTS GROUP TOKENS
grpo() {
    rows "$2" prompts 60 0 > prompts.jsonl
    p=$(tokens prompt prompts.jsonl "$2") c=$(($2 * $3 * $4))
    # sampled 2, reference 2, trained 6
    train "$1" "$(gflop "10 * (($p + $c) * layers + $c * head)")" "    algorithm: {use: grpo, baseline: group, beta: 0.04, variance: 0}
    model: {from: base}
    reference: {from: base}
    rewards: [{use: rule, kind: regex, pattern: \"[0-9]\"}]
    data: {train: prompts.jsonl}
    rollout: {prompts: $2, group: $3, max_tokens: $4, temperature: 1.0}
    train: {steps: $((steps + 1)), lr: 1.0e-6}"
}

at_threads=$threads
if [ -n "$scaling" ]; then
    for n in 2 4 8 16; do sft "sft batch $n" $n 120 100; done
    for n in 64 128 256 512 1024; do sft "sft length $n" 4 $((n / 2)) $((n / 2)); done
    for n in 2 4 8 16; do grpo "grpo group $n" 2 $n 64; done
    if [ -n "$shaped" ]; then
        for n in 8 15 30; do shape $n shape && sft "sft layers $n" 8 120 100; done
    fi
    for at_threads in 1 2; do sft "sft threads $at_threads" 8 120 100; done
    exit
fi

# what another one starts from comes before it, asked for or not
wanted=,$works,
case $wanted in *,ppo,*) wanted=${wanted}rm, ;; esac
case $wanted$shaped in *,sample,*[!,]) wanted=${wanted}sft, ;; esac
for work in $(echo "$works" | tr ',' ' '); do
    case $work in
        sft | sample | dpo | rm | ppo | grpo) ;;
        *) echo "bench_steps.sh: there is no work '$work'" >&2 && exit 2 ;;
    esac
done
for work in sft sample dpo rm ppo grpo; do
    case $wanted in *,$work,*) ;; *) continue ;; esac
    case $work in
        sft)
            sft sft 8 120 100
            rm -rf kept/sft && mkdir -p kept && mv run/it/model kept/sft ;;
        sample)
            rows 1 prompts 100 0 > one.jsonl
            p=$(tokens prompt one.jsonl 1)
            from=${BENCH_MODEL:-kept/sft}
            began=$(now)
            i=0
            : > seconds
            while [ $i -lt "$steps" ]; do
                "$build/rein" generate "$from" --prompts one.jsonl --samples 16 --max-tokens 64 --temperature 1 --ignore-eos -v \
                    --threads "$threads" 2> rein.err > /dev/null
                sed -n 's/.* tokens in \([0-9.]*\) s.*/\1/p' rein.err >> seconds
                i=$((i + 1))
            done
            taken=$(awk -v a="$began" -v b="$(now)" -v n="$steps" '{ s += $1 } END { printf "%.2f", (b - a - s) / n }' seconds)
            report sample "$(gflop "2 * (($p + 1024) * layers + 1024 * head)")" \
                "$(sed -n 's/.*peak memory \([0-9]*\) MiB.*/\1/p' rein.err)" "$taken" "$threads" < seconds ;;
        dpo)
            rows 8 pairs 110 95 > pairs.jsonl
            p=$(tokens prompt pairs.jsonl 8) c=$(tokens 'chosen|rejected' pairs.jsonl 8)
            train dpo "$(gflop "8 * (($p + $c) * layers + $c * head)")" "    algorithm: {use: dpo}
    model: {from: base}
    reference: {from: base}
    data: {train: pairs.jsonl, eos: false}
    train: {steps: $((steps + 1)), batch: 8, lr: 1.0e-6}" ;;
        rm)
            rows 8 pairs 110 95 > pairs.jsonl
            p=$(tokens prompt pairs.jsonl 8) c=$(tokens 'chosen|rejected' pairs.jsonl 8)
            rm -rf kept/rm
            train rm "$(gflop "6 * ($p + $c) * layers")" "    algorithm: {use: rm}
    model: {from: base, head: score}
    data: {train: pairs.jsonl, eos: false}
    train: {steps: $((steps + 1)), batch: 8, lr: 1.0e-6}"
            mkdir -p kept && mv run/it/model kept/rm ;;
        ppo)
            rows 16 prompts 60 0 > prompts.jsonl
            p=$(tokens prompt prompts.jsonl 16) c=1024
            # sampled 2, reference 2, trained 6; reward model 2 and critic trained 6 (the old values with it), both without a head
            train ppo "$(gflop "18 * ($p + $c) * layers + 10 * $c * head")" "    algorithm: {use: ppo}
    model: {from: base}
    reference: {from: base}
    critic: {from: quality, head: value}
    rewards: [{use: rm, model: quality}]
    data: {train: prompts.jsonl}
    rollout: {prompts: 16, group: 1, max_tokens: 64, temperature: 1.0}
    train: {steps: $((steps + 1)), epochs: 1, lr: 1.0e-6}" ;;
        grpo) grpo grpo 2 8 64 ;;
    esac
done
rm -rf run kept
