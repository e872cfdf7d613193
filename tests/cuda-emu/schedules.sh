#!/bin/sh
# SPDX-License-Identifier: MIT
# Every kernel of the CUDA backend conforms on the emulated GPU, in three orders of threads and blocks; and those that multiply
# with each way of rounding.
set -u
module=$top_builddir/tests/cuda-emu/cuda-emu.so
[ -r "$module" ] || { echo "1..0 # SKIP the emulation is not built: no g++ (see configure)"; exit 0; }
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
# run SCHEDULE STREAMS NAME LEAST [OPTION]...
run() {
    schedule=$1 streams=$2 name=$3 least=$4
    shift 4
    if REIN_EMU_SCHEDULE=$schedule REIN_EMU_STREAMS=$streams "$top_builddir/rein-conform" backend "$module" "$@" >"$out/$name" 2>&1 &&
        [ "$(grep -c '^ok' "$out/$name")" -ge "$least" ]; then
        : >"$out/$name.good"
    fi
}
options() { # as check-gpu sets them
    run forward eager split 18 --only head --set narrow=split --set workspace=1
    run reverse lazy round 18 --only head --set narrow=round --tolerance 3e-2
    run interleaved lazy tf32 18 --only head --set tf32=true --tolerance 3e-2
    run forward lazy split-sample 15 --only sample --set narrow=split
    run random:4 eager round-sample 15 --only sample --set narrow=round --tolerance 3e-2
    run reverse lazy tf32-sample 15 --only sample --set tf32=true --tolerance 3e-2
    run forward lazy tf32-linear 22 --only linear --set tf32=true --tolerance 3e-2
}
run reverse random:5 reverse 41 --set workspace=1 & run interleaved eager interleaved 41 &
run random:11 lazy random 41 --set workspace=1 & options & wait
n=0
for name in reverse interleaved random split round tf32 split-sample round-sample tf32-sample tf32-linear; do
    n=$((n + 1))
    if [ -e "$out/$name.good" ]; then
        echo "ok $n - $name"
    else
        echo "not ok $n - $name"
        grep -v '^ok' "$out/$name" | sed 's/^/# /' | head -30
    fi
done
echo "1..$n"
