#!/bin/sh
# SPDX-License-Identifier: MIT
# A backend on its device (`make check-gpu`): every kernel against the reference, the engine's golden and property tests,
# and ten steps of the demo and of every algorithm against the same on cpu-blas. Skipped, with the reason, where there is no device.
#   REIN_GPU_BACKEND: another backend to be held to the same (default cuda)
set -u
name=${REIN_GPU_BACKEND-cuda}
rein=$top_builddir/rein
module=$top_builddir/modules/backends/$name.so
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
n=0

. "$srcdir/tests/backends/device.sh"
why=$(why_not "$name")
if [ -n "$why" ]; then
    echo "1..0 # SKIP $why"
    exit 0
fi

# holds OUTPUT-NAME COMMAND...: one TAP line; what failed inside follows as comments
holds() {
    n=$((n + 1))
    title=$1
    shift
    if out=$("$@" 2>&1); then
        echo "ok $n - $title"
    else
        echo "not ok $n - $title"
        echo "$out" | grep -v '^ok' | sed 's/^/# /' | head -40
    fi
}
for options in narrow=expand narrow=split workspace=1; do
    holds "every kernel, $options" "$top_builddir/rein-conform" backend "$module" --set $options
done
for option in narrow=round tf32=true; do # which round the factors
    holds "every kernel, $option" "$top_builddir/rein-conform" backend "$module" --set $option --tolerance 3e-2
done
for t in $engine_checks; do
    holds "$t" env REIN_TEST_BACKEND="$name" "$top_builddir/tests/engine/$t"
done

# ten TO BACKEND: ten steps of each stage of the demo, and of every algorithm
ten() {
    "$rein" run "$srcdir/conf/demo/pipeline.yaml" --set output="$tmp/$1/demo" --set sft.train.steps=10 \
        --set quality.train.steps=10 --set align.train.steps=10 --backend "$2" &&
        "$rein" run "$srcdir/tests/cuda-emu/pipeline.yaml" --set output="$tmp/$1/all" --backend "$2"
}
holds "the pipelines on cpu-blas" ten cpu cpu-blas
holds "the pipelines on $name" ten gpu "$name"
for stage in demo/sft demo/quality demo/align all/sft all/quality all/ppo all/grpo all/dpo; do
    holds "$stage: the same losses and rewards for ten steps" same "$tmp/cpu/$stage/metrics.jsonl" "$tmp/gpu/$stage/metrics.jsonl"
done
echo "1..$n"
