#!/bin/sh
# SPDX-License-Identifier: MIT
# What nvcc's module needs: neither the driver nor cuBLAS, until it is opened; and what it says of itself.
set -u
module=$top_builddir/modules/backends/cuda.so
for tool in readelf ldd; do
    command -v $tool >/dev/null || { echo "1..0 # SKIP there is no $tool"; exit 0; }
done
[ -e "$module" ] || { echo "1..0 # SKIP cuda was not built"; exit 0; }
n=0
# ok TITLE WHAT-IS-WRONG
ok() {
    n=$((n + 1))
    if [ -z "$2" ]; then echo "ok $n - $1"; else echo "not ok $n - $1" && echo "$2" | sed 's/^/# /'; fi
}
ok "neither the driver nor cuBLAS is linked" "$(readelf -d "$module" | grep -E 'NEEDED.*lib(cuda|cublas|cublasLt)\.so')"
ok "no symbol of theirs is wanted" "$(readelf -W --dyn-syms "$module" | grep -E ' UND (cublas|cu[A-Z])')"
ok "everything that is linked is found" "$(ldd "$module" | grep 'not found')"
REIN_PLUGIN_PATH=$top_builddir/modules
export REIN_PLUGIN_PATH
loaded=$(LD_DEBUG=libs "$top_builddir/rein" plugins cuda 2>&1 >/dev/null)
ok "listing it loads no cuBLAS" "$(echo "$loaded" | grep -q 'cuda\.so' || echo "nor the module"; echo "$loaded" | grep 'libcublas')"
said=$("$top_builddir/rein" plugins cuda 2>&1) || said="rein plugins cuda: $said"
ok "it says what has run it" "$(echo "$said" | grep -q 'no GPU has run it yet' || echo "it says: $said")"
case $said in
*"score 0, "*) ok "where it cannot run it says why" "$(echo "$said" | grep -q 'score 0, 0 devices: .*\(cudaError\|there is no device\|compute capability\)' ||
    echo "it says: $said")" ;;
*) ok "it can run here" "$(echo "$said" | grep -q 'score 100, [1-9]' || echo "it says: $said")" ;;
esac
echo "1..$n"
