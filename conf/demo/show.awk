# SPDX-License-Identifier: MIT
# Draws how reward and KL went: awk -f show.awk align/metrics.jsonl. A line for each `every`-th part of the run.

function json_number(line, key,    text) {
    if (!match(line, "\"" key "\"[ \t]*:[ \t]*-?[0-9.eE+-]+")) return ""
    text = substr(line, RSTART, RLENGTH)
    sub(/^"[^"]*"[ \t]*:[ \t]*/, "", text)
    return text + 0
}
function bar(n,    s) { s = ""; while (n-- > 0) s = s "#"; return s }

{
    score = json_number($0, "objective/scores")
    if (score == "") next # an evaluation
    n++
    step[n] = json_number($0, "step")
    reward[n] = score
    kl[n] = json_number($0, "objective/kl")
    if (n == 1 || score < low) low = score
    if (n == 1 || score > high) high = score
}

END {
    if (n == 0) { print "show: no objective/scores in the metrics" > "/dev/stderr"; exit 1 }
    lines = n < 12 ? n : 12
    print "  step   reward  KL (nats)"
    for (l = 1; l <= lines; l++) {
        from = int((l - 1) * n / lines) + 1
        to = int(l * n / lines)
        r = k = 0
        for (i = from; i <= to; i++) { r += reward[i]; k += kl[i] }
        r /= to - from + 1
        k /= to - from + 1
        printf "%6d  %7.2f  %9.2f  %s\n", step[to], r, k, bar(high > low ? 1 + 39 * (r - low) / (high - low) : 1)
    }
}
