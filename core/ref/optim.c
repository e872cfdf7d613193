/* SPDX-License-Identifier: MIT */
#include "ref/kernels.h"

#include <math.h>

rein_status ref_adamw(void *dev, const struct rein_adamw *a) {
    double correct1 = 1.0 - pow(a->beta1, (double)a->step), correct2 = 1.0 - pow(a->beta2, (double)a->step);

    (void)dev;
    if (!ref_dtype_known(a->dtype))
        return REIN_ERR_UNSUPPORTED;
    for (int64_t i = 0; i < a->n; i++) {
        double p = a->master ? a->master[i] : ref_load(a->p, a->dtype, i), g = a->g[i] * a->grad_scale;
        double m = a->beta1 * a->m[i] + (1.0 - a->beta1) * g;
        double v = a->beta2 * a->v[i] + (1.0 - a->beta2) * g * g;
        p -= a->lr * a->weight_decay * p;
        p -= a->lr * (m / correct1) / (sqrt(v / correct2) + a->eps);
        a->m[i] = (float)m;
        a->v[i] = (float)v;
        if (a->master)
            a->master[i] = (float)p;
        ref_store(a->p, a->dtype, i, (float)p);
    }
    return REIN_OK;
}

rein_status ref_sum_squares(void *dev, const struct rein_sum_squares *a) {
    double sum = 0;

    (void)dev;
    for (int64_t i = 0; i < a->n; i++)
        sum += (double)a->x[i] * a->x[i];
    *a->out = sum;
    return REIN_OK;
}
