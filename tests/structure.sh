#!/bin/sh
# SPDX-License-Identifier: MIT
# The rules of the source tree that a compiler does not check.
cd "$srcdir" || exit 1
tests=0
failed=0

# ok NAME OFFENDERS: passes when there is no offender
ok() {
    tests=$((tests + 1))
    if [ -z "$2" ]; then
        echo "ok $tests - $1"
    else
        echo "not ok $tests - $1"
        printf '%s\n' "$2" | sed 's/^/# /'
        failed=1
    fi
}

# what each folder of core may include; dependencies point one way
may() {
    case $1 in
    base) echo base ;;
    ref) echo base ref ;;
    report) echo base report ;;
    plugin) echo base ref plugin ;;
    text) echo base plugin text ;;
    model) echo base plugin text model ;;
    train) echo base plugin text model report/sink.h train ;;
    pipeline) echo base plugin text model train report pipeline ;;
    cli) echo base plugin text model train report pipeline cli ;;
    conform) echo base ref plugin conform ;;
    *) echo "" ;;
    esac
}
offenders=$(
    for file in core/*/*.c core/*/*.h; do
        folder=${file#core/}
        folder=${folder%%/*}
        allowed=$(may "$folder")
        sed -n 's/^#include "\([^"]*\)".*/\1/p' "$file" | while read -r header; do
            good=
            # config.h, and what protoc-c writes
            case $header in config.h | *.pb-c.h) good=1 ;; esac
            for a in $allowed; do
                case $header in "$a" | "$a"/*) good=1 ;; esac
            done
            [ -n "$good" ] || echo "$file includes \"$header\""
        done
    done
)
ok "includes in core point one way" "$offenders"

# a distribution holds no others, so that it finds none
offenders=$(
    for file in conf/pipelines/*.yaml conf/pipelines/*.py; do
        grep -q "$file" conf/local.mk || echo "$file"
    done
)
ok "every pipeline is installed" "$offenders"

offenders=$(
    for file in core/*/*.c; do
        folder=${file#core/}
        folder=${folder%%/*}
        grep -q "^#include \"$folder/" "$file" || echo "$file includes no header of its own folder"
    done
)
ok "each .c in core belongs to a header" "$offenders"

offenders=$(grep -l '^#include "' plugins/*/*.c plugins/*/*/*.c backends/*/*.c include/rein/*.h 2>/dev/null |
    xargs grep -n '^#include "\(base\|plugin\|text\|model\|train\|pipeline\|cli\|ref\)/' 2>/dev/null)
ok "plugins and backends know the public headers only" "$offenders"

offenders=$(find core plugins backends include tests -name '*.[ch]' -o -name '*.sh' | grep -v '\.pb-c\.' | xargs wc -l |
    awk '$2 != "total" && $1 > 600 {print $2 ": " $1 " lines"}')
ok "no file is longer than 600 lines" "$offenders"

offenders=$(find core plugins backends include -name '*.[ch]' | grep -v '\.pb-c\.' | while read -r file; do
    head -8 "$file" | grep -q SPDX-License-Identifier || echo "$file"
done)
ok "each file names its licence" "$offenders"

offenders=$(grep -nE '(TODO|FIXME|XXX|HACK)' core/*/*.[ch] plugins/*/*.[ch] plugins/*/*/*.[ch] backends/*/*.[ch] include/rein/*.h 2>/dev/null |
    grep -v XXXXXX)
ok "nothing is left to do later" "$offenders"

# stdout is for results: only subcommands (and rein-conform, whose result is TAP) print there
offenders=$(grep -nE '(^|[^a-z_])(printf|puts|putchar) ?\(|stdout' core/base/*.c core/ref/*.c core/plugin/*.c core/text/*.c core/model/*.c \
    core/train/*.c core/pipeline/*.c core/report/*.c plugins/*/*.c plugins/*/*/*.c backends/*/*.c | grep -v '__attribute__')
ok "only subcommands print to stdout" "$offenders"

offenders=$(grep -nE '(^|[^a-z_])(dlclose|abort|exit|setlocale|system|popen) ?\(' core/*/*.c plugins/*/*.c plugins/*/*/*.c backends/*/*.c 2>/dev/null |
    grep -v '^core/conform/\|_exit')
ok "nobody unloads code, aborts or changes the locale" "$offenders"

# the tests that tests/pitfalls.md names are there
offenders=$(
    sed -n 's/^| [0-9].*| \([^|]*\) |$/\1/p' tests/pitfalls.md | grep -o '`[a-z_0-9]*_[a-z_0-9]*`' | tr -d '`' | sort -u | while read -r name; do
        grep -rqE "START_TEST\\($name\\)" tests --include=*.c || case $name in sampling_logp_difference) ;; *) echo "$name" ;; esac
    done
)
ok "every test that pitfalls.md names is there" "$offenders"

# git quotes what is no plain name; what a faulty run leaves behind must not be added
offenders=$(git ls-files 2>/dev/null | grep '^"')
ok "every file that git tracks has a plain name" "$offenders"

echo "1..$tests"
exit $failed
