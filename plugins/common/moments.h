/* plugins/common/moments.h - mean and spread of the numbers that count.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_COMMON_MOMENTS_H
#define REIN_COMMON_MOMENTS_H

#include <stdint.h>

struct moments {
    double n, mean, squares; /* squares: sum of squared differences from the mean */
};

/* Of x[from .. to). Left out: NaN, and what `mask` (NULL: nothing) masks, which is not read. */
struct moments moments_of(const double *x, const uint8_t *mask, uint32_t from, uint32_t to);
/* Sample deviation (divisor n - 1, as torch.std), 0 of a single number. */
double moments_deviation(const struct moments *m);

#endif
