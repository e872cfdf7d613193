/* core/train/choices.h - how likely a language model finds each of a few answers.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_CHOICES_H
#define REIN_CORE_CHOICES_H

#include "model/pass.h"
#include "text/template.h"

#include <rein/reward.h>

/* A model that is asked. */
struct choices_model {
    const char *name; /* for messages */
    struct model *model;
    struct pass *pass;
    const struct chat_template *chat; /* of its tokenizer, or NULL: none, or none that we know */
};

/* out[rows * nchoices], as rein/reward.h says. *too_long counts the rows that do not fit the model's context: they
 * got NaN. Without rows it only checks that the model can be asked so. */
int choices_logprobs(const struct choices_model *m, const struct rein_choice_request *q, float *out, uint32_t *too_long,
                     struct error *err);

#endif
