#!/bin/sh
# SPDX-License-Identifier: MIT
# The command line itself, `rein plugins` and `rein schema`, against the modules of this build.
. "$srcdir/tests/cli/lib.sh"

run --version
ok "--version names the ABI" prints "(plugin ABI 0.2)"
run --help
ok "--help lists the commands on stdout" [ "$status" -eq 0 ]
ok "--help mentions plugins" prints "plugins "
run
ok "no command is a usage error" refused 2
run plguins
ok "unknown command suggests" says "there is no command 'plguins' (did you mean 'plugins'?)"
ok "and exits 2" refused 2
for c in plugins schema; do
    run $c --help
    ok "$c --help goes to stdout" prints "usage: rein $c"
    ok "$c --help exits 0" [ "$status" -eq 0 ]
done
run plugins --jsno
ok "unknown option suggests" says "unknown option '--jsno' (did you mean '--json'?)"
run generate m --temp 1
ok "a part of an option suggests the whole" says "unknown option '--temp' (did you mean '--temperature'?)"
run --verison
ok "an option of no command suggests too" says "unknown option '--verison' (did you mean '--version'?)"
status=0
"$top_builddir/rein-conform" reward x.so --olny k >"$work/out" 2>"$work/err" || status=$?
ok "rein-conform suggests too" says "unknown option '--olny' (did you mean '--only'?)"
ok "and exits 2" refused 2
mkdir "$work/empty"
REIN_PLUGIN_PATH=$work/none:$work/empty HOME=$work XDG_DATA_HOME= run plugins
ok "a folder of REIN_PLUGIN_PATH that is not there is told" says "rein: warning: REIN_PLUGIN_PATH: $work/none: No such file or directory"
ok "once" [ "$(grep -c "$work/none" "$work/err")" -eq 1 ]
ok "and is no error" [ "$status" -eq 0 ]
run plugins a b
ok "too many words" refused 2
run plugins --plugin-path
ok "a value is missing" says "--plugin-path needs a value"
run schema
ok "a word is missing" says "an argument is missing"

run plugins
ok "plugins lists algorithms" prints "algorithm  ppo"
ok "and ref with its score" prints "score 1:"
run plugins ppo
ok "options with range" prints "  gamma = 1 (real in [0, 1])"
run plugins algorithm/ppo
ok "by kind and name" prints "algorithm ppo "
run plugins reward/ppo
ok "of the wrong kind" refused 2
run plugins pppo
ok "unknown plugin suggests" says "there is no plugin 'pppo' (did you mean 'ppo'?)"
ok "and exits 2" refused 2
run plugins --json
ok "JSON has a path" prints "\"name\": \"ref\", \"version\": \"0.1.0\", \"license\": \"MIT\", \"path\": \"(built in)\""
ok "JSON is one list" [ "$(head -c1 "$work/out")" = "[" ]
run plugins ppo --json
ok "JSON of one plugin is an object" [ "$(head -c1 "$work/out")" = "{" ]
ok "JSON of one plugin has options" prints '"options": [{"name": "beta", "type": "real"'
run schema sft
ok "schema is YAML" prints "  target: completion"

status=0
"$rein" plugins >/dev/full 2>"$work/err" || status=$?
ok "a full disk on stdout is reported" [ "$status" -eq 1 ]
run plugins --plugin-path relative/folder
ok "a relative plugin path is refused" says "--plugin-path: 'relative/folder' is not an absolute folder"

# one exported symbol, nothing undefined of ours
for so in "$top_builddir"/modules/*/*.so; do
    ok "$(basename "$so") exports only its entry" \
        [ "$(nm -D --defined-only "$so" | awk '$2 ~ /[TDBRVW]/ {print $3}' | tr '\n' ' ')" = "rein_plugin_entry " ]
done
done_testing
