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
conforms algorithm dpo
conforms algorithm dpo loss=hinge beta=0.5
conforms algorithm dpo loss=ipo
conforms algorithm dpo loss=robust label_smoothing=0.1
conforms algorithm dpo loss=cdpo label_smoothing=0.2
conforms algorithm dpo loss=simpo
conforms algorithm dpo loss=simpo cpo_alpha=0 label_smoothing=0.1
conforms algorithm dpo loss=orpo
conforms algorithm dpo loss=kto desirable_weight=1.5 beta=0.3
conforms algorithm rloo
conforms algorithm rloo beta=0 normalize_advantages=true clip_high=0.3 dual_clip=1.5 entropy=0.01
conforms algorithm rloo ratio=ref kl=k3 reward_clip=0.5 missing_eos_penalty=1 target_kl=0.5 horizon=20
conforms algorithm reinforce
conforms algorithm reinforce baseline=group gamma=0.9 kl=k2 entropy=0.01
conforms algorithm reinforce ratio=ref whiten_advantages=false reward_clip=0.5 beta=0 missing_eos_penalty=1
conforms reward rm model=judge
conforms reward rm model=judge standardise=true
conforms reward rm-ensemble 'models=[a,b,c]'
conforms reward rm-ensemble 'models=[heads]' standardise=false
conforms reward rm-ensemble 'models=[a,three-heads]'
conforms reward rm-dropout model=judge
conforms reward rm-dropout model=judge samples=1 rate=0.5 sites=all
conforms reward rm-perturb model=judge
conforms reward rm-perturb model=judge samples=3 rate=2 target=embedding
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
breaks wrong factor 'd_logp is the derivative of loss'
breaks wrong dirty 'masked tokens get no derivative'
breaks wrong threads 'two instances may run at the same time'
breaks wrong keeps 'everything allocated is given back'
breaks wrong nameless 'metrics are well-formed'
breaks wrong limit 'every option at its least and greatest'
breaks wrong empty 'a batch without rows has loss 0'
breaks wrong stop 'after stops the rollout, the stage or nothing'
out=$($conform algorithm "$wrong/wrong_rollout.so" 2>&1); ok $? "wrong_rollout, nothing: conforms"
breaks wrong_rollout first 'order of rows within a group'
breaks wrong_rollout infinite 'prepare gives finite advantages'
breaks wrong_rollout unwritten 'stays inside its arrays'
breaks wrong_rollout input 'leaves its inputs alone'
breaks wrong_rollout state 'a loaded instance goes on'
breaks wrong_rollout truncated 'a truncated state is refused'
breaks wrong_rollout kinds 'on-policy stands alone'
breaks wrong_rollout needs 'needs are known'
breaks wrong_rollout sums 'measure is there if it sums'
breaks wrong_rollout rate 'defaults of the stage'

# explains MODULE WRONG PATTERN: what is said to the author
explains() {
    out=$($conform algorithm "$wrong/$1.so" --set "wrong=$2" 2>&1)
    echo "$out" | grep -q "^# $3"
    found=$?
    [ $found = 0 ] || echo "$out" | sed 's/^/# /' | grep -v '# ok'
    ok $found "$1, $2: explained by '$3'"
}
explains wrong sign 'd_logp\[[0-9]*\] (row [0-9]*, its token [0-9]*): loss() wrote 0.04.*, but .* changes by -0.04'
explains wrong sign 'the sign is wrong'
explains wrong factor 'it is 2 times what it should be'
explains wrong mask 'loss: 1[.0-9]* with numbers there, -*nan with NaN there'
explains wrong dirty 'd_logp\[0\] (row 0, its token 0, masked) is 1, expected 0'
explains wrong overrun 'it touched logp\[23\], past the end: there are 23 elements'
explains wrong input 'it wrote into the input logp, at \[0\]'
explains wrong normaliser 'd_logp.*: -0.04[0-9]* in one batch, -0.1[0-9]* in micro-batches of 4 units'
explains wrong metric 'metric nll: 27.9[0-9]* in one batch, 13.9[0-9]* in micro-batches of 4'
explains wrong silent 'when allocation 2 of create .. loss fails, every call returned REIN_OK'
explains wrong limit 'option gain at 0'
explains wrong_rollout first 'd_logp.* in order, .* in another order'
explains wrong_rollout unwritten 'it touched advantage'

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
