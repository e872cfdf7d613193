#!/bin/sh
# SPDX-License-Identifier: MIT
# The demo's data is what its generator writes, its splits are disjoint, and the gold rule judges as it says.
set -u
demo=$srcdir/conf/demo
awk=${AWK:-awk}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
n=0
ok() {
    n=$((n + 1))
    if [ "$1" -eq 0 ]; then echo "ok $n - $2"; else echo "not ok $n - $2"; fi
}
echo 1..7

"$demo/make_data.sh" "$tmp/data"
diff -r "$demo/data" "$tmp/data" >/dev/null
ok $? "the generator writes the committed data"

[ "$(cat "$demo"/data/*.jsonl | wc -c)" -le 300000 ]
ok $? "the data is small"

sed 's/.*"prompt":\("[^"]*"\).*/\1/' "$demo/data/held-out.jsonl" | sort -u >"$tmp/held"
for f in sft pairs prompts; do sed 's/.*"prompt":\("[^"]*"\).*/\1/' "$demo/data/$f.jsonl"; done | sort -u >"$tmp/seen"
[ "$(wc -l <"$tmp/held")" -eq 200 ] && [ -z "$(comm -12 "$tmp/held" "$tmp/seen")" ]
ok $? "no training file has a held-out prompt"

# verdict, prompt, reply
cat >"$tmp/table" <<'END'
1|Where is the lamp?| Sure. It is here.
1|Hi. I need the map soon.| Gladly. You get it at noon. Take care!
1|Is the hat cheap?| Give me six coins. Enjoy!
0|Is the hat cheap?| Give me six coins.
0|Is the hat cheap?| Give me six coins. Get lost.
0|Is the hat cheap?| Sure. Give me six coins. Get lost.
0|Is the hat cheap?| Ugh. Give me six coins. Enjoy!
0|Is the hat cheap?| Sure. It is here. Enjoy!
0|Is the hat cheap?| Sure. Enjoy!
0|Is the hat cheap?| Sure. Give me six coins. Enjoy! Enjoy!
0|Is the hat cheap?| Sure. Give me me six coins. Enjoy!
0|Is the hat cheap?| Sure. Give me six coins Enjoy!
0|Is the hat cheap?|
0|Is the house cheap?| Sure. Give me six coins. Enjoy!
END
"$awk" -F '|' -f "$demo/grammar.awk" -f - "$tmp/table" <<'END'
gold($2, $3) != $1 { print "# wrong: " $0; wrong = 1 }
END { exit wrong || NR != 14 }
END
ok $? "the gold rule judges fourteen replies as it says"

"$awk" -F '"' -f "$demo/grammar.awk" -f - "$demo/data/pairs.jsonl" <<'END'
{ a = gold($4, $8); b = gold($4, $12); right += a && !b; wrong += b && !a }
END { print "# " wrong " of " NR " pairs the wrong way round"; exit right + wrong != NR || wrong < .02 * NR || wrong > .08 * NR }
END
ok $? "a few training pairs are the wrong way round"

"$awk" -F '"' -f "$demo/grammar.awk" -f - "$demo/data/pairs-eval.jsonl" <<'END'
!gold($4, $8) || gold($4, $12) { exit bad = 1 }
END { exit bad }
END
ok $? "no held-out pair is"

"$awk" -F '"' -f "$demo/grammar.awk" -f - "$demo/data/sft.jsonl" <<'END'
{ good += gold($4, $8); formed += well_formed }
END { print "# " good " of " NR " texts good"; exit formed != NR || good < .35 * NR || good > .5 * NR }
END
ok $? "fewer than half of the texts to imitate are good"
