/* core/pipeline/lora_read.h - `lora:` of a model or a critic.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_LORA_READ_H
#define REIN_CORE_LORA_READ_H

#include "pipeline/build.h"
#include "pipeline/pipeline.h"

extern const struct params lora_params;
extern const char *const lora_key[]; /* "lora", for params_bind of the section around it */

/* Is what `use` reads an adapter, or will it be one when the stage that writes it has run? */
bool lora_is_adapter(const struct pipeline *p, const struct model_use *use);
/* Does an adapter train in it, and nothing else but a head? */
bool lora_trains(const struct pipeline *p, const struct model_use *use);
/* Fills use->source.lora, when use->node has the key; the use is resolved. */
int lora_read_options(struct build *b, const struct stage *s, struct model_use *use);
/* What the stage's kind forbids, and the reference that an adapter brings with it: the same model with the adapter as it
 * begins. */
int lora_check_stage(struct build *b, struct stage *s, bool wants_reference);

#endif
