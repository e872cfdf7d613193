#!/bin/sh
# SPDX-License-Identifier: MIT
# What the bench scripts say of steps that a stand-in for rein claims to have made: no share of a rate that is not known.
set -u
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
mkdir -p "$tmp/tests/bench" "$tmp/modules/backends"
cat >"$tmp/rein" <<'END'
#!/bin/sh
if [ "$1" = plugins ]; then
    echo '{"score": 0, "reason": "there is no device"}'
    exit
fi
echo "$REIN_BACKEND" >>backends
mkdir -p run/it/model
for step in 9 2 2 2; do echo "{\"step_time\":$step,\"peak_memory\":1048576}"; done >run/it/metrics.jsonl
END
chmod +x "$tmp/rein"
n=0
# steps TITLE PATTERN: sft's figures match, and none is infinite
steps() {
    n=$((n + 1))
    BENCH_DIR=$tmp/out sh "$srcdir/tests/bench/bench_steps.sh" "$tmp" --work sft >"$tmp/log" 2>&1
    if [ $? -eq 0 ] && tr '\n' ' ' <"$tmp/log" | grep -q "$2" && ! grep -q 'inf\|nan' "$tmp/log" "$tmp/out/bench.tsv"; then
        echo "ok $n - $1"
    else
        echo "not ok $n - $1"
        sed 's/^/# /' "$tmp/log"
    fi
}
steps "a missing bench_sgemm is named" '# no share of sgemm: .*/tests/bench/bench_sgemm is missing (make .*sft  *2.000  *2.000  *[0-9]*  *[0-9.]*  *-  *1 '
printf '#!/bin/sh\nexit 1\n' >"$tmp/tests/bench/bench_sgemm"
chmod +x "$tmp/tests/bench/bench_sgemm"
steps "and one that does not run" 'bench_sgemm says nothing; .*  -  *1 '
printf '#!/bin/sh\necho 1000\n' >"$tmp/tests/bench/bench_sgemm"
steps "a share of its rate" 'at its best: 1000 GFLOP/s; backend cpu-blas, .*sft  *2.000  *2.000  *[0-9]*  *[0-9.]*  *[1-9][0-9]*  *1 '
REIN_BACKEND=other
export REIN_BACKEND
steps "none on another backend" "# no share of OpenBLAS's sgemm; backend other, .*  -  *1 "
unset REIN_BACKEND
n=$((n + 1))
if [ "$(tr '\n' ' ' <"$tmp/out/backends")" = "cpu-blas cpu-blas cpu-blas other " ]; then
    echo "ok $n - the backend is the one that is named"
else
    echo "not ok $n - the backend is the one that is named"
fi
# device TITLE TEXT
device() {
    n=$((n + 1))
    out=$(sh "$srcdir/tests/bench/bench_device.sh" "$tmp" --work sft 2>&1)
    if [ $? -eq 0 ] && [ "$out" = "$2" ]; then echo "ok $n - $1"; else echo "not ok $n - $1" && echo "# $out"; fi
}
device "no bench of what was not built" "# no bench on cuda: cuda was not built"
: >"$tmp/modules/backends/cuda.so"
device "nor without a device, and why" "# no bench on cuda: there is no device"
sed -i 's/"score": 0/"score": 100/' "$tmp/rein"
printf '#!/bin/sh\necho "# linear 1.0 us 2.00 GFLOP/s"\n' >"$tmp/rein-conform"
chmod +x "$tmp/rein-conform"
n=$((n + 1))
out=$(sh "$srcdir/tests/bench/bench_device.sh" "$tmp" --work sft 2>&1 | tr '\n' ' ')
if echo "$out" | grep -q '^# linear .*; backend cuda, .*sft  *2.000'; then
    echo "ok $n - kernels and steps on a device"
else
    echo "not ok $n - kernels and steps on a device"
    echo "# $out"
fi
printf '#!/bin/sh\necho "not ok 3 - linear"\nexit 1\n' >"$tmp/rein-conform"
n=$((n + 1))
if out=$(sh "$srcdir/tests/bench/bench_device.sh" "$tmp" 2>&1) || ! echo "$out" | grep -q '^not ok 3'; then
    echo "not ok $n - a device that is wrong is not measured"
else
    echo "ok $n - a device that is wrong is not measured"
fi
echo "1..$n"
