#!/bin/sh
# SPDX-License-Identifier: MIT
# Every backend of the tree, and every instruction set level that this processor has, conforms.
set -u
top=${top_builddir:-.}
module=$top/backends/.libs/cpu-blas.so
n=0

# holds OUTPUT-NAME COMMAND...: one TAP line; what failed inside follows as comments
holds() {
    n=$((n + 1))
    name=$1
    shift
    if out=$("$@" 2>&1); then
        echo "ok $n - $name"
    else
        echo "not ok $n - $name"
        echo "$out" | grep -v '^ok' | sed 's/^/# /' | head -40
    fi
}
lacks() {
    [ -r /proc/cpuinfo ] && ! grep -q "^flags.* $1" /proc/cpuinfo
}
level() {
    if [ -n "$2" ] && lacks "$2"; then
        n=$((n + 1))
        echo "ok $n - cpu-blas, isa $1 # SKIP no $2 here"
    else
        holds "cpu-blas, isa $1" "$top/rein-conform" backend "$module" --set isa="$1" --set gemm=own
    fi
}

holds "the reference" "$top/rein-conform" backend ref
level baseline ""
case $(uname -m) in
x86_64)
    level v3 avx2
    level v4 avx512dq
    ;;
esac
holds "cpu-blas, products by the BLAS library" "$top/rein-conform" backend "$module" --set gemm=blas
n=$((n + 1))
"$top/rein-conform" backend "$module" --set isa=v9 >/dev/null 2>&1
[ $? -eq 2 ] && echo "ok $n - an unknown level is refused" || echo "not ok $n - an unknown level is refused"
echo "1..$n"
