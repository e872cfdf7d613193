/* SPDX-License-Identifier: MIT */
#include "model/gradients.h"

#include "base/mem.h"
#include "model/param.h"

static uint64_t lines(uint64_t bytes) {
    return u64_plus(bytes, 63) / 64 * 64;
}

/* The trained parameter whose gradient is the k-th that a backward pass adds to, or NULL: the language model head's,
 * and then from the last to the first. k: 0 .. nparams. */
static struct model_param *nth(const struct trunk *t, size_t k) {
    struct model_param *p = k == 0 ? t->lm_head : t->params[t->nparams - k];

    return !p || p->frozen || (k > 0 && p == t->lm_head) ? NULL : p;
}

/* So many layers wait when that happens; one more than there are: the final norm, too. */
static uint64_t waiting(const struct trunk *t, const struct model_param *p) {
    if (p->layer >= 0)
        return (uint64_t)p->layer + 1;
    return p != t->lm_head && (p == t->embedding || p == t->positions) ? 0 : t->nlayers + 1;
}

uint64_t gradients_bytes(const struct trunk *t) {
    uint64_t used = 0;

    for (size_t k = 0; k <= t->nparams; k++)
        if (nth(t, k))
            used = u64_plus(used, lines(param_count(nth(t, k)) * sizeof(float)));
    return used;
}

uint64_t gradients_over(const struct trunk *t, uint64_t n, enum keep keep) {
    uint64_t most = work_bytes(&t->config, n, keep).kept, used = 0, both;

    for (size_t k = 0; k <= t->nparams; k++)
        if (nth(t, k)) {
            used = u64_plus(used, lines(param_count(nth(t, k)) * sizeof(float)));
            both = u64_plus(used, work_waiting(&t->config, n, keep, waiting(t, nth(t, k))));
            most = both > most ? both : most;
        }
    return lines(most);
}

void gradients_place(const struct trunk *t, void *end) {
    char *at = end;

    for (size_t k = 0; k <= t->nparams; k++)
        if (nth(t, k)) {
            at -= lines(param_count(nth(t, k)) * sizeof(float));
            nth(t, k)->grad = (float *)(void *)at;
            nth(t, k)->stale = true;
        }
}
