#!/bin/sh
# SPDX-License-Identifier: MIT
# The engine's tests on the emulated GPU, as `make check-gpu` runs them on a real one: they touch no device memory themselves.
set -u
. "$srcdir/tests/backends/device.sh"
module=$top_builddir/tests/cuda-emu/cuda-emu.so
[ -r "$module" ] || { echo "1..0 # SKIP the emulation is not built: no g++ (see configure)"; exit 0; }
runs=$top_builddir/tests/cuda-emu/engine
# a module's file is named as its plugin
rm -rf "$runs" && mkdir -p "$runs/modules/backends" && cp "$module" "$runs/modules/backends/cuda.so" && chmod -R go-w "$runs" || exit 1
trap 'rm -rf "$runs"' EXIT
REIN_PLUGIN_PATH=$runs/modules REIN_TEST_BACKEND=cuda
export REIN_PLUGIN_PATH REIN_TEST_BACKEND
n=0
for check in $engine_checks; do
    n=$((n + 1))
    if [ ! -x "$top_builddir/tests/engine/$check" ]; then
        echo "ok $n - $check # SKIP not built"
    elif out=$("$top_builddir/tests/engine/$check" 2>&1); then
        echo "ok $n - $check"
    else
        echo "not ok $n - $check"
        echo "$out" | grep -v '^ok' | sed 's/^/# /' | tail -n 20
    fi
done
echo "1..$n"
