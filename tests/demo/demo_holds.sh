#!/bin/sh
# SPDX-License-Identifier: MIT
# The demo's promises: after SFT at most 0.55 of the replies to held-out prompts are good by the rule that training never
# sees, after PPO at least 0.80; the reward model is right in at least 0.85 of the held-out pairs; each stage is needed.
#
# REIN_DEMO_SEEDS: which seeds to run (default 1); with five, four must hold. REIN_DEMO_SECONDS: how much computing training may
# take (default 120: under two minutes on an idle machine; 0 for no limit).
set -u
seeds=${REIN_DEMO_SEEDS-1}
limit=${REIN_DEMO_SECONDS-120}
demo=$srcdir/conf/demo
rein=$top_builddir/rein
runs=$top_builddir/demo-runs
n=0
ok() {
    n=$((n + 1))
    if [ "$1" -eq 0 ]; then echo "ok $n - $2"; else echo "not ok $n - $2"; fi
}
at_least() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a != "" && a + 0 >= b + 0) }'; }
at_most() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a != "" && a + 0 <= b + 0) }'; }
# run NAME OPTION...: sets before, after, accuracy, seconds, cpu
run() {
    name=$1
    shift
    before='' after='' accuracy='' seconds='' cpu=''
    "$demo/demo.sh" --rein "$rein" --out "$runs/$name" "$@" >"$runs/$name.txt" 2>"$runs/$name.log" ||
        { sed 's/^/# /' "$runs/$name.log" | tail -n 5; return 1; }
    eval "$(sed -n 's/^RESULT //p' "$runs/$name.txt")"
    echo "# $name: good $before before and $after after PPO, reward model right in $accuracy, $cpu of $seconds seconds computing"
}
mkdir -p "$runs"

held=0
count=0
slowest=0
for seed in $seeds; do
    count=$((count + 1))
    run "seed-$seed" --set seed="$seed" && at_most "$before" 0.55 && at_least "$after" 0.80 &&
        at_least "$accuracy" 0.85 && held=$((held + 1))
    [ "${cpu:-0}" -le "$slowest" ] || slowest=$cpu
done
[ "$held" -ge $((count * 4 / 5)) ] && [ "$held" -gt 0 ]
ok $? "the promises hold with $held of $count seeds"
[ "$limit" -eq 0 ] || [ "$slowest" -le "$limit" ]
ok $? "training takes $slowest seconds of computing"

# Without what a stage learns (its weights are not moved) the promise must break; otherwise the stage is for show.
if [ "$count" -eq 1 ]; then
    run no-sft --set sft.train.lr=1e-12 --set sft.train.epochs=1 && ! at_least "$after" 0.80
    ok $? "nothing comes of it without SFT"
    run no-rm --set quality.train.lr=1e-12 --set quality.train.epochs=1 && ! at_least "$after" 0.80 &&
        ! at_least "$accuracy" 0.85
    ok $? "nothing comes of it without the reward model"
    run no-ppo --set align.train.lr=1e-12 --set align.train.steps=8 && ! at_least "$after" 0.80
    ok $? "nothing comes of it without PPO"
fi
echo "1..$n"
