/* What is checked, in words. SPDX-License-Identifier: MIT */
#include "conform/conform.h"

#include <string.h>

static const struct {
    const char *kind, *text;
} checks[] = {
    {"", "it loads, is of this ABI, and its table of operations and options is complete"},
    {"", "its own defaults satisfy its own options"},
    {"", "it exports rein_plugin_entry and nothing else, and needs no symbol of rein"},
    {"", "the entry answers the same for the same index, and NULL past the end"},
    {"", "everything allocated is given back, also when the nth allocation fails, which is reported"},

    {"algorithm", "describe: data kinds, needs, sums and stage defaults are known; optional operations fit them"},
    {"algorithm", "arrays: inputs lie in read-only pages, and every array ends where an unmapped page begins"},
    {"algorithm", "loss, derivatives, advantages and returns are finite, also 200 nats and scores of 1000 apart"},
    {"algorithm", "d_logp, d_value, d_entropy, d_score are the central differences of loss"},
    {"algorithm", "masked tokens, poisoned with NaN, change nothing and get no derivative"},
    {"algorithm", "neither the order of units nor that of the rows of a group matters"},
    {"algorithm", "micro-batches of 1, 3, 4 and 8 units give one gradient, and the same metrics"},
    {"algorithm", "rows of no token and of one; a batch of no rows has loss 0; evaluation batches work"},
    {"algorithm", "the same input gives the same bits; instances do not interfere, in turns or on two threads"},
    {"algorithm", "a loaded instance goes on as the saved one would; a truncated state is refused"},
    {"algorithm", "every option at its least and greatest, and each choice, is refused or gives finite numbers"},
    {"algorithm", "metrics have names and sane weights; after stops a rollout, a stage or nothing"},

    {"reward", "members: at least one, and always as many"},
    {"reward", "arrays: inputs lie in read-only pages, and every array ends where an unmapped page begins"},
    {"reward", "every score is written, and is a finite number or NaN"},
    {"reward", "the same completions get the same scores, whatever their order and whatever else is in the batch"},

    {"backend", "probe, open, describe, close; a device that does not exist is refused"},
    {"backend", "alloc: 64-byte aligned, more than there is is refused; copy there, fill, copy back"},
    {"backend", "each kernel against the reference: dtypes, shapes of 0, 1, odd and prime sizes, gaps between rows,"
                " unaligned arrays, in place where that is allowed, beta, with and without optional arrays"},
    {"backend", "nothing is written outside an array or into an input, and no gap or fresh output is read"},
    {"backend", "the same call twice gives the same bits; one and two threads agree with the reference"},
    {"backend", "out of a NaN or an infinity comes no number, and they do not spread where the reference's do not"},
    {"backend", "new values of a weight under a new generation are seen"},
    {"backend", "a kernel whose allocation fails says REIN_ERR_NOMEM, and works when called again"},
    {"backend", "a device backend fills every slot; slots that a host-memory backend leaves are the reference's"},
};

void conform_list(FILE *out, const char *kind) {
    for (size_t i = 0; i < sizeof(checks) / sizeof(*checks); i++)
        if (!strcmp(checks[i].kind, kind))
            fprintf(out, "  - %s\n", checks[i].text);
}
