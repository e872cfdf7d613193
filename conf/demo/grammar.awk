# SPDX-License-Identifier: MIT
# The demo's little world: a shop where people ask where a thing is, what it costs, or when it is ready.
# Here are the words, and the gold rule. A reply is good when all three hold:
#   well formed:  [opener] answer [closing], as below;
#   helpful:      a place for who asks where, a price for who asks how much, a time for who asks when;
#   courteous:    it opens or closes kindly and does neither rudely.
# Training never sees the rule: only texts, and pairs of which the first is (mostly) the better one.

BEGIN {
    nnoun = split("lamp|chair|cup|book|clock|ball|hat|map|key|pen", noun, "|")
    nhello = split("|Hi. |Hello. |Well. |Excuse me. ", hello, "|")
    # three kinds of question, and of answer: @ is a thing, # a place, a price or a time
    nask[1] = word_list("Where is the @?|Where do I find the @?|I cannot see the @.|Who has the @?", ask, 1)
    nask[2] = word_list("How much is the @?|What does the @ cost?|I want to buy the @.|Is the @ cheap?", ask, 2)
    nask[3] = word_list("When is the @ ready?|When do I get the @?|Is the @ done yet?|I need the @ soon.", ask, 3)
    nanswer[1] = word_list("It is #.|You find it #.|Look #.", answer, 1)
    nanswer[2] = word_list("It costs #.|That makes #.|Give me #.", answer, 2)
    nanswer[3] = word_list("It comes #.|You get it #.|Come back #.", answer, 3)
    nfill[1] = word_list("here|upstairs|outside|on the left|on the right|at the back", filling, 1)
    nfill[2] = word_list("one coin|two coins|six coins|ten coins|a penny|a fortune", filling, 2)
    nfill[3] = word_list("now|today|tomorrow|at noon|at six|next week", filling, 3)
    nkind_open = split("Sure.|Gladly.|Of course.", kind_open, "|")
    nrude_open = split("Ugh.|Again?|Not you.", rude_open, "|")
    nkind_close = split("Enjoy!|Good day!|Any time!|Take care!", kind_close, "|")
    nrude_close = split("Go away.|Get lost.|Who cares.|Leave me.", rude_close, "|")
    KINDS = 3
    # question[prompt] and statement[answer]: the kind of all there are
    for (k = 1; k <= KINDS; k++) {
        for (i = 1; i <= nask[k]; i++)
            for (n = 1; n <= nnoun; n++)
                for (h = 1; h <= nhello; h++)
                    question[hello[h] fill(ask[k, i], "@", noun[n])] = k
        for (i = 1; i <= nanswer[k]; i++)
            for (n = 1; n <= nfill[k]; n++)
                statement[fill(answer[k, i], "#", filling[k, n])] = k
    }
}

# Puts the words of a list separated by bars into list[kind, 1] and so on; how many there are.
function word_list(text, list, kind,    n, i, parts) {
    n = split(text, parts, "|")
    for (i = 1; i <= n; i++) list[kind, i] = parts[i]
    return n
}

function fill(form, mark, text,    at) {
    at = index(form, mark)
    return substr(form, 1, at - 1) text substr(form, at + 1)
}

# What is left of `text` without the entry of `list` that it begins with (or ends with); "" when there is none.
function without(text, list, n, at_end,    i, l) {
    for (i = 1; i <= n; i++) {
        l = length(list[i])
        if (!at_end && substr(text, 1, l + 1) == list[i] " ")
            return substr(text, l + 2)
        if (at_end && length(text) > l + 1 && substr(text, length(text) - l) == " " list[i])
            return substr(text, 1, length(text) - l - 1)
    }
    return ""
}

# Sets well_formed, helpful and courteous; 1 when the reply is good.
function gold(prompt, reply,    rest, kind, rude) {
    kind = rude = 0
    sub(/^ /, "", reply)
    if ((rest = without(reply, kind_open, nkind_open, 0)) != "") { kind++; reply = rest }
    else if ((rest = without(reply, rude_open, nrude_open, 0)) != "") { rude++; reply = rest }
    if ((rest = without(reply, kind_close, nkind_close, 1)) != "") { kind++; reply = rest }
    else if ((rest = without(reply, rude_close, nrude_close, 1)) != "") { rude++; reply = rest }
    well_formed = reply in statement
    helpful = well_formed && prompt in question && statement[reply] == question[prompt]
    courteous = kind > 0 && rude == 0
    return well_formed && helpful && courteous
}
