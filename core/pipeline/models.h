/* core/pipeline/models.h - the `models:` section, and what a name in `from:` means.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_MODELS_H
#define REIN_CORE_MODELS_H

#include "pipeline/build.h"

extern const struct params models_params; /* an entry of models: */

int models_read(struct build *b, const struct node *section); /* section may be NULL */

/* The option `dtype` of every table of models: its row, and its value as model_source has it. */
#define MODELS_DTYPE(block, field, sentence)                                                                           \
    {.name = "dtype", .type = REIN_PARAM_CHOICE, .offset = offsetof(block, field), .choices = models_dtypes,            \
     .dflt = "auto", .doc = sentence}
extern const char *const models_dtypes[];
static inline uint32_t models_dtype(int64_t choice) {
    return choice > 0 ? (uint32_t)choice : 0; /* auto, then in the order of REIN_F32, F16, BF16 */
}

bool models_is_gguf(const char *path); /* by its name */
/* Is it NAME/ema, the moving average that stage NAME keeps? */
bool models_names_average(const struct stage *s, const char *name);

/* What a name stands for: an earlier stage (or NAME/ema), a model above, a Hugging Face folder or a .gguf file, in this order. Fills
 * source->path, random and seed, and dtype where a model above says one and source does not. *stage is the earlier stage, or NULL. `s` is one of p->stages. */
int models_resolve(struct build *b, const struct stage *s, const struct node *at, const char *name,
                   struct model_source *source, const struct stage **stage);

#endif
