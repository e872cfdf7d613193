#!/bin/sh
# SPDX-License-Identifier: MIT
# Adds up test results: of the .trs files under each folder named, and of the "# PASS: 3" lines of each file named.
# Prints what failed, each with the words of its log, and last one line, "12 passed, 0 failed" or "12 passed, 0 failed,
# 2 skipped"; exits 1 when anything failed.
set -eu
for t; do
    if [ -d "$t" ]; then
        find "$t" -name '*.trs' -exec grep -lE '^:test-result: *(FAIL|XPASS|ERROR)' {} + | while IFS= read -r trs; do
            log=${trs%.trs}.log
            printf '%s:\n' "$log"
            [ -r "$log" ] || continue
            # why it failed stands before the line, or after it
            { grep -a -B 8 -A 8 '^not ok' "$log" || tail -n 16 "$log"; } | head -n 80
        done
    elif [ -r "$t" ]; then
        grep -aE '^(FAIL|XPASS|ERROR): ' "$t" || :
    fi
done
{
    for t; do
        if [ -d "$t" ]; then
            find "$t" -name '*.trs' -exec sed -n 's/^:test-result: *\([A-Z]*\).*/\1 1/p' {} +
        else
            sed -n 's/^# \([A-Z]*\): *\([0-9][0-9]*\)\r*$/\1 \2/p' "$t" 2>/dev/null || echo "ERROR 1"
        fi
    done
} | awk '
    { n[$1] += $2 }
    END {
        bad = n["FAIL"] + n["XPASS"] + n["ERROR"]
        printf "%d passed, %d failed", n["PASS"] + n["XFAIL"], bad
        if (n["SKIP"]) printf ", %d skipped", n["SKIP"]
        print ""
        exit bad > 0
    }'
