/* core/pipeline/models.h - the `models:` section, and what a name in `from:` means.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_MODELS_H
#define REIN_CORE_MODELS_H

#include "pipeline/build.h"

extern const struct params models_params; /* an entry of models: */

int models_read(struct build *b, const struct node *section); /* section may be NULL */

/* Is it NAME/ema, the moving average that stage NAME keeps? */
bool models_names_average(const struct stage *s, const char *name);

/* What a name stands for: an earlier stage (or NAME/ema), a model above, a Hugging Face folder or a .gguf file, in this order. Fills
 * source->path, random and seed. *stage is the earlier stage, or NULL. `s` is one of p->stages. */
int models_resolve(struct build *b, const struct stage *s, const struct node *at, const char *name,
                   struct model_source *source, const struct stage **stage);

#endif
