#!/bin/sh
# SPDX-License-Identifier: MIT
# One call into CUDA or cuBLAS fails: each of the backend's own in turn, and in a small pipeline some of them (every_fault.sh: all).
# No crash, no hang, nothing left, the error's name, and exit code 1.
set -u
module=$top_builddir/tests/cuda-emu/cuda-emu.so
[ -r "$module" ] || { echo "1..0 # SKIP the emulation is not built: no g++ (see configure)"; exit 0; }
runs=$top_builddir/tests/cuda-emu/faults-${every_fault:-some}
REIN_PLUGIN_PATH=$runs/modules:$top_builddir/modules
export REIN_PLUGIN_PATH every_fault
# pipeline N: the N-th call fails; the exit code
pipeline() {
    REIN_EMU_FAIL=$1 timeout 60 "$top_builddir/rein" run "$runs/faults.yaml" --backend cuda --threads 1 \
        --set output="$runs/$1" >"$runs/$1.log" 2>&1
    status=$?
    rm -rf "${runs:?}/$1"
    return $status
}
if [ $# -eq 2 ]; then # N CALLS: complains about what is wrong when the N-th of so many calls fails
    pipeline "$1"
    status=$?
    why=
    grep -q 'cuda-emu: .*, one did; 0 things are left' "$runs/$1.log" || why="something is left"
    grep -q 'rein: .*\(cudaError\|CUBLAS_STATUS_\)[A-Z]' "$runs/$1.log" || why="no name of an error"
    [ $status -eq 1 ] || why="exit code $status"
    # counting devices comes before the backend is chosen; closing has no status
    [ "$1" -le 3 ] && [ $status -eq 2 ] && grep -q 'cannot run here: .*cudaError' "$runs/$1.log" && why=
    [ "$1" -gt $(($2 - 3)) ] && [ $status -eq 0 ] && grep -q 'one did; 0 things are left' "$runs/$1.log" && why=
    if [ -n "$why" ]; then
        echo "# call $1: $why"
        sed 's/^/#   /' "$runs/$1.log"
    fi
    rm -f "$runs/$1.log"
    exit 0
fi
echo 1..3
# a module's file is named as its plugin
rm -rf "$runs" && mkdir -p "$runs/modules/backends" "$runs/model" && cp "$module" "$runs/modules/backends/cuda.so" &&
    cp "$srcdir"/conf/demo/model/* "$runs/model" && cp "$srcdir/tests/cuda-emu/faults.yaml" "$runs" &&
    chmod -R u+w,go-w "$runs" || exit 1
trap 'rm -rf "$runs"' EXIT
sed 's/"num_hidden_layers": *[0-9]*/"num_hidden_layers": 1/' "$srcdir/conf/demo/model/config.json" >"$runs/model/config.json"
head -n 1 "$srcdir/conf/demo/data/prompts.jsonl" >"$runs/prompts.jsonl"
head -n 1 "$srcdir/conf/demo/data/pairs.jsonl" >"$runs/pairs.jsonl"

if out=$("$top_builddir/tests/cuda-emu/faults" 2>&1); then
    echo "ok 1 - every call and every kernel of the backend fails once"
else
    echo "not ok 1 - every call and every kernel of the backend fails once"
    echo "$out" | grep -v '^ok' | sed 's/^/# /' | head -20
fi
pipeline 1000000000
status=$?
calls=$(sed -n 's/^cuda-emu: \([0-9]*\) calls could fail, none did; 0 things are left$/\1/p' "$runs/1000000000.log")
if [ $status -eq 0 ] && [ "${calls:-0}" -gt 500 ]; then
    echo "ok 2 - a pipeline without faults"
else
    echo "not ok 2 - a pipeline without faults"
    sed 's/^/# /' "$runs/1000000000.log"
    exit 0
fi
step=$((${every_fault:+1} + 0))
[ $step -eq 1 ] || step=$((calls / 14))
bad=$(seq 1 $step "$calls" | xargs -P 2 -n 1 sh -c 'sh "$0" "$2" "$1"' "$0" "$calls")
name="call 1 of $calls fails, and so on in steps of $step"
if [ -z "$bad" ]; then echo "ok 3 - $name"; else echo "not ok 3 - $name" && echo "$bad" | head -60; fi
