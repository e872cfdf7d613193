#!/bin/sh
# SPDX-License-Identifier: MIT
# Ten steps each of SFT, a reward model, PPO, GRPO and DPO on the emulated GPU: losses and rewards are those of cpu-blas to 1e-4.
set -u
. "$srcdir/tests/backends/device.sh"
module=$top_builddir/tests/cuda-emu/cuda-emu.so
[ -r "$module" ] || { echo "1..0 # SKIP the emulation is not built: no g++ (see configure)"; exit 0; }
runs=$top_builddir/tests/cuda-emu/runs
# a module's file is named as its plugin
rm -rf "$runs" && mkdir -p "$runs/modules/backends" && cp "$module" "$runs/modules/backends/cuda.so" &&
    chmod -R go-w "$runs" || exit 1
REIN_PLUGIN_PATH=$runs/modules:$top_builddir/modules
export REIN_PLUGIN_PATH
trap 'rm -rf "$runs"' EXIT
echo 1..7
n=0
ok() {
    n=$((n + 1))
    if [ "$1" -eq 0 ]; then echo "ok $n - $2"; else echo "not ok $n - $2"; fi
}
# the reference scores all pairs before the first step: few of them
head -n 24 "$srcdir/conf/demo/data/pairs.jsonl" >"$runs/pairs.jsonl"
for backend in cpu-blas cuda; do
    "$top_builddir/rein" run "$srcdir/tests/cuda-emu/pipeline.yaml" --threads 1 --backend $backend --set output="$runs/$backend" \
        --set dpo.data.train="$runs/pairs.jsonl" \
        >"$runs/$backend.log" 2>&1
    rc=$?
    [ $rc -eq 0 ] || sed 's/^/# /' "$runs/$backend.log" | tail -n 5
    ok $rc "the pipeline on $backend"
done
for stage in sft quality ppo grpo dpo; do
    same "$runs/cpu-blas/$stage/metrics.jsonl" "$runs/cuda/$stage/metrics.jsonl"
    ok $? "$stage: the same losses and rewards"
done
