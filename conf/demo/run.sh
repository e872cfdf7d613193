#!/bin/sh
# SPDX-License-Identifier: MIT
# Builds rein in build-demo/ and runs the demo (a few minutes in all). On Debian it first installs what the build
# needs.   run.sh [OPTION OF demo.sh ...]
set -eu
top=$(cd "$(dirname "$0")/../.." && pwd)
"$top/conf/packages.sh"
[ -x "$top/configure" ] || "$top/bootstrap"
mkdir -p "$top/build-demo"
cd "$top/build-demo"
[ -f Makefile ] || "$top/configure" --with-cuda=no
make -j"$(nproc 2>/dev/null || echo 2)"
# the plugins of this build, not installed ones
REIN_PLUGIN_PATH=$top/build-demo/modules
export REIN_PLUGIN_PATH
exec "$top/conf/demo/demo.sh" --rein "$top/build-demo/rein" --out "$top/build-demo/demo" "$@"
