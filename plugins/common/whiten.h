/* plugins/common/whiten.h - zero mean and unit deviation over the tokens that count.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_COMMON_WHITEN_H
#define REIN_COMMON_WHITEN_H

#include <stdint.h>

/* TRL's masked_whiten: (x - mean) * rsqrt(variance + 1e-8), with the sample variance
 * (divisor n - 1). shift_mean 0 adds the mean back: scaled, not centred. A single token
 * has no variance: it is taken as 0. Masked elements are neither read nor written. */
void whiten(double *x, const uint8_t *mask, uint32_t n, int shift_mean);

#endif
