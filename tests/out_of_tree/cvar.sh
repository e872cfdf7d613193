#!/bin/sh
# SPDX-License-Identifier: MIT
# An algorithm and a reward family of a stranger's, built with `pkg-config rein` alone: they conform, train, and where the
# stock grpo is a special case of theirs, the two agree.
#   cvar.sh [SOURCE-FOLDER BINDIR PLUGINDIR DATADIR]; CC, CFLAGS and PKG_CONFIG_PATH in the environment. Without arguments:
# of the build folder. TAP.
set -eu
if [ $# -eq 0 ]; then
    set -- "$srcdir" "$top_builddir" "$top_builddir/modules" "$srcdir/conf"
    export PKG_CONFIG_PATH="$top_builddir/core"
fi
source=$1 bin=$2 plugins=$3 data=$4
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
echo 1..1
fail() { echo "not ok 1 - out-of-tree cvar: $*"; exit 1; }

umask 022
mkdir -p "$dir/p/algorithms" "$dir/p/rewards"
build() { # NAME KIND
    # shellcheck disable=SC2046,SC2086
    ${CC-cc} ${CFLAGS-} -std=c11 -Wall -Wextra -Werror -fPIC -shared -fvisibility=hidden \
        $(${PKG_CONFIG-pkg-config} --cflags rein) "$source/tests/out_of_tree/$1.c" -o "$dir/p/$2s/$1.so" -lm
    "$bin/rein-conform" "$2" "$dir/p/$2s/$1.so" >"$dir/conform.log" || { cat "$dir/conform.log"; fail "$1 does not conform"; }
}
build cvar algorithm
build committee reward
"$bin/rein-conform" algorithm "$dir/p/algorithms/cvar.so" --set alpha=0.6 --set clip=0.05 >"$dir/conform.log" ||
    { cat "$dir/conform.log"; fail "cvar with other options does not conform"; }
REIN_PLUGIN_PATH=$dir/p:$plugins
export REIN_PLUGIN_PATH
unset REIN_BACKEND REIN_MACHINE

head -n 16 "$data/demo/data/prompts.jsonl" >"$dir/prompts.jsonl"
# train NAME ALGORITHM [REWARD-OPTION]: two rollouts of two steps each; leaves NAME.loss and NAME.reward, the first of each
train() {
    cat >"$dir/$1.yaml" <<YAML
rein: 1
backend: ref
seed: 3
output: $1
models:
  tiny: {config: $data/demo/model, init: random}
stages:
  - name: s
    algorithm: {$2}
    model: {from: tiny}
    rewards:
      - {use: committee, targets: [8, 20], scale: 10${3:+, $3}}
    data: {train: prompts.jsonl}
    rollout: {prompts: 4, group: 4, max_tokens: 6}
    train: {steps: 4, epochs: 2, lr: 1.0e-2}
YAML
    "$bin/rein" run "$dir/$1.yaml" -q || fail "$1 does not train"
    sed -n 's/.*"loss":\([^,]*\),.*/\1/p' "$dir/$1/s/metrics.jsonl" >"$dir/$1.loss"
    sed -n 's/.*"cvar\/reward":\([^,]*\),.*/\1/p' "$dir/$1/s/metrics.jsonl" >"$dir/$1.reward"
    [ "$(wc -l <"$dir/$1.loss")" -eq 4 ] || fail "$1 has no losses"
}
grpo="use: grpo, baseline: group, loss: bnpo, variance: 0"
train mean "use: cvar, alpha: 1"
train worst "use: cvar, alpha: 0.5"
train between "use: cvar, alpha: 0.75"
train grpo-mean "$grpo, aggregate: mean"
train grpo-min "$grpo, aggregate: min"
# same NAME NAME: the losses agree, and say something
same() {
    paste "$dir/$1.loss" "$dir/$2.loss" | awk '{ d = $1 - $2; if (d < 0) d = -d; if (d > 1e-5) bad = 1; s += $1 * $1 }
        END { exit bad || NR != 4 || s < 1e-8 }' || fail "$1 and $2 differ: $(paste "$dir/$1.loss" "$dir/$2.loss")"
}
same mean grpo-mean
same worst grpo-min
# before the first update the ratio is 1; the rewards are small negative numbers
sed -n 's/.*"cvar\/clip_fraction":\([^,]*\),.*/\1/p' "$dir/mean/s/metrics.jsonl" | head -n 1 | grep -qx 0 ||
    fail "ratios are clipped before the first update"
# completions that nobody has an opinion on count nowhere
train some "use: cvar, alpha: 1" "longest: 14"
sed -n 's/.*"rewards\/committee\/mean":\([^,]*\),.*/\1/p' "$dir/some/s/metrics.jsonl" | paste - "$dir/some.reward" "$dir/mean.reward" |
    awk 'NR == 1 { d = $1 - $2; exit !(d < 1e-5 && d > -1e-5 && $2 != $3) }' ||
    fail "silent completions count: $(cat "$dir/some.reward")"
# of two scores, alpha = 0.75 takes the worse one and half of the other: (m + (2a - m) / 2) / 1.5, m worst, a mean
read -r a <"$dir/mean.reward"
read -r m <"$dir/worst.reward"
read -r b <"$dir/between.reward"
echo "$a $m $b" | awk '{ d = ($2 / 2 + $1) / 1.5 - $3; exit !(d < 1e-5 && d > -1e-5 && $2 < $3 && $3 < $1 && $1 < 0 && $1 > -3) }' ||
    fail "the rewards of alpha = 1, 0.5 and 0.75 are $a, $m and $b"
echo "ok 1 - out-of-tree cvar and committee conform, train, and agree with grpo"
