/* tests/rewards/tiny.h - a second, slow decoder: the harness's Llama in float64, one text at a time.
 * SPDX-License-Identifier: MIT
 *
 * It shares nothing with the engine but the names of the parameters and Philox, and draws dropout and noise by itself.
 */
#ifndef REIN_TESTS_TINY_H
#define REIN_TESTS_TINY_H

#include "model/model.h"

enum tiny_what { TINY_PLAIN, TINY_DROP_HEAD, TINY_DROP_ALL, TINY_NOISE_HEAD, TINY_NOISE_EMBEDDING };

/* The score of head `head` at the last of n <= 64 tokens. `key`: of the row. */
double tiny_score(const struct model *m, const int32_t *ids, int n, uint32_t head, enum tiny_what what, double rate,
                  uint64_t key);

#endif
