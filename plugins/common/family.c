/* SPDX-License-Identifier: MIT */
#include "common/family.h"
#include "common/numeric.h"

#include <stddef.h>

const char *const aggregate_choices[] = {"mean", "min", "uncertainty", NULL};

double family_reward(const float *family, uint32_t members, uint32_t rows, uint32_t r, int64_t aggregate, double b,
                     double lambda, double *variance) {
    double n = 0, sum = 0, least = INFINITY, squares = 0, doubt = 0, mean, value;

    for (uint32_t k = 0; k < members; k++) {
        double x = (double)family[(size_t)k * rows + r];
        if (isnan(x))
            continue;
        n++;
        sum += x;
        least = fmin(least, x);
    }
    *variance = 0;
    if (n < 1)
        return NAN;
    mean = sum / n;
    for (uint32_t k = 0; k < members; k++) {
        double x = (double)family[(size_t)k * rows + r];
        if (isnan(x))
            continue;
        squares += (x - mean) * (x - mean);
        doubt += exp((least - x) / b);
    }
    *variance = squares / n;
    value = aggregate == AGGREGATE_MIN ? least : aggregate == AGGREGATE_MEAN ? mean : least - b * log(doubt / n);
    return value - lambda * *variance;
}
