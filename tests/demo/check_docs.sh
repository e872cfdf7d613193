#!/bin/sh
# SPDX-License-Identifier: MIT
# The documentation names what there is: pipelines.md has every option of a stage, the manual every command and only those.
# (What writing-plugins.md says is done by tests/out_of_tree/guide.sh.)
set -u
doc=$srcdir/conf/doc
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
n=0
ok() {
    n=$((n + 1))
    if [ "$1" -eq 0 ]; then echo "ok $n - $2"; else echo "not ok $n - $2"; fi
}
echo 1..2

missing=
for option in $(sed -n 's/^ *{\(TRAIN\|ROLLOUT\|DATA\|CHECKPOINT\)(\([a-z_0-9]*\),.*/\2/p' "$srcdir/core/train/stage.c"); do
    grep -q "\`$option\`" "$doc/pipelines.md" || missing="$missing $option"
done
[ -z "$missing" ] || echo "# pipelines.md does not mention$missing"
[ -z "$missing" ] && grep -q 'TRAIN(epochs,' "$srcdir/core/train/stage.c"
ok $? "every option of a stage is explained"

"$top_builddir/rein" --help | sed -n 's/^  \([a-z]*\) .*/\1/p' | sort >"$tmp/commands"
sed -n 's/^\.It Cm \([a-z]*\).*/\1/p' "$doc/rein.1" | sort >"$tmp/described"
diff "$tmp/commands" "$tmp/described" | sed 's/^/# /'
[ -s "$tmp/commands" ] && cmp -s "$tmp/commands" "$tmp/described"
ok $? "every command is in the manual, and no other"
