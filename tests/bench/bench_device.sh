#!/bin/sh
# SPDX-License-Identifier: MIT
# make bench on a GPU: its kernels, then sampling and training steps; where there is none, why.
#     bench_device.sh BUILD [OPTION]...      options are those of bench_steps.sh
#   BENCH_DEVICE   the backend (default cuda)
set -eu
top_builddir=$(cd "${1:?usage: bench_device.sh BUILD [OPTION]...}" && pwd)
shift
name=${BENCH_DEVICE:-cuda} here=$(dirname "$0")
REIN_PLUGIN_PATH=$top_builddir/modules
export REIN_PLUGIN_PATH
. "$here/../backends/device.sh"
why=$(why_not "$name")
if [ -n "$why" ]; then
    echo "# no bench on $name: $why"
    exit 0
fi
# conformance runs first, and must hold: a wrong kernel's speed is no speed
if ! kernels=$("$top_builddir/rein-conform" backend "$top_builddir/modules/backends/$name.so" --perf 2>&1); then
    echo "$kernels" | grep '^not ok'
    echo "bench_device.sh: $name does not conform" >&2
    exit 1
fi
echo "$kernels" | grep 'GFLOP/s\|GB/s'
REIN_BACKEND=$name BENCH_DIR=${BENCH_DIR:-$top_builddir/bench.out/$name} exec sh "$here/bench_steps.sh" "$top_builddir" "$@"
