/* plugins/common/reduce.h - how the losses of tokens are added up to that of a step.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_COMMON_REDUCE_H
#define REIN_COMMON_REDUCE_H

#include <rein/algorithm.h>

/* The weight of each of a row's `length` tokens, after TRL 1.16's loss types:
 *   TOKENS      1 / tokens of the step                                      bnpo, and PPO's mean
 *   ROWS        1 / (rows of the step * length): each row counts the same   grpo, gspo
 *   MAX_LENGTH  1 / (rows of the step * max_tokens)                         dr_grpo, arXiv 2503.20783
 *   ROLLOUT     1 / (the rollout's tokens, as many parts of them as the
 *               step has of its rows)                                       dapo, cispo */
enum reduction { REDUCE_TOKENS, REDUCE_ROWS, REDUCE_MAX_LENGTH, REDUCE_ROLLOUT };
double reduce_weight(enum reduction how, const struct rein_batch *b, double length, double rows_per_token);

#endif
