#!/bin/sh
# SPDX-License-Identifier: MIT
# The emulated GPU is two: the policy on one, its reward model on the other. Memory of one that is used on the other ends the
# process, and so would a stream.
set -u
module=$top_builddir/tests/cuda-emu/cuda-emu.so
[ -r "$module" ] || { echo "1..0 # SKIP the emulation is not built: no g++ (see configure)"; exit 0; }
runs=$top_builddir/tests/cuda-emu/devices
rm -rf "$runs" && mkdir -p "$runs/modules/backends" && cp "$module" "$runs/modules/backends/cuda.so" &&
    cp -r "$srcdir/conf/demo/model" "$srcdir/tests/cuda-emu/faults.yaml" "$runs" && chmod -R u+w,go-w "$runs" || exit 1
trap 'rm -rf "$runs"' EXIT
head -n 4 "$srcdir/conf/demo/data/prompts.jsonl" >"$runs/prompts.jsonl"
head -n 2 "$srcdir/conf/demo/data/pairs.jsonl" >"$runs/pairs.jsonl"
REIN_PLUGIN_PATH=$runs/modules:$top_builddir/modules
export REIN_PLUGIN_PATH
echo 1..14
n=0
ok() {
    n=$((n + 1))
    name=$1
    shift
    if "$@"; then echo "ok $n - $name"; else echo "not ok $n - $name" && sed 's/^/# /' "$runs/log"; fi
}
backend=cuda
# run NAME [OPTION]...
run() {
    name=$1
    shift
    "$top_builddir/rein" run "$runs/faults.yaml" --backend "$backend" --threads 1 -v --set output="$runs/$name" --set ppo.rollout.prompts=2 \
        "$@" >"$runs/log" 2>&1
    status=$?
}
says() { grep -q -e "$1" "$runs/log"; }
scores() { sed -n 's/.*"objective\/scores": *\([-+.0-9e]*\).*/\1/p' "$runs/$1/ppo/metrics.jsonl"; }
same() { [ -n "$(scores one)" ] && [ "$(scores one)" = "$(scores "$1")" ]; }
run one
ok "all on the first" [ $status -eq 0 ]
run two --set ppo.reward_device=1
ok "reward models on the second" [ $status -eq 0 ]
ok "which is said" says "stage ppo: reward models on backend cuda: device 1: emulated GPU 1"
ok "with the same scores" same two
run swapped --device 1 --set ppo.reward_backend=cuda --set ppo.reward_device=0
ok "and the other way round" same swapped
run beside --device 1 --set ppo.reward_backend=cuda
ok "the same backend without a device is the run's" says "reward models on backend cuda: device 1: emulated GPU 1"
run none --set ppo.reward_device=2
ok "one that is not there is refused" says "reward_device=2: backend cuda: there is no device 2; it has 2"
ok "with exit code 2" [ $status -eq 2 ]
run none --device 2
ok "and for the policy too" says "backend cuda: there is no device 2; it has 2"
backend=auto
run mixed --set ppo.reward_backend=ref
ok "auto takes the GPU" says "^backend cuda: device 0: emulated GPU 0"
ok "with the reward model on the CPU" says "stage ppo: reward models on backend ref: "
near() { [ -n "$(scores "$1")" ] && awk -v a="$(scores one)" -v b="$(scores "$1")" 'BEGIN { exit !(a - b < 1e-5 && b - a < 1e-5) }'; }
ok "scores are the same but for rounding" near mixed
# check BACKEND
check() {
    "$top_builddir/rein" check "$runs/faults.yaml" --backend "$1" >"$runs/log" 2>&1
    status=$?
}
check cuda
ok "models on a device are not held against the machine's memory" sh -c '[ "$1" -eq 0 ] && grep -q "at once, in ppo\.$" "$2"' - $status "$runs/log"
check ref
ok "those on the CPU are" says "at once, in ppo; this machine has "
