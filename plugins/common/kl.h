/* plugins/common/kl.h - estimates of KL(policy || reference) from one sampled token.
 * SPDX-License-Identifier: MIT
 *
 * J. Schulman, "Approximating KL Divergence" (2020), http://joschu.net/blog/kl-approx.html,
 * with d = log ref - log policy:  k1 = -d,  k2 = d^2 / 2,  k3 = e^d - 1 - d.
 */
#ifndef REIN_COMMON_KL_H
#define REIN_COMMON_KL_H

#include <stdint.h>

enum kl_estimator { KL_K1, KL_K2, KL_K3 };
/* The choices of a `kl` option, in the order of the enum. */
extern const char *const kl_choices[];

/* The estimate in nats; *d_logp (unless NULL) is its derivative with respect to `logp`.
 * k3 grows no further once d exceeds LOG_RATIO_MAX (and its derivative is 0 there), so
 * that no drift gives an infinite value. k1 and k2 need no such limit. */
double kl_estimate(int64_t estimator, double logp, double logp_ref, double *d_logp);

#endif
