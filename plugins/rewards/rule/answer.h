/* plugins/rewards/rule/answer.h - is this text that answer?
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_RULE_ANSWER_H
#define REIN_RULE_ANSWER_H

#include "common/span.h"

#include <jansson.h>

struct comparison {
    int numbers;      /* compare the last numbers, not the texts */
    int strip;        /* without white space at both ends */
    int ignore_case;  /* of every script */
    double tolerance; /* of numbers */
};

struct span answer_strip(const char *text, size_t length, int strip);

/* 1 or 0; -1 when `answer` (one JSON value) is nothing that can be compared so. */
int answer_is(const struct comparison *how, struct span text, const json_t *answer);

#endif
