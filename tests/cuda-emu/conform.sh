#!/bin/sh
# SPDX-License-Identifier: MIT
# The CUDA backend conforms on the emulated GPU; here the kernels that take seconds, in schedules.sh every one in three orders.
set -u
module=$top_builddir/tests/cuda-emu/cuda-emu.so
[ -r "$module" ] || { echo "1..0 # SKIP the emulation is not built: no g++ (see configure)"; exit 0; }
n=0
# conforms KERNEL SCHEDULE
conforms() {
    n=$((n + 1))
    if out=$(REIN_EMU_SCHEDULE=$2 "$top_builddir/rein-conform" backend "$module" --only "$1" 2>&1); then
        echo "ok $n - $1, $2"
    else
        echo "not ok $n - $1, $2"
        echo "$out" | grep -v '^ok' | sed 's/^/# /' | head -20
    fi
}
conforms embedding interleaved
conforms rope random:1
conforms activation forward
conforms adamw reverse
conforms sum_squares interleaved
conforms axpy random:2
conforms gather forward
conforms cast reverse
conforms perturb interleaved
n=$((n + 1))
if "$top_builddir/rein-conform" backend "$module" --only cast | grep -q '^ok .* 21 of 21 kernels are provided$'; then
    echo "ok $n - no slot of the table is empty"
else
    echo "not ok $n - no slot of the table is empty"
fi
echo "1..$n"
