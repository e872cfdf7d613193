/* core/train/scorer.h - the service rein.scorer/1: models of the pipeline at the disposal of reward sources.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_SCORER_H
#define REIN_CORE_SCORER_H

#include "train/stage.h"

struct scorer;

/* Opens every model that the stage's reward sources name, frozen. `policy` is the tokenizer of the sampling model. */
int scorer_open(const struct stage *s, const struct stage_env *env, const struct tokenizer *policy,
                struct scorer **out, struct error *err);
void scorer_close(struct scorer *s);
/* For struct host_instance: service(scorer, id). */
const void *scorer_service(void *scorer, const char *id);

#endif
