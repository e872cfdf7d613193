#!/bin/sh
# SPDX-License-Identifier: MIT
# The CUDA backend conforms on the emulated GPU; here the kernels that take seconds, in schedules.sh every one in three orders.
set -u
module=$top_builddir/tests/cuda-emu/cuda-emu.so
[ -r "$module" ] || { echo "1..0 # SKIP the emulation is not built: no g++ (see configure)"; exit 0; }
n=0
# conforms KERNEL SCHEDULE [OPTION]...
conforms() {
    n=$((n + 1)) kernel=$1 schedule=$2
    shift 2
    if out=$(REIN_EMU_SCHEDULE=$schedule "$top_builddir/rein-conform" backend "$module" --only "$kernel" "$@" 2>&1); then
        echo "ok $n - $kernel, $schedule $*"
    else
        echo "not ok $n - $kernel, $schedule $*"
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
conforms linear reverse --set narrow=split --set workspace=1
conforms linear interleaved --set workspace=1
# activations are rounded to 8 bits
conforms linear forward --set narrow=round --tolerance 5e-3
n=$((n + 1))
if out=$("$top_builddir/tests/cuda-emu/narrow" 2>&1); then
    echo "ok $n - products with narrow weights are as exact as is promised"
else
    echo "not ok $n - products with narrow weights are as exact as is promised"
    echo "$out" | grep -v '^ok' | sed 's/^/# /'
fi
n=$((n + 1))
if "$top_builddir/rein-conform" backend "$module" --only cast | grep -q '^ok .* 21 of 21 kernels are provided$'; then
    echo "ok $n - no slot of the table is empty"
else
    echo "not ok $n - no slot of the table is empty"
fi
echo "1..$n"
