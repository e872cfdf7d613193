#!/bin/sh
# SPDX-License-Identifier: MIT
# What an installed rein must do for a stranger: a plugin built with `pkg-config rein` alone is found, described, refused
# with a place when its options are wrong, and trains. Called by `make installcheck`:
#   check.sh SOURCE-FOLDER BINDIR PLUGINDIR DATADIR; CC, CFLAGS and PKG_CONFIG_PATH in the environment
set -eu
source=$1 bin=$2 plugins=$3 data=$4
# a folder of ours alone, whatever the umask
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
fail() { echo "FAIL: out-of-tree plugin: $*"; exit 1; }

mkdir -m 755 "$dir/p" "$dir/p/algorithms"
# shellcheck disable=SC2046,SC2086
$CC $CFLAGS -std=c11 -Wall -Wextra -Werror -fPIC -shared -fvisibility=hidden $(${PKG_CONFIG-pkg-config} --cflags rein) \
    "$source/tests/out_of_tree/myalgo.c" -o "$dir/p/algorithms/myalgo.so"
chmod 755 "$dir/p/algorithms/myalgo.so"
REIN_PLUGIN_PATH=$dir/p:$plugins
export REIN_PLUGIN_PATH
unset REIN_BACKEND REIN_MACHINE

"$bin/rein" plugins myalgo | grep -q '^algorithm myalgo 1 (MIT)' || fail "not found"
"$bin/rein-conform" algorithm "$dir/p/algorithms/myalgo.so" >"$dir/conform.log" || { cat "$dir/conform.log"; fail "does not conform"; }

head -n 8 "$data/demo/data/prompts.jsonl" >"$dir/prompts.jsonl"
cat >"$dir/bandit.yaml" <<YAML
rein: 1
backend: ref
output: run
models:
  tiny: {config: $data/demo/model, init: random}
stages:
  - name: bandit
    algorithm: {use: myalgo, memory: 0.5}
    model: {from: tiny}
    rewards:
      - {use: rule, kind: length, target: 1, scale: 4}
    data: {train: prompts.jsonl}
    rollout: {prompts: 4, group: 2}
    train: {steps: 2}
YAML
status=0
"$bin/rein" check "$dir/bandit.yaml" --set bandit.algorithm.memory=2 2>"$dir/err" || status=$?
[ $status -eq 2 ] && grep -q 'myalgo.memory: must lie in \[0, 1\]' "$dir/err" || fail "a wrong option is not refused"
status=0
sed -i 's/memory: 0.5/memory: 1/' "$dir/bandit.yaml"
"$bin/rein" check "$dir/bandit.yaml" 2>"$dir/err" || status=$?
[ $status -eq 2 ] && grep -q 'bandit.yaml:8:38: myalgo.memory: 1 would never learn' "$dir/err" || fail "fail_param has no place: $(cat "$dir/err")"
sed -i 's/memory: 1/memory: 0.5/' "$dir/bandit.yaml"
"$bin/rein" run "$dir/bandit.yaml" -q || fail "does not run"
[ "$(grep -c 'bandit/average' "$dir/run/bandit/metrics.jsonl")" -eq 2 ] || fail "its metric is missing"
[ -s "$dir/run/bandit/model/model.safetensors" ] || fail "no model was written"
"$bin/rein" plugins --json | grep -q "\"path\": \"$plugins/rewards/rule.so\"" || fail "installed modules are not where they belong"
echo "PASS: out-of-tree plugin"
