# SPDX-License-Identifier: MIT
# Judges replies by the gold rule: awk -f grammar.awk -f judge.awk PROMPTS.jsonl REPLIES.jsonl
# The second file is what `rein generate MODEL --prompts PROMPTS.jsonl --json` prints: a line for each prompt.
# Prints how many replies there were, and the shares of good, well-formed, helpful and courteous ones.
# With -v show=N and a third file it prints instead the first N prompts with their replies of both files.

# The string under `key` of a line of JSON, its escapes undone as far as our own texts may have them.
function json_string(line, key,    at, text, c, out) {
    if (!match(line, "\"" key "\"[ \t]*:[ \t]*\"")) { bad = 1; return "" }
    text = substr(line, RSTART + RLENGTH)
    out = ""
    for (at = 1; (c = substr(text, at, 1)) != "\""; at++) {
        if (c == "") { bad = 1; return "" }
        if (c == "\\") {
            c = substr(text, ++at, 1)
            if (c != "\"" && c != "\\" && c != "/") c = "\\" c # \n or \u00e9: in no good reply
        }
        out = out c
    }
    return out
}

FNR == 1 { file++ }
file == 1 { prompt[FNR] = json_string($0, "prompt"); prompts = FNR; next }
{
    reply = json_string($0, "completion")
    verdict = gold(prompt[FNR], reply)
    text[file, FNR] = (verdict ? "+" : "-") reply
    good += verdict
    form += well_formed
    help += helpful
    kind += courteous
    replies++
}

END {
    if (bad || replies == 0 || replies != prompts * (file - 1)) {
        print "judge: " (bad ? "a line is not as expected" : replies + 0 " replies to " prompts + 0 " prompts") \
            > "/dev/stderr"
        exit 1
    }
    if (!show) {
        printf "%d %.3f %.3f %.3f %.3f\n", replies, good / replies, form / replies, help / replies, kind / replies
        exit 0
    }
    for (i = 1; i <= show && i <= prompts; i++) {
        print "  " prompt[i]
        print "      before " text[2, i]
        print "      after  " text[3, i]
    }
}
