#!/bin/sh
# SPDX-License-Identifier: MIT
# What `rein new` writes builds with `pkg-config rein` alone, conforms and trains. TAP.
#   new.sh [BINDIR PLUGINDIR DATADIR]; CC, CFLAGS and PKG_CONFIG_PATH in the environment. Without arguments: of the build folder.
set -u
if [ $# -eq 0 ]; then
    set -- "$top_builddir" "$top_builddir/modules" "$srcdir/conf"
    export PKG_CONFIG_PATH="$top_builddir/core"
fi
bin=$1 plugins=$2 data=$3
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
REIN_PLUGIN_PATH=$plugins
export REIN_PLUGIN_PATH
unset REIN_BACKEND REIN_MACHINE DESTDIR MAKEFLAGS MFLAGS MAKELEVEL
n=0 bad=0
ok() { # STATUS TEXT
    n=$((n + 1))
    [ "$1" -eq 0 ] && echo "ok $n - $2" || { echo "not ok $n - $2"; bad=1; }
}
project() { # GOAL: make in the project $dir/$kind, its output in log
    # a module under a sanitizer leaves symbols undefined, so no -z defs there
    make -C "$dir/$kind" "$@" CC="${CC-cc}" CFLAGS="-O1 -Wall -Wextra -Wshadow -Werror ${CFLAGS-}" \
        ${CFLAGS:+LDFLAGS=} PKG_CONFIG="${PKG_CONFIG-pkg-config}" REIN="$bin/rein" CONFORM="$bin/rein-conform" \
        DEMO="$data/demo" >"$dir/log" 2>&1
}
for kind in algorithm reward backend; do
    name=our-$kind
    (cd "$dir" && umask 002 && "$bin/rein" new "$kind" "$name" "$kind" -q)
    ok $? "rein new $kind"
    left=$(grep -rnE 'my-(name|kind)' "$dir/$kind"; find "$dir/$kind" -name '*my-*')
    [ -z "$left" ] || echo "$left" | sed 's/^/# /'
    [ -z "$left" ] && [ -f "$dir/$kind/$name.c" ] && [ -f "$dir/$kind/.gitignore" ]
    ok $? "$kind: every name is filled in"
    project check && grep -q "^$name conforms and trains" "$dir/log"
    status=$?
    [ $status -eq 0 ] || tail -30 "$dir/log" | sed 's/^/# /'
    ok $status "$kind: make check conforms and trains"
    for stage in $(sed -n 's/^  - name: *//p' "$dir/$kind/pipeline.yaml"); do
        [ "$(wc -l <"$dir/$kind/check-run/$stage/metrics.jsonl")" -ge 2 ]
        ok $? "$kind: stage $stage made two steps"
    done
    "$bin/rein" plugins "$kind/$name" --plugin-path "$dir/$kind/plugins" >"$dir/log" 2>&1
    ok $? "$kind: rein plugins finds it"
    project install DESTDIR="$dir/root" PLUGINDIR=/plugins && [ -x "$dir/root/plugins/${kind}s/$name.so" ]
    ok $? "$kind: make install"
    project clean && [ ! -e "$dir/$kind/plugins" ]
    ok $? "$kind: make clean"
done
echo "1..$n"
exit $bad
