#!/bin/sh
# SPDX-License-Identifier: MIT
# Installs what the tests need (Debian: by apt-get), builds with warnings as errors and runs all tests, the slow
# ones too.   tests/run.sh [BUILD-FOLDER [CONFIGURE-OPTION ...]]      REIN_FAST=1 leaves the slow tests out.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
umask 022
build=${1-$("$top/conf/build-folder.sh" build-tests)}
[ $# -eq 0 ] || shift
jobs=-j$(nproc 2>/dev/null || echo 2)

"$top/conf/packages.sh" tests
[ -x "$top/configure" ] || "$top/bootstrap"
mkdir -p "$build"
cd "$build"
# results of an earlier run must not be counted
find . -name '*.trs' -exec rm -f {} +
"$top/configure" --enable-werror --with-cuda=no "$@"
status=0
make "$jobs"
make "$jobs" -k check || status=1
[ -n "${REIN_FAST-}" ] || make check-slow || status=1
# .ci/run adds up by itself, so that its output has one such line
if [ -z "${REIN_NO_TALLY-}" ]; then "$top/tests/tally.sh" . || status=1; fi
exit $status
