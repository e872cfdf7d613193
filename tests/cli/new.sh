#!/bin/sh
# SPDX-License-Identifier: MIT
# `rein new`: what it refuses, and that it leaves all of a project or nothing. That projects work is tests/out_of_tree's.
. "$srcdir/tests/cli/lib.sh"
cd "$work" || exit 1

run new algorithm mine
ok "a project" [ "$status" -eq 0 ]
ok "says what is next" says "cd mine && make check"
ok "its files and no other" [ "$(ls -A mine | tr '\n' ' ')" = ".gitignore Makefile README.md mine.c pipeline.yaml " ]
sed 's/my-name/mine/g' "$srcdir/conf/templates/algorithm/my-name.c" >expected.c
ok "the source is the template's, byte for byte" cmp expected.c mine/mine.c
sed 's/my-name/mine/g; s/my-kind/algorithm/g' "$srcdir/conf/templates/common/Makefile" >expected.mk
ok "and so is the Makefile" cmp expected.mk mine/Makefile
echo mine >mine/mine.c
run new algorithm mine
ok "a folder that holds something is refused" says "mine: is not empty"
ok "with status 2" refused 2
ok "and stays as it was" [ "$(cat mine/mine.c)" = mine ]
mkdir empty
run new reward polite empty
ok "an empty folder is filled" [ -s empty/polite.c ]
run new backend fast a/b/c/
ok "folders above are made" [ -s a/b/c/fast.c ]
ok "nobody else may write there" [ "$(stat -c %a a/b/c)" = 755 ]
run new algorythm x
ok "an unknown kind suggests" says "did you mean 'algorithm'?"
run new reward My_Reward
ok "a wrong name suggests" says "a plugin cannot be called 'My_Reward' (did you mean 'my-reward'?)"
for name in 9x -- '' a/b "$(printf '%064d' 0 | tr 0 a)"; do
    run new reward "$name"
    ok "the name '$name' is refused" refused 2
done
run new reward x .
ok "the folder it stands in is refused" says "give it a name"
touch file
run new reward x file
ok "a file is refused" says "file: is there already and is no folder"
if [ "$(id -u)" -ne 0 ]; then
    mkdir -m 555 sealed
    run new reward x sealed/x
    ok "a folder that cannot be written is an error" [ "$status" -eq 1 ]
fi
if (ulimit -f 1) 2>/dev/null; then
    status=0
    (ulimit -f 1 && "$rein" new algorithm full) 2>"$work/err" || status=$?
    sed 's/^/# /' "$work/err"
    ok "a write that fails is an error" [ "$status" -eq 1 ]
fi
ok "and nothing half-written stays" [ -z "$(find . -name 'x*' -o -name 'full*')" ]
done_testing
