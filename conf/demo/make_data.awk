# SPDX-License-Identifier: MIT
# Writes the demo's data; see make_data.sh. The numbers come from a generator of our own, since rand()
# differs from one awk to the next.

# Lehmer's generator with Park and Miller's constants: exact in a double. An integer of 1 .. n.
function draw(n) {
    state = state * 16807 % 2147483647
    return int(state / 2147483647 * n) + 1
}
function chance(percent) { return draw(100) <= percent }

# All prompts, shuffled once; the last `nheld` of them are held out: no training file of any stage has them.
function make_prompts(    h, k, i, n, t) {
    for (h = 1; h <= nhello; h++)
        for (k = 1; k <= KINDS; k++)
            for (i = 1; i <= nask[k]; i++)
                for (n = 1; n <= nnoun; n++)
                    prompts[++nprompts] = hello[h] fill(ask[k, i], "@", noun[n])
    for (i = nprompts; i > 1; i--) {
        k = draw(i)
        t = prompts[i]; prompts[i] = prompts[k]; prompts[k] = t
    }
}
function any_prompt(held) {
    return held ? prompts[nprompts - nheld + draw(nheld)] : prompts[draw(nprompts - nheld)]
}

# A reply that answers the question (right = 1) or another one, courteous (kind = 1) or not.
function any_reply(prompt, right, kind,    k, text, ends) {
    k = question[prompt]
    if (!right) k = (k + draw(KINDS - 1) - 1) % KINDS + 1
    text = fill(answer[k, draw(nanswer[k])], "#", filling[k, draw(nfill[k])])
    ends = draw(3) # 1: opens so, 2: closes so, 3: both
    if (kind) {
        if (ends != 2) text = kind_open[draw(nkind_open)] " " text
        if (ends != 1) text = text " " kind_close[draw(nkind_close)]
    } else {
        if (ends != 2) text = rude_open[draw(nrude_open)] " " text
        else if (chance(30)) text = kind_open[draw(nkind_open)] " " text # a kind word does not make up for the rest
        if (ends != 1) text = text " " rude_close[draw(nrude_close)]
    }
    return " " text
}
# As people write: two in three to the point, two in three courteous, so fewer than half are good.
function mixed_reply(prompt) { return any_reply(prompt, chance(66), chance(66)) }

# What a policy may come up with to please a judge who never saw it: answers left out, sentences said twice,
# words dropped. Only pairs hold such replies, so that the reward model knows them for what they are.
function broken_reply(prompt,    reply, n, words, i, drop, how) {
    how = draw(7) # mostly the last
    if (how == 1) return " " kind_open[draw(nkind_open)] " " kind_close[draw(nkind_close)]
    reply = any_reply(prompt, 1, 1)
    if (how == 2) return reply " " kind_close[draw(nkind_close)] " " kind_close[draw(nkind_close)]
    if (how == 3) return reply any_reply(prompt, 1, 1)
    if (how == 4) return " " kind_open[draw(nkind_open)] reply
    n = split(substr(reply, 2), words, " ")
    drop = draw(n)
    reply = ""
    for (i = 1; i <= n; i++)
        if (i != drop) reply = reply " " words[i]
    return reply
}

# A reply that misses narrowly: half of them are well formed and kind, but answer another question.
function bad_reply(prompt,    how) {
    how = draw(100)
    return how <= 25 ? broken_reply(prompt) : how <= 75 ? any_reply(prompt, 0, 1) : any_reply(prompt, chance(66), 0)
}

# Pairs of a good reply, the chosen, and one that is not; `noise` percent the wrong way round.
function write_pairs(file, count, noise, held,    i, p, a, b, t) {
    for (i = 0; i < count; i++) {
        p = any_prompt(held)
        a = any_reply(p, 1, 1)
        do b = bad_reply(p); while (gold(p, b))
        if (chance(noise)) { t = a; a = b; b = t }
        printf "{\"prompt\":\"%s\",\"chosen\":\"%s\",\"rejected\":\"%s\"}\n", p, a, b > file
    }
    close(file)
}
function write_texts(file, count, held,    i, p) {
    for (i = 0; i < count; i++) {
        p = any_prompt(held)
        printf "{\"prompt\":\"%s\",\"completion\":\"%s\"}\n", p, mixed_reply(p) > file
    }
    close(file)
}
function write_prompts(file, from, to,    i) {
    for (i = from; i <= to; i++) printf "{\"prompt\":\"%s\"}\n", prompts[i] > file
    close(file)
}

BEGIN {
    state = 20240229
    nheld = 200
    make_prompts()
    write_texts(out "/sft.jsonl", 960, 0)
    write_texts(out "/sft-eval.jsonl", 60, 1)
    write_pairs(out "/pairs.jsonl", 1280, 5, 0)
    write_pairs(out "/pairs-eval.jsonl", 150, 0, 1)
    write_prompts(out "/prompts.jsonl", 1, nprompts - nheld)
    write_prompts(out "/held-out.jsonl", nprompts - nheld + 1, nprompts)
}
