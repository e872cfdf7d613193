/* plugins/common/whiten.h - zero mean and unit deviation over the tokens that count.
 * SPDX-License-Identifier: MIT
 *
 * Masked elements are neither read nor written. A single element has no variance: it is taken as 0.
 */
#ifndef REIN_COMMON_WHITEN_H
#define REIN_COMMON_WHITEN_H

#include <stdint.h>

/* TRL's masked_whiten: (x - mean) * rsqrt(variance + 1e-8), with the sample variance
 * (divisor n - 1). shift_mean 0 adds the mean back: scaled, not centred. */
void whiten(double *x, const uint8_t *mask, uint32_t n, int shift_mean);

/* OpenRLHF's: (x - mean) * rsqrt(max(variance, 1e-8)), with the population variance (divisor n). */
void whiten_population(double *x, const uint8_t *mask, uint32_t n);

#endif
