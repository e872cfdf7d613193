#!/bin/sh
# SPDX-License-Identifier: MIT
# rein logprobs, score, eval and generate: what scripts rely on, and what is refused.
. "$srcdir/tests/cli/lib.sh"

for c in logprobs score eval generate; do
    run $c --help
    ok "$c --help" [ "$status" -eq 0 ]
    run $c
    ok "$c without a model is refused" refused 2
    run $c "$work/nowhere" "$work/nothing.jsonl"
    ok "$c of a folder that is not there is refused" refused 2
done
run generate x --temperature -1
ok "a negative temperature is refused" refused 2
run generate x "text" --prompts file
ok "two kinds of prompts are refused" refused 2
run generate x --top-p 0
ok "top-p 0 is refused" refused 2

models=$REIN_TEST_DATA/models
if [ ! -d "$models" ]; then
    echo "# SKIP the rest: REIN_TEST_DATA is not set"
    done_testing
fi

printf '%s\n' '{"input_ids":[1,17,400,3]}' '{"input_ids":[5]}' '{"input_ids":[9,9]}' >"$work/ids.jsonl"
run logprobs "$models/tiny-llama" "$work/ids.jsonl"
ok "a line a row" [ "$(wc -l <"$work/out")" -eq 3 ]
ok "the first token has none" prints '{"ids":[1,17,400,3],"logprobs":[null,-'
ok "a row of one token" prints '{"ids":[5],"logprobs":[null]}'
run logprobs "$models/tiny-llama" "$work/ids.jsonl"
cp "$work/out" "$work/first"
REIN_BACKEND=ref run logprobs "$models/tiny-llama" "$work/ids.jsonl"
ok "REIN_BACKEND is honoured" [ "$status" -eq 0 ]
run score "$models/tiny-llama-rm" "$work/ids.jsonl"
ok "score prints an object a row" [ "$(grep -c '^{"score": -\{0,1\}[0-9.]*}$' "$work/out")" -eq 3 ]
pad=$(sed -n 's/.*"pad_token_id": \([0-9]*\).*/\1/p' "$models/tiny-llama-rm/config.json")
printf '%s\n' '{"input_ids":[9,9]}' "{\"input_ids\":[9,9,$pad]}" '{"input_ids":[9,9]}' >"$work/padded.jsonl"
run score "$models/tiny-llama-rm" "$work/padded.jsonl"
ok "a score is read at the last token, the pad token too" [ -n "$pad" -a "$(sort -u "$work/out" | wc -l)" -eq 2 ]
run score "$models/tiny-llama" "$work/ids.jsonl"
ok "a language model does not score" refused 2
run logprobs "$models/tiny-llama-rm" "$work/ids.jsonl"
ok "a reward model has no log-probabilities" refused 2
run eval "$models/tiny-llama" "$work/ids.jsonl" --json
ok "perplexity as JSON" prints '{"perplexity": 3'
run eval "$models/tiny-llama-rm" "$work/ids.jsonl"
ok "a reward model has no perplexity" refused 2
printf '%s\n' '{"prompt_ids":[1,5],"chosen_ids":[7],"rejected_ids":[8,9]}' \
    '{"prompt_ids":[1,6],"chosen_ids":[100],"rejected_ids":[8]}' >"$work/pairs.jsonl"
run eval "$models/tiny-llama-rm" "$work/pairs.jsonl" --json
ok "accuracy by score" prints '"pairs": 2, "by": "score"}'
run eval "$models/tiny-llama" "$work/pairs.jsonl" --json
ok "accuracy by log-probability" prints '"pairs": 2, "by": "logprob"}'
head -n 1 "$work/pairs.jsonl" >"$work/pair.jsonl" # one of two tokens, of which log-probabilities alone decide
run eval "$models/tiny-llama" "$work/pair.jsonl" --json
ok "the shorter answer is more probable" prints '{"accuracy": 1, "pairs": 1, "by": "logprob"}'
run eval "$models/tiny-llama" "$work/pair.jsonl" --reference "$models/tiny-llama" --json
ok "no answer gains on the model itself" prints '{"accuracy": 0.5, "pairs": 1, "by": "log-ratio"}'
run eval "$models/tiny-llama" "$work/ids.jsonl" --reference "$models/tiny-llama"
ok "a reference is for pairs" refused 2
run eval "$models/tiny-llama-rm" "$work/pairs.jsonl" --reference "$models/tiny-llama"
ok "a score needs no reference" refused 2
run eval "$models/tiny-llama" "$work/pairs.jsonl" --reference "$models/tiny-gpt2"
ok "a reference of another tokenizer is refused" says "another tokenizer or vocabulary"

printf '%s\n' '{"input_ids":[1,2]}' '{"input_ids":[1,512]}' >"$work/bad.jsonl"
for c in logprobs eval; do
    run $c "$models/tiny-llama" "$work/bad.jsonl"
    ok "$c: an id outside the vocabulary is refused" refused 2
    ok "$c: with its line" says "bad.jsonl:2"
done
{ printf '{"input_ids":[1'; i=0; while [ $i -lt 256 ]; do printf ',7'; i=$((i + 1)); done; echo ']}'; } >"$work/long.jsonl"
run logprobs "$models/tiny-llama" "$work/long.jsonl"
ok "a row beyond the context is refused" refused 2
ok "with its line" says "long.jsonl:1"
: >"$work/empty.jsonl"
run logprobs "$models/tiny-llama" "$work/empty.jsonl"
ok "an empty file is refused" refused 2
run logprobs "$models/tiny-llama" "$models"
ok "a folder as data is refused" refused 2
cp -r "$models/tiny-llama" "$work/broken" && chmod -R u+w "$work/broken"
head -c 100000 "$models/tiny-llama/model.safetensors" >"$work/broken/model.safetensors"
run logprobs "$work/broken" "$work/ids.jsonl"
ok "cut weights are refused" refused 2
ok "with the file's name" says "model.safetensors"
sed 's/"intermediate_size": 172/"intermediate_size": 176/' "$models/tiny-llama/config.json" >"$work/broken/config.json"
cp "$models/tiny-llama/model.safetensors" "$work/broken/"
run logprobs "$work/broken" "$work/ids.jsonl"
ok "a wrong shape is refused" refused 2
ok "with tensor and shapes" says "gate_proj.weight has shape [172, 64], config.json asks for [176, 64]"

mkdir "$work/mute" && cp "$models/tiny-llama/config.json" "$models/tiny-llama/model.safetensors" "$work/mute/"
run logprobs "$work/mute" "$work/ids.jsonl"
ok "ids need no tokenizer" cmp -s "$work/out" "$work/first"
echo '{"text":"hi"}' >"$work/text.jsonl"
run logprobs "$work/mute" "$work/text.jsonl"
ok "text does" refused 2
run generate "$work/mute" "hi"
ok "so does a prompt" refused 2

printf '%s\n' '{"prompt":"Once upon a time"}' '{"prompt":"The dog"}' >"$work/prompts.jsonl"
run generate "$models/stories260k" --prompts "$work/prompts.jsonl" --max-tokens 20 --json
ok "a line a prompt" [ "$(grep -c '^{"completion":".*","completion_ids":\[[0-9,]*\],"logprobs":\[.*\]}$' "$work/out")" -eq 2 ]
cp "$work/out" "$work/greedy"
run generate "$models/stories260k" "Once upon a time" --max-tokens 20 --json
ok "the same from the command line" [ "$(head -n 1 "$work/greedy")" = "$(cat "$work/out")" ]
ok "a story" prints "there was a little girl"
run generate "$models/stories-gpt2-tiny" "Once upon a time" --max-tokens 30
ok "GPT-2 tells the story that transformers tells" prints ", there was a little girl named Lily. She loved to play outside in the park"
run generate "$models/stories-qwen2-tiny" "Once upon a time" --max-tokens 30
ok "and Qwen2 its own" prints ", there was a little girl named Lily. She loved to play outside in the park. One day"
run generate "$models/stories260k" "Once upon a time" --max-tokens 20 --temperature 1 --seed 4
cp "$work/out" "$work/one"
run generate "$models/stories260k" "Once upon a time" --max-tokens 20 --temperature 1 --seed 4
ok "the same seed gives the same text" cmp -s "$work/out" "$work/one"
run generate "$models/stories260k" "Once upon a time" --max-tokens 20 --temperature 1 --seed 5
ok "another seed another" [ "$(cat "$work/out")" != "$(cat "$work/one")" ]
run generate "$models/stories260k" "Once upon a time" --max-tokens 20 --stop " little"
ok "a stop string ends the text" [ "$(cat "$work/out")" = ", there was a" ]
printf '%s\n' '{"prompt_ids":[1,2,3]}' '{"prompt_ids":[700]}' >"$work/bad.jsonl"
run generate "$models/stories260k" --prompts "$work/bad.jsonl"
ok "a prompt outside the vocabulary is refused" refused 2
ok "with its line" says "bad.jsonl:2"
sed 's/"prompt_ids"/"prompt_ids"/; s/"input_ids"/"prompt_ids"/' "$work/long.jsonl" >"$work/longprompt.jsonl"
run generate "$models/tiny-llama" --prompts "$work/longprompt.jsonl"
ok "a prompt beyond the context is refused" refused 2

done_testing
