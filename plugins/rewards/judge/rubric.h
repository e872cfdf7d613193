/* plugins/rewards/judge/rubric.h - a text with places to fill in.
 * SPDX-License-Identifier: MIT
 *
 *   "Is {completion} right? The answer is {answer}. {{x}} is {x} in braces."
 *
 * It is read once; what is filled in is copied, never read again, so that braces in a completion stay braces.
 */
#ifndef REIN_JUDGE_RUBRIC_H
#define REIN_JUDGE_RUBRIC_H

#include "common/span.h"

#include <rein/host.h>
#include <rein/param.h>

enum { RUBRIC_TEXT = -3, RUBRIC_PROMPT = -2, RUBRIC_COMPLETION = -1 }; /* from 0 on: a column */

struct piece {
    int32_t what;
    struct span text; /* of RUBRIC_TEXT, in the rubric itself */
};

struct rubric {
    struct piece *pieces;
    size_t count;
};

/* `columns` are the names that places may have besides prompt and completion. A mistake is a failure of the option
 * "rubric". Borrows `text`. */
rein_status rubric_read(const struct rein_host *host, const char *text, const struct rein_list *columns,
                        struct rubric *out);
void rubric_free(const struct rein_host *host, struct rubric *r);

/* The rubric filled in, from host->alloc; `columns` has a text for each column. NULL without memory. */
char *rubric_fill(const struct rein_host *host, const struct rubric *r, struct span prompt, struct span completion,
                  const struct span *columns);

#endif
