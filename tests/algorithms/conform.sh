#!/bin/sh
# SPDX-License-Identifier: MIT
# rein-conform passes for every algorithm and reward, whatever its options, and finds every rule that a wrong one
# breaks.
conform=$top_builddir/rein-conform
wrong=$top_builddir/tests/plugins/.libs
n=0 bad=0
ok() { # STATUS TEXT
    n=$((n + 1))
    [ "$1" = 0 ] && echo "ok $n - $2" || { echo "not ok $n - $2"; bad=1; }
}
conforms() { # KIND NAME SETTING...
    kind=$1 name=$2; shift 2; set_args=
    for s; do set_args="$set_args --set $s"; done
    # shellcheck disable=SC2086
    out=$($conform $kind "$top_builddir/modules/${kind}s/$name.so" $set_args 2>&1)
    status=$?
    [ $status = 0 ] || echo "$out" | sed -n 's/^not ok/# not ok/p'
    ok $status "$kind $name conforms${set_args:+ with$set_args}"
}
breaks() { # MODULE WRONG PATTERN: fails with 1, and the complaint is the expected one
    kind=algorithm
    case $1 in wrong_reward | wrong_loading | wrong_symbols) kind=reward ;; esac
    case $1 in
    wrong_loading | wrong_symbols) out=$(REIN_WRONG=$2 $conform $kind "$wrong/$1.so" 2>&1) ;;
    *) out=$($conform $kind "$wrong/$1.so" ${2:+--set wrong=$2} 2>&1) ;;
    esac
    status=$?
    echo "$out" | grep -q "^not ok.*$3" && [ $status = 1 ]
    found=$?
    [ $found = 0 ] || echo "$out" | sed 's/^/# /' | grep -v '# ok'
    ok $found "$1${2:+, $2}: found as '$3'"
}

conforms algorithm sft
conforms algorithm sft target=text
conforms algorithm rm
conforms algorithm rm center=0.1 margin=false
conforms algorithm rm loss=k-wise center=0.1
conforms algorithm rm loss=plackett-luce
conforms algorithm ppo
conforms algorithm ppo kl=k3 advantage=reward-minus-value gamma=0.9 entropy=0.01 dual_clip=1.5
conforms algorithm ppo ratio=ref whiten_rewards=true whiten_advantages=false clip_value=0 target_kl=0.5 horizon=20
conforms algorithm ppo missing_eos_penalty=1 reward_clip=0.5 beta=0 kl=k2
conforms algorithm grpo
conforms algorithm grpo aggregate=uncertainty loss=dr_grpo entropy=0.01 target_kl=0.5
conforms algorithm grpo baseline=group beta=0.04 clip_high=0.3
conforms algorithm grpo baseline=group beta=0.04 loss=gspo aggregate=min
conforms algorithm grpo baseline=group beta=0.04 loss=grpo kl_correction=false ratio=ref dual_clip=1.5 scale=batch
conforms reward rm model=judge
conforms reward judge model=judge
conforms reward judge model=judge score=log-odds chat=false 'rubric={completion}{answer}' columns=[answer]
conforms reward rule kind=exact column=label
conforms reward rule kind=exact column=label ignore_case=true
conforms reward rule kind=number column=answer hit=2 miss=-1
conforms reward rule kind=number column=answer 'extract=is.(.*)' tolerance=0.5
conforms reward rule kind=regex pattern=[0-9]+
conforms reward rule kind=format pattern=The.*
conforms reward rule kind=length target=5 scale=20

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

out=$($conform reward "$wrong/wrong_reward.so" 2>&1); ok $? "wrong_reward, nothing: conforms"
breaks wrong_reward forgetful 'same completions get the same scores'
breaks wrong_reward batch 'what else is in the batch'
breaks wrong_reward layout 'order of rows'
breaks wrong_reward place 'order of rows'
breaks wrong_reward unwritten 'every score is a finite number or NaN'
breaks wrong_reward overrun 'stays inside its arrays'
breaks wrong_reward members 'at least one'
breaks wrong_reward leak 'everything allocated is given back'
breaks wrong_reward silent 'a failed allocation is reported'
breaks wrong_reward growing 'the number of members stays'
breaks wrong_reward alike 'several members are not all alike'
breaks wrong_reward instance 'another instance gives the same scores'
breaks wrong_reward shared 'two instances do not interfere'
breaks wrong_reward empty 'no rows at all are no problem'
breaks wrong_reward extreme 'every option at its least and greatest'
breaks wrong_reward mute 'every option at its least and greatest'

# loading, for every kind
out=$($conform reward "$wrong/wrong_loading.so" 2>&1); ok $? "wrong_loading, nothing: conforms"
breaks wrong_loading rounding 'loading leaves the floating-point mode alone'
breaks wrong_loading locale 'loading leaves the locale alone'
breaks wrong_loading folder 'loading leaves the working folder'
breaks wrong_loading umask 'the mask of files alone'
breaks wrong_loading mask 'loading leaves signals alone'
breaks wrong_loading handler 'loading leaves signals alone'
breaks wrong_loading file 'loading leaves no file open'
breaks wrong_loading thread 'loading starts no thread'
breaks wrong_loading fickle 'the entry answers the same'
breaks wrong_loading endless 'and NULL past the end'
breaks wrong_symbols '' 'exports rein_plugin_entry and nothing else'
breaks wrong_symbols '' 'needs no symbol of rein'
out=$($conform reward "$top_builddir/modules/rewards/rm.so" 2>&1); [ $? = 2 ] && echo "$out" | grep -q model
ok $? "a required option that is missing is a usage error"
echo "1..$n"
exit $bad
