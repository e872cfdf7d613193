#!/bin/sh
# SPDX-License-Identifier: MIT
# Builds rein, in build-demo/ usually, and runs the demo (a few minutes in all). On Debian it first installs what the build
# needs.   run.sh [OPTION OF demo.sh ...]
set -eu
top=$(cd "$(dirname "$0")/../.." && pwd)
"$top/conf/packages.sh"
[ -x "$top/configure" ] || "$top/bootstrap"
umask 022
build=$("$top/conf/build-folder.sh" build-demo)
mkdir -p "$build"
cd "$build"
[ -f Makefile ] || "$top/configure" --with-cuda=no
make -j"$(nproc 2>/dev/null || echo 2)"
# the plugins of this build, not installed ones
REIN_PLUGIN_PATH=$build/modules
export REIN_PLUGIN_PATH
exec "$top/conf/demo/demo.sh" --rein "$build/rein" --out "$build/demo" "$@"
