# SPDX-License-Identifier: MIT
# For scripts that need a device: read with `.`, top_builddir set.

# why_not NAME: why this backend cannot run here; nothing when it can
why_not() {
    if [ ! -e "$top_builddir/modules/backends/$1.so" ]; then
        echo "$1 was not built"
        return
    fi
    "$top_builddir/rein" plugins "$1" --json | tr -d '\n' |
        sed -n '/"score": *0[,} ]/s/.*"reason": *"\([^"]*\)".*/\1/p'
}
