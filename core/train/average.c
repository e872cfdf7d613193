/* SPDX-License-Identifier: MIT */
#include "train/average.h"

#include "base/mem.h"

#include <stdlib.h>

struct averaged {
    struct model_param *param;
    float *mean;             /* device [rows * cols] */
};

struct average {
    struct backend *backend;
    float decay;
    struct averaged *list;
    size_t count;
};

/* mean = decay * mean + share * weights */
static int mix(struct average *a, const struct averaged *x, float decay, float share, struct error *err) {
    const struct rein_weight *w = &x->param->w;
    const struct rein_axpy args = {.size = sizeof(args), .n = w->rows, .cols = w->cols, .ldx = w->ld, .ldy = w->cols,
                                   .x = param_master(x->param), .y = x->mean, .alpha = share, .beta = decay};

    return backend_check(a->backend, a->backend->k.axpy(a->backend->dev, &args), "axpy", err);
}

static int add(struct average *a, struct model_param *p, struct error *err) {
    struct averaged *x = &a->list[a->count];
    const size_t n = (size_t)(p->w.rows * p->w.cols);

    x->param = p;
    x->mean = backend_alloc(a->backend, n, sizeof(float), err);
    if (x->mean == NULL)
        return -1;
    a->count++;
    return backend_zero(a->backend, x->mean, n * sizeof(float), err) != 0 ? -1 : mix(a, x, 0, 1, err);
}

int average_create(const struct optimizer *o, uint32_t owner, double decay, struct average **out, struct error *err) {
    struct average *a = mem_zeros(1, sizeof(*a));

    *out = NULL;
    if (a == NULL || (a->list = mem_zeros(o->count + 1, sizeof(*a->list))) == NULL) {
        free(a);
        return error_nomem(err, "moving average");
    }
    a->backend = o->backend;
    a->decay = (float)decay;
    for (size_t i = 0; i < o->count; i++)
        if (o->slots[i].owner == owner && add(a, o->slots[i].param, err) != 0) {
            average_free(a);
            return -1;
        }
    *out = a;
    return 0;
}

void average_free(struct average *a) {
    if (a == NULL)
        return;
    for (size_t i = 0; i < a->count; i++)
        backend_free(a->backend, a->list[i].mean);
    free(a->list);
    free(a);
}

int average_update(struct average *a, struct error *err) {
    /* 1 - decay is exact in float32 from 0.5 on: weights that stay the same are their own average */
    for (size_t i = 0; i < a->count; i++)
        if (mix(a, &a->list[i], a->decay, 1 - a->decay, err) != 0)
            return -1;
    return 0;
}

int average_swap(struct average *a, struct error *err) {
    int rc = 0;

    for (size_t i = 0; i < a->count; i++) { /* all of them, whatever happens: a second call must put things right */
        struct averaged *x = &a->list[i];
        struct model_param *p = x->param;
        float *weights = param_master(p);

        if (p->master != NULL)
            p->master = x->mean;
        else
            p->w.data = x->mean;
        x->mean = weights;
        p->w.generation++;
        if (param_round(a->backend, p, rc == 0 ? err : NULL) != 0)
            rc = -1;
    }
    return rc;
}
