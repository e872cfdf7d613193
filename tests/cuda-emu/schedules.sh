#!/bin/sh
# SPDX-License-Identifier: MIT
# Every kernel of the CUDA backend conforms on the emulated GPU, in three orders of threads and blocks.
set -u
module=$top_builddir/tests/cuda-emu/cuda-emu.so
[ -r "$module" ] || { echo "1..0 # SKIP the emulation is not built: no g++ (see configure)"; exit 0; }
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
run() {
    REIN_EMU_SCHEDULE=$1 REIN_EMU_STREAMS=$2 "$top_builddir/rein-conform" backend "$module" >"$out/$1" 2>&1
    echo $? >"$out/$1.status"
}
run reverse random:5 & run interleaved eager & run random:11 lazy & wait
n=0
for schedule in reverse interleaved random:11; do
    n=$((n + 1))
    if [ "$(cat "$out/$schedule.status")" -eq 0 ] && [ "$(grep -c '^ok' "$out/$schedule")" -gt 40 ]; then
        echo "ok $n - $schedule"
    else
        echo "not ok $n - $schedule"
        grep -v '^ok' "$out/$schedule" | sed 's/^/# /' | head -30
    fi
done
echo "1..$n"
