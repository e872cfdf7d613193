#!/bin/sh
# SPDX-License-Identifier: MIT
# rein-conform passes for every algorithm, whatever its options, and finds every rule that a wrong one breaks.
conform=$top_builddir/rein-conform
wrong=$top_builddir/tests/plugins/.libs
n=0 bad=0
ok() { # STATUS TEXT
    n=$((n + 1))
    [ "$1" = 0 ] && echo "ok $n - $2" || { echo "not ok $n - $2"; bad=1; }
}
conforms() { # NAME SETTING...
    name=$1; shift; set_args=
    for s; do set_args="$set_args --set $s"; done
    # shellcheck disable=SC2086
    out=$($conform algorithm "$top_builddir/modules/algorithms/$name.so" $set_args 2>&1)
    status=$?
    [ $status = 0 ] || echo "$out" | sed -n 's/^not ok/# not ok/p'
    ok $status "$name conforms${set_args:+ with$set_args}"
}
breaks() { # MODULE WRONG PATTERN: fails with 1, and the complaint is the expected one
    out=$($conform algorithm "$wrong/$1.so" ${2:+--set wrong=$2} 2>&1)
    status=$?
    echo "$out" | grep -q "^not ok.*$3" && [ $status = 1 ]
    found=$?
    [ $found = 0 ] || echo "$out" | sed 's/^/# /' | grep -v '# ok'
    ok $found "$1${2:+, $2}: found as '$3'"
}

conforms sft
conforms sft target=text
conforms rm
conforms rm center=0.1 margin=false
conforms rm loss=k-wise center=0.1
conforms rm loss=plackett-luce
conforms ppo
conforms ppo kl=k3 advantage=reward-minus-value gamma=0.9 entropy=0.01 dual_clip=1.5
conforms ppo ratio=ref whiten_rewards=true whiten_advantages=false clip_value=0 target_kl=0.5 horizon=20
conforms ppo missing_eos_penalty=1 reward_clip=0.5 beta=0 kl=k2

breaks wrong_sign '' 'd_logp is the derivative of loss'
out=$($conform algorithm "$wrong/wrong.so" 2>&1); ok $? "wrong, nothing: conforms"
breaks wrong sign 'd_logp is the derivative of loss'
breaks wrong mask 'poisoned with NaN'
breaks wrong overrun 'stays inside its arrays'
breaks wrong input 'leaves its inputs alone'
breaks wrong shared 'same input gives the same bits'
breaks wrong normaliser 'micro-batches of 4 give the same gradient'
breaks wrong order 'order of units'
breaks wrong forgets 'nothing is remembered'
breaks wrong leak 'everything allocated is given back'
breaks wrong silent 'a failed allocation is reported'
breaks wrong metric 'give the same metrics'
breaks wrong overflow 'finite with log-probabilities 200 nats'
echo "1..$n"
exit $bad
