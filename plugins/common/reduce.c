/* SPDX-License-Identifier: MIT */
#include "common/reduce.h"
#include "common/numeric.h"

double reduce_weight(enum reduction how, const struct rein_batch *b, double length, double rows_per_token) {
    switch (how) {
    case REDUCE_ROWS:
        return inverse_or_zero(b->norm_rows * length);
    case REDUCE_MAX_LENGTH:
        return inverse_or_zero(b->norm_rows * b->max_tokens);
    case REDUCE_ROLLOUT:
        return rows_per_token * inverse_or_zero(b->norm_rows);
    default:
        return inverse_or_zero(b->norm_tokens);
    }
}
