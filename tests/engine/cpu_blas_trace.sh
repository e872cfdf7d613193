#!/bin/sh
# SPDX-License-Identifier: MIT
# The tests of what sampling records once more, on the backend that people use.
if [ ! -e "$top_builddir/modules/backends/cpu-blas.so" ]; then
    echo "1..0 # SKIP cpu-blas was not built"
    exit 0
fi
REIN_TEST_BACKEND=cpu-blas exec "$top_builddir/tests/engine/check_trace"
