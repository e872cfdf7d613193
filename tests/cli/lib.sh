# SPDX-License-Identifier: MIT
# For shell tests: TAP, and the program of this build. Source it; `ok NAME COMMAND...` is one test; end with `done_testing`.
tests=0
failed=0
rein=$top_builddir/rein
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

ok() {
    tests=$((tests + 1))
    name=$1
    shift
    if "$@"; then
        echo "ok $tests - $name"
    else
        echo "not ok $tests - $name"
        failed=1
    fi
}

# runs the program; leaves $status, $work/out and $work/err
run() {
    status=0
    "$rein" "$@" >"$work/out" 2>"$work/err" || status=$?
    sed 's/^/# /' "$work/err"
}

# exits EXPECTED-STATUS and says nothing on stdout
refused() { [ "$status" -eq "$1" ] && [ ! -s "$work/out" ] && [ "$(wc -l <"$work/err")" -le 3 ]; }
says() { grep -qF -- "$1" "$work/err"; }
prints() { grep -qF -- "$1" "$work/out"; }

done_testing() {
    echo "1..$tests"
    exit $failed
}
