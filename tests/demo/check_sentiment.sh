#!/bin/sh
# SPDX-License-Identifier: MIT
# prepare_sentiment.py keeps its groups apart and says where a line is wrong. Sentences made up here.
set -u
command -v python3 >/dev/null || { echo "1..0 # SKIP no python3"; exit 0; }
prepare=$srcdir/conf/pipelines/prepare_sentiment.py
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
n=0
ok() {
    n=$((n + 1))
    if [ "$1" -eq 0 ]; then echo "ok $n - $2"; else echo "not ok $n - $2"; fi
}
echo 1..5

awk 'BEGIN { for (i = 0; i < 4000; i++)
    printf "{\"text\": \"film %d of %d is %s indeed\", \"label\": %d}\n", i, i % 7, i % 2 ? "good" : "bad", i % 2 }' >"$tmp/in"
python3 -B "$prepare" "$tmp/in" "$tmp/out" 2>/dev/null && python3 -B "$prepare" "$tmp/in" "$tmp/again" 2>/dev/null
ok $? "data is made of 4000 sentences"
diff -r "$tmp/out" "$tmp/again" >/dev/null
ok $? "the same twice"

# the number of the film names the sentence
films() { cat "$@" | grep -o 'film [0-9]*' | sort -u; }
(
    cd "$tmp/out" || exit
    films sft.jsonl >sft; films pairs.jsonl >rm; films judge-pairs.jsonl >judge
    films sft-eval.jsonl pairs-eval.jsonl held-out.jsonl >held; films prompts.jsonl >prompts
    [ "$(cat sft rm judge held | sort | uniq -d | wc -l)" -eq 0 ] &&
        [ "$(cat prompts judge held | sort | uniq -d | wc -l)" -eq 0 ] && [ -s sft ] && [ -s judge ] && [ -s held ]
)
ok $? "no sentence is in two groups"
grep -q '"chosen": " film [0-9]* of [0-9] is bad\|"rejected": " film [0-9]* of [0-9] is good' "$tmp/out"/*pairs*.jsonl
[ $? -eq 1 ]
ok $? "positive sentences are chosen, negative ones rejected"

printf '{"text": "a b c d e f g", "label": 1}\n{"text": "h"}\n' >"$tmp/bad"
python3 -B "$prepare" "$tmp/bad" "$tmp/none" 2>&1 | grep -q "bad:2:" && [ ! -e "$tmp/none" ]
ok $? "a bad line is refused with its place"
