/* SPDX-License-Identifier: MIT */
#include "common/kl.h"
#include "common/numeric.h"

#include <stddef.h>

const char *const kl_choices[] = {"k1", "k2", "k3", NULL};

double kl_estimate(int64_t estimator, double logp, double logp_ref, double *d_logp) {
    double d = logp_ref - logp, kl, slope;

    switch (estimator) {
    case KL_K2:
        kl = 0.5 * d * d;
        slope = -d;
        break;
    case KL_K3:
        /* expm1: e^d - 1 - d loses every digit near d = 0, where training lives */
        kl = d <= LOG_RATIO_MAX ? expm1(d) - d : expm1(LOG_RATIO_MAX) - LOG_RATIO_MAX;
        slope = d <= LOG_RATIO_MAX ? -expm1(d) : 0;
        break;
    default:
        kl = -d;
        slope = 1;
    }
    if (d_logp)
        *d_logp = slope;
    return kl;
}
