#!/bin/sh
# SPDX-License-Identifier: MIT
# A backend on its device (`make check-gpu`): every kernel against the reference, the engine's golden and property tests,
# and the first steps of the demo against the same on cpu-blas. Skipped, with the reason, where there is no device.
#   REIN_GPU_BACKEND: another backend to be held to the same (default cuda)
set -u
name=${REIN_GPU_BACKEND-cuda}
rein=$top_builddir/rein
module=$top_builddir/modules/backends/$name.so
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
n=0

if [ ! -e "$module" ]; then
    echo "1..0 # SKIP $name was not built"
    exit 0
fi
probe=$("$rein" plugins "$name" --json | tr -d '\n')
if echo "$probe" | grep -q '"score": *0[,} ]'; then
    echo "1..0 # SKIP $(echo "$probe" | sed 's/.*"reason": *"\([^"]*\)".*/\1/')"
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
for narrow in expand split; do
    holds "every kernel, narrow: $narrow" "$top_builddir/rein-conform" backend "$module" --set narrow=$narrow
done
for option in narrow=round tf32=true; do # which round the factors
    holds "every kernel, $option" "$top_builddir/rein-conform" backend "$module" --set $option --tolerance 1e-2
done
for t in check_engine check_families check_pitfalls check_sharing; do
    holds "$t" env REIN_TEST_BACKEND="$name" "$top_builddir/tests/engine/$t"
done

# demo NAME OPTION...: ten steps of each stage of the demo
demo() {
    to=$1
    shift
    "$rein" run "$srcdir/conf/demo/pipeline.yaml" --set output="$tmp/$to" --set sft.train.steps=10 --set quality.train.steps=10 \
        --set align.train.steps=10 "$@" >"$tmp/$to.log" 2>&1
}
holds "the demo on cpu-blas" demo cpu --backend cpu-blas
holds "the demo on $name" demo gpu --backend "$name"
# same FILE: the losses and rewards of two runs' metrics agree within 1e-4 of 1 or of their size
same() {
    paste -d '\n' "$tmp/cpu/$1" "$tmp/gpu/$1" | awk '
    { for (rest = $0; match(rest, /"(loss|objective\/scores|objective\/kl)": *[-+0-9.e]+/); rest = substr(rest, RSTART + RLENGTH)) {
          split(substr(rest, RSTART, RLENGTH), pair, /": */)
          if (NR % 2) first[pair[1]] = pair[2]
          else {
              d = first[pair[1]] - pair[2]; size = pair[2] < 0 ? -pair[2] : pair[2]; if (size < 1) size = 1
              if (d < 0) d = -d
              count++
              if (d > 1e-4 * size) { print "line " NR / 2 ": " pair[1] " is " pair[2] ", on the CPU " first[pair[1]]; bad = 1 }
          } } }
    END { exit bad || count == 0 }'
}
for stage in sft quality align; do
    holds "$stage: the same losses and rewards for ten steps" same $stage/metrics.jsonl
done
echo "1..$n"
