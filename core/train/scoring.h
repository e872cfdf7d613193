/* core/train/scoring.h - the reward sources of a stage and what they say of a rollout.
 * SPDX-License-Identifier: MIT
 *
 * The scores of a source are normalised over the rollout and clipped if it says so, then weighted and summed member by
 * member; one of a single member counts for every member. NaN is no
 * opinion. A row without any opinion gets reward 0 and is masked: nothing is learnt from it.
 */
#ifndef REIN_CORE_SCORING_H
#define REIN_CORE_SCORING_H

#include "train/metrics.h"
#include "train/rollout.h"
#include "train/scorer.h"

struct scoring;

/* Refuses sources whose numbers of members do not fit. */
int scoring_open(const struct stage *s, struct scorer *scorer, struct scoring **out, struct error *err);
void scoring_close(struct scoring *s);
/* Fills samples.reward, family, members and, if need be, mask. Metrics: rewards/NAME/mean and std, as TRL's, under
 * `prefix`. */
int scoring_score(struct scoring *s, struct rollout *r, uint64_t first_row_id, uint32_t number, const char *prefix,
                  struct metrics *metrics, struct error *err);

#endif
