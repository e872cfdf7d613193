#!/bin/sh
# SPDX-License-Identifier: MIT
# The emulation computes what a GPU would, in every order of threads and with work put off or done at once.
set -u
check=$top_builddir/tests/cuda-emu/check_emu
[ -x "$check" ] || { echo "1..0 # SKIP the emulation is not built: no g++ (see configure)"; exit 0; }
n=0
# run NAME=VALUE: all checks of check_emu.cu under this setting
run() {
    n=$((n + 1))
    if out=$(env "$1" "$check" 2>&1) && echo "$out" | grep -q '^1\.\.[1-9]'; then
        echo "ok $n - $1"
    else
        echo "not ok $n - $1"
        echo "$out" | grep -v '^ok' | sed 's/^/# /'
    fi
}
run REIN_EMU_SCHEDULE=forward
run REIN_EMU_SCHEDULE=reverse
run REIN_EMU_SCHEDULE=interleaved
run REIN_EMU_SCHEDULE=random:5
run REIN_EMU_STREAMS=eager
run REIN_EMU_STREAMS=random:9
n=$((n + 1))
out=$(REIN_EMU_SCHEDULE=sideways "$check" 2>&1)
if [ $? -eq 86 ] && echo "$out" | grep -q 'sideways: expected one of forward, reverse'; then
    echo "ok $n - an unknown schedule is refused"
else
    echo "not ok $n - an unknown schedule is refused"
fi
echo "1..$n"
