/* core/pipeline/instances.h - asking plugins, before anything runs, whether they can do what the pipeline says.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_INSTANCES_H
#define REIN_CORE_INSTANCES_H

#include "pipeline/build.h"

/* Creates the algorithm with its options once, to learn what it needs. `at`: where it is named. */
int instances_describe(struct build *b, const struct node *at, struct stage_algorithm *a);
/* Creates the reward source with its options once; models cannot be scored yet. Fills members. */
int instances_try_reward(struct build *b, const struct stage *s, const struct node *at, struct stage_reward *r);

#endif
