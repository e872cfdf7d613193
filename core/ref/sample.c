/* SPDX-License-Identifier: MIT */
#include "base/mem.h"
#include "ref/kernels.h"

#include <math.h>
#include <stdlib.h>

struct candidate {
    double z;
    int32_t id;
};

static int by_value(const void *a, const void *b) {
    const struct candidate *x = a, *y = b;

    if (x->z != y->z)
        return x->z > y->z ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

static int by_id(const void *a, const void *b) {
    const struct candidate *x = a, *y = b;

    return (x->id > y->id) - (x->id < y->id);
}

/* Cuts the candidates down to top_k and top_p; returns how many stay, in the order of ids. */
static int64_t filter(struct candidate *c, int64_t n, int64_t top_k, double top_p) {
    double total = 0, sum = 0;
    int64_t kept = n;

    qsort(c, (size_t)n, sizeof(*c), by_value);
    if (top_k > 0 && top_k < n)
        kept = top_k;
    if (top_p < 1) {
        int64_t i = 0;
        for (int64_t j = 0; j < kept; j++)
            total += exp(c[j].z - c[0].z);
        while (i < kept && (i == 0 || sum < top_p * total))
            sum += exp(c[i++].z - c[0].z);
        kept = i;
    }
    qsort(c, (size_t)kept, sizeof(*c), by_id);
    return kept;
}

/* The first candidate at which the cumulative probability exceeds u. */
static int32_t draw(const struct candidate *c, int64_t n, double u) {
    double most = -INFINITY, total = 0, sum = 0;
    int32_t last = c[0].id;

    for (int64_t i = 0; i < n; i++)
        if (c[i].z > most)
            most = c[i].z;
    for (int64_t i = 0; i < n; i++)
        total += exp(c[i].z - most);
    for (int64_t i = 0; i < n; i++) {
        double p = exp(c[i].z - most);
        if (p <= 0)
            continue;
        sum += p;
        last = c[i].id;
        if (sum > u * total)
            break;
    }
    return last;
}

static int32_t choose(const struct rein_sample *a, int64_t i, struct candidate *c, int64_t n) {
    if (a->greedy) {
        int64_t best = 0;
        for (int64_t j = 1; j < n; j++)
            if (c[j].z > c[best].z)
                best = j;
        return c[best].id;
    }
    if ((a->top_k > 0 && a->top_k < n) || a->top_p < 1)
        n = filter(c, n, a->top_k, a->top_p);
    return draw(c, n, a->u[i]);
}

rein_status ref_sample(void *dev, const struct rein_sample *a) {
    int64_t vocabulary = a->w->rows;
    rein_status rc = REIN_OK;
    struct candidate *c;
    double *z;

    (void)dev;
    if (!ref_dtype_known(a->w->dtype))
        return REIN_ERR_UNSUPPORTED;
    z = ref_doubles(vocabulary);
    c = mem_array((size_t)vocabulary, sizeof(*c));
    if (!z || !c)
        rc = REIN_ERR_NOMEM;
    for (int64_t i = 0; i < a->n && rc == REIN_OK; i++) {
        int64_t n = 0;
        ref_logits(a->w, a->bias, a->hidden + i * a->ldh, a->inv_temperature, z);
        for (int64_t j = 0; j < vocabulary; j++)
            if (!a->banned || !a->banned[j])
                c[n++] = (struct candidate){z[j], (int32_t)j};
        if (n == 0) {
            rc = REIN_ERR_ARG;
            break;
        }
        a->ids[i] = choose(a, i, c, n);
        a->logp[i] = (float)(z[a->ids[i]] - ref_lse(z, vocabulary));
    }
    free(z);
    free(c);
    return rc;
}
