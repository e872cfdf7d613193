/* SPDX-License-Identifier: MIT */
#include "train/schedule.h"

#include "train/stage.h"

#include <math.h>

static const double pi = 3.14159265358979323846;

uint64_t schedule_warmup(double share, uint64_t total) {
    const double steps = ceil(share * (double)total);

    return steps > 0 ? (uint64_t)steps : 0;
}

double schedule_factor(int64_t kind, uint64_t step, uint64_t warmup, uint64_t total) {
    double left, span;

    if (step < warmup)
        return (double)step / (double)warmup;
    if (kind == SCHEDULE_CONSTANT)
        return 1;
    if (step >= total)
        return 0;
    span = total > warmup ? (double)(total - warmup) : 1;
    left = (double)(total - step) / span;
    if (kind == SCHEDULE_LINEAR)
        return left;
    return fmax(0, 0.5 * (1 + cos(pi * (double)(step - warmup) / span)));
}
