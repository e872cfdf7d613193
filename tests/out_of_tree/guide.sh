#!/bin/sh
# SPDX-License-Identifier: MIT
# The guide for authors, conf/doc/writing-plugins.md, done as it says: its sh blocks run in order, its diff blocks are
# applied, what it says fails has to, and its worked example is right. TAP.
#   guide.sh [SOURCE-FOLDER BINDIR PLUGINDIR DATADIR]; CC, CFLAGS and PKG_CONFIG_PATH in the environment. Without arguments:
# of the build folder, and a few steps of training instead of all.
set -u
quick=
if [ $# -eq 0 ]; then
    set -- "$srcdir" "$top_builddir" "$top_builddir/modules" "$srcdir/conf"
    export PKG_CONFIG_PATH="$top_builddir/core"
    quick="--set sft.train.steps=3 --set mine.train.steps=3"
fi
source=$1 bin=$2 plugins=$3 data=$4
guide=$source/conf/doc/writing-plugins.md
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
export REIN_PLUGIN_PATH="$plugins" HOME="$dir/home" PATH="$dir/bin:$bin:$PATH"
unset REIN_BACKEND REIN_MACHINE XDG_DATA_HOME DESTDIR MAKEFLAGS MFLAGS MAKELEVEL
umask 022
mkdir "$dir/bin" "$dir/home" "$dir/guide" "$dir/example"

# The demo may be staged, the compiler may be told of sanitizers, and the steps may be few.
export REAL_MAKE="$(command -v make)" REAL_REIN="$bin/rein" DEMO="$data/demo" QUICK="$quick" SANITIZE="${CFLAGS-}"
export CC="${CC-cc}" PKG_CONFIG="${PKG_CONFIG-pkg-config}"
unset CFLAGS
cat >"$dir/bin/make" <<'WRAPPER'
#!/bin/sh
[ -z "$SANITIZE" ] || set -- "$@" CFLAGS="-O1 -Wall $SANITIZE" LDFLAGS=
exec "$REAL_MAKE" "$@" DEMO="$DEMO" CC="$CC" PKG_CONFIG="$PKG_CONFIG"
WRAPPER
cat >"$dir/bin/rein" <<'WRAPPER'
#!/bin/sh
if [ "${1-}" = run ] && [ -f mine.c ]; then
    exec "$REAL_REIN" "$@" $QUICK
fi
exec "$REAL_REIN" "$@"
WRAPPER
chmod 755 "$dir/bin/make" "$dir/bin/rein"

n=0 bad=0
ok() { # STATUS TEXT
    n=$((n + 1))
    [ "$1" -eq 0 ] && echo "ok $n - $2" || { echo "not ok $n - $2"; bad=1; }
}

awk '
    /^```sh fails$/ { print "if ("; fails = 1; inside = 1; next }
    /^```sh$/ { inside = 1; next }
    /^```diff$/ { print "patch -s -p1 <<\"END_OF_PATCH\""; patch = 1; inside = 1; next }
    /^```$/ {
        if (fails) print "); then echo it should have failed; exit 1; fi"
        if (patch) print "END_OF_PATCH"
        inside = fails = patch = 0
    }
    inside { print }' "$guide" >"$dir/script"
[ "$(grep -c '^make check' "$dir/script")" -ge 3 ] && [ "$(grep -c END_OF_PATCH "$dir/script")" -eq 6 ]
ok $? "the guide has its commands"
(cd "$dir/guide" && sh -eu "$dir/script") >"$dir/log" 2>&1
status=$?
[ $status -eq 0 ] || tail -40 "$dir/log" | sed 's/^/# /'
ok $status "its commands work, in order"
grep -q '^not ok .*prompts: d_logp is the derivative of loss' "$dir/log" &&
    grep -q '^# d_logp.*loss() wrote .*, but the loss it returns changes by' "$dir/log"
ok $? "rein-conform says what the guide says it says"
metrics=$dir/guide/mine/run/mine/metrics.jsonl
if [ -z "$quick" ]; then
    sed -n 's/.*"reward":\([^,]*\),.*/\1/p' "$metrics" | awk 'NR <= 5 { a += $1 / 5 } { last[NR % 5] = $1 }
        END { for (i in last) b += last[i] / 5; print "# reward " a " at first, " b " at last"; exit !(NR > 9 && b > a + 0.1) }'
    ok $? "the model learns what the guide says it learns"
else
    [ "$(grep -c '"loss"' "$metrics")" -eq 3 ]
    ok $? "its pipeline runs"
fi
[ -s "$dir/guide/mine/run/report.html" ]
ok $? "there is a report to look at"

awk '/^```c$/ { inside = 1; next } /^```$/ { inside = 0 } inside' "$guide" >"$dir/example/test.c"
sed 's/my-name/mine/g' "$source/conf/templates/algorithm/my-name.c" >"$dir/example/mine.c"
# shellcheck disable=SC2046,SC2086
$CC -std=c11 -Wall -Wextra -Werror $SANITIZE $($PKG_CONFIG --cflags rein) -o "$dir/example/test" "$dir/example/test.c" -lm &&
    "$dir/example/test" >"$dir/log" && grep -q '^0.05625 = 0.20625 + -0.15000$' "$dir/log"
ok $? "its worked example is right"
echo "1..$n"
exit $bad
