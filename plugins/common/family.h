/* plugins/common/family.h - one reward from a family of them.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_COMMON_FAMILY_H
#define REIN_COMMON_FAMILY_H

#include <stdint.h>

enum aggregate { AGGREGATE_MEAN, AGGREGATE_MIN, AGGREGATE_UNCERTAINTY };
extern const char *const aggregate_choices[];

/* R = aggregate_k R_k - lambda Var_k[R_k] of row r, with the population variance (Coste et al.,
 * arXiv 2310.02743). family is [members][rows]; a NaN member has no opinion; NaN when none has one.
 *   mean         1/K sum R_k: with lambda above 0 Coste's uncertainty-weighted optimisation
 *   min          the worst member: Coste's worst-case optimisation
 *   uncertainty  a soft minimum, -b log(1/K sum e^(-R_k / b)): from the mean (b large) to the worst member (b
 *                small); to second order it is mean - Var / 2b, so that it weighs the members by doubt as Coste's
 *                mean - lambda Var does, but holds a member that is far below against a completion and none that is
 *                far above. Plain mean - lambda Var needs no aggregate of its own: it is what `mean` gives.
 * *variance is Var_k[R_k]. */
double family_reward(const float *family, uint32_t members, uint32_t rows, uint32_t r, int64_t aggregate, double b,
                     double lambda, double *variance);

#endif
