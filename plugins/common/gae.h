/* plugins/common/gae.h - advantages and returns of one completion.
 * SPDX-License-Identifier: MIT
 *
 * Masked tokens are passed over as if they were not there, neither read nor written:
 * the token after a masked stretch follows the one before it. Nothing is
 * bootstrapped after the last token: V is 0 there.
 */
#ifndef REIN_COMMON_GAE_H
#define REIN_COMMON_GAE_H

#include <stdint.h>

/* Schulman et al., arXiv 1506.02438, eq. 11-16:
 *     delta_t = r_t + gamma V_{t+1} - V_t,   A_t = delta_t + gamma lambda A_{t+1},   R_t = A_t + V_t
 * Arrays of n tokens; `mask` may be NULL. */
void gae(const double *reward, const float *value, const uint8_t *mask, uint32_t n, double gamma, double lambda,
         double *advantage, double *return_);

/* R_t = r_t + gamma R_{t+1} */
void discounted_returns(const double *reward, const uint8_t *mask, uint32_t n, double gamma, double *return_);

/* A = r - V(x): R as above; every token's advantage is R - V at the first token. */
void reward_minus_value(const double *reward, const float *value, const uint8_t *mask, uint32_t n, double gamma,
                        double *advantage, double *return_);

#endif
