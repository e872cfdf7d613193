#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs the demo's pipeline and shows what changed.   demo.sh [--out FOLDER] [--rein PROGRAM] [OPTION OF rein run ...]
# A last line "RESULT ..." holds the figures for scripts. One thread: the model is so small that a second one would mostly
# wait, and the numbers come out alike however many cores there are.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
rein=${REIN-rein}
out=rein-demo
while [ $# -gt 0 ]; do
    case $1 in
    --out) out=$2; shift 2 ;;
    --rein) rein=$2; shift 2 ;;
    *) break ;;
    esac
done
awk=${AWK:-awk}
case $out in /*) ;; *) out=$PWD/$out ;; esac

started=$(date +%s)
times=$(mktemp)
trap 'rm -f "$times"' EXIT
# seconds of computing, which other work on the machine does not lengthen: by the second line of `times`, before and after
times >"$times"
"$rein" run "$here/pipeline.yaml" --threads 1 --set output="$out" --overwrite "$@"
times >>"$times"
seconds=$(($(date +%s) - started))
cpu=$("$awk" 'NR % 2 == 0 { split($1, u, /[ms]/); split($2, s, /[ms]/); last = now
    now = (u[1] + s[1]) * 60 + u[2] + s[2] } END { printf "%d", now - last + 1 }' "$times")

# One reply of each stage's model to every prompt that no stage has seen.
held=$here/data/held-out.jsonl
for stage in sft align; do
    "$rein" generate "$out/$stage/model" --prompts "$held" --max-tokens 16 --temperature 1 --seed 1 --json \
        >"$out/replies-$stage.jsonl"
    "$awk" -f "$here/grammar.awk" -f "$here/judge.awk" "$held" "$out/replies-$stage.jsonl" >"$out/gold-$stage.txt"
done
read -r replies before form_before help_before kind_before <"$out/gold-sft.txt"
read -r replies after form_after help_after kind_after <"$out/gold-align.txt"
accuracy=$("$rein" eval "$out/quality/model" "$here/data/pairs-eval.jsonl" --json |
    sed -n 's/.*"accuracy"[^0-9]*\([0-9.]*\).*/\1/p' | "$awk" '{ printf "%.3f", $1 }')

echo
echo "Replies to questions that no stage has seen, before and after PPO (+ good, - not, by the gold rule):"
"$awk" -v show=6 -f "$here/grammar.awk" -f "$here/judge.awk" "$held" "$out/replies-sft.jsonl" "$out/replies-align.jsonl"
echo
echo "Of $replies replies      before   after"
echo "  good              $before   $after"
echo "  well formed       $form_before   $form_after"
echo "  to the question   $help_before   $help_after"
echo "  courteous         $kind_before   $kind_after"
echo "The reward model prefers the better of two replies in $accuracy of the held-out pairs."
echo
echo "Reward and distance from the first model while PPO ran:"
"$awk" -f "$here/show.awk" "$out/align/metrics.jsonl"
echo
echo "Training took $seconds seconds ($cpu of computing). Curves and samples: $out/report.html"
echo "RESULT before=$before after=$after accuracy=$accuracy seconds=$seconds cpu=$cpu"
