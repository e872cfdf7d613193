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
    if "$top/rein-conform" backend "$module" --only axpy | grep -q '^ok .* probe: AMX'; then
        level amx ""
    else
        n=$((n + 1))
        echo "ok $n - cpu-blas, isa amx # SKIP no AMX here, or no leave to use it"
    fi
    ;;
esac
holds "cpu-blas, products by the BLAS library" "$top/rein-conform" backend "$module" --set gemm=blas
n=$((n + 1))
"$top/rein-conform" backend "$module" --set isa=v9 >/dev/null 2>&1
[ $? -eq 2 ] && echo "ok $n - an unknown level is refused" || echo "not ok $n - an unknown level is refused"

# finds WRONG KERNEL PATTERN: the backend that gets this wrong fails at that kernel, with these words
finds() {
    n=$((n + 1))
    out=$("$top/rein-conform" backend "$top/tests/backends/.libs/wrong.so" --set wrong="$1" --only "$2" 2>&1)
    if [ $? -eq 1 ] && echo "$out" | grep -q "^not ok .*" && echo "$out" | grep -q "$3"; then
        echo "ok $n - $1 is found"
    else
        echo "not ok $n - $1 is found by '$3'"
        echo "$out" | grep -v '^ok' | sed 's/^/# /' | head
    fi
}
holds "the wrong backend, while it behaves" "$top/rein-conform" backend "$top/tests/backends/.libs/wrong.so" --only axpy
finds accuracy linear '^# linear .* the reference'
finds beta linear '^# linear .* is nan'
finds generation linear '^# weights of a new generation'
finds outside axpy '^# axpy .* writes outside'
finds input axpy '^# axpy .* writes to an input'
finds random axpy '^# axpy .* different bits'
finds window attention '^# attention: .* window 7'
finds prefix attention '^# attention: shared prefix'
finds entropy head '^# head derivative .* entropy'
finds rounding cast '^# cast .* becomes'
finds banned sample '^# sample .* banned: row'
finds threads linear '^# linear .*2 threads'
finds order gather '^# gather'
finds alias norm '^# .*norm .*in place'
finds unsupported gather '^# gather .* status -3'
finds mask perturb '^# dropout .* different bits'
finds share perturb '^# dropout .* not the exact bits'
finds place perturb 'the position does not count'
finds noise perturb '^# noise: its moments'
finds leak axpy '^not ok .* close gives everything back'
finds clears axpy '^not ok .*axpy, NaN and infinity'
finds swallows axpy '^# axpy .* is 3.4[0-9e+]*, the reference.*nan'
finds wraps axpy '^not ok .*alloc: more than there is is refused'
finds sulks axpy '^not ok .*the instance can be used afterwards'
finds lies linear '^# linear .* after a failed allocation: '
finds stuck linear '^not ok .* after a failed allocation: alloc and copy work'
finds status linear '^# linear .* without memory the status is -5, expected REIN_ERR_NOMEM'
# for people only: each kernel that is provided has a line with three figures
out=$("$top/rein-conform" backend "$top/tests/backends/.libs/wrong.so" --only axpy --perf)
[ "$(echo "$out" | grep -cE '^# [a-z_]+ .* us +[0-9.]+ GFLOP/s +[0-9.]+ GB/s$')" -eq 1 ] &&
    echo "$out" | grep -qE '^# axpy .* [1-9][0-9.]* GFLOP/s|^# axpy .* 0\.0*[1-9][0-9]* GFLOP/s'
holds "--perf prints the speed of what is provided" [ $? -eq 0 ]
"$top/rein-conform" algorithm x.so --perf >/dev/null 2>&1
holds "--perf is for backends" [ $? -eq 2 ]
# --help says what is checked, of each kind
out=$("$top/rein-conform" --help)
holds "--help lists the checks" [ "$(echo "$out" | grep -c '^  - ')" -gt 25 ]
echo "1..$n"
