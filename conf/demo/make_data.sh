#!/bin/sh
# SPDX-License-Identifier: MIT
# Writes the demo's data into a folder:  make_data.sh [FOLDER]     (the folder of this script's data/ by default)
# The same bytes on every machine and with every awk.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1-$here/data}
mkdir -p "$out"
LC_ALL=C exec "${AWK:-awk}" -v out="$out" -f "$here/grammar.awk" -f "$here/make_data.awk"
