/* core/model/adapted.h - inside core/model: what a source means when an adapter is part of it.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_ADAPTED_H
#define REIN_CORE_ADAPTED_H

#include "model/lora.h"
#include "model/peft.h"

/* The files behind a source. */
struct sources {
    struct peft *peft;          /* NULL: no adapter is read */
    struct tensors *file;       /* of the trunk; NULL for random weights */
    struct model_source trunk;  /* the base, which an adapter leaves frozen */
};
int sources_open(const struct model_source *source, struct sources *out, struct error *err);
/* The same for a whole model: refuses to predict tokens with the files of a reward model or a critic, which have a score head in
 * place of a language model head. A tied one's embedding has the shape for it. */
int sources_open_model(const struct model_source *source, struct sources *out, struct error *err);
void sources_close(struct sources *s);

/* Where a head is read from: the adapter's file when it has one there. */
struct head_source {
    const struct tensors *file;
    const char *name;           /* NULL: in none */
    struct model_config config; /* labels and standard are the head's; config_free */
};
int head_source_open(const struct sources *s, const struct model_config *base, enum model_head head,
                     struct head_source *out, struct error *err);

/* The adapter that the source asks for, if any, planned only (*out may be NULL), or ready to run. */
int adapter_plan(const struct trunk *t, const struct model_source *source, const struct sources *s, struct lora **out,
                 struct error *err);
int adapter_open(const struct trunk *t, const struct model_source *source, const struct sources *s, struct lora **out,
                 struct error *err);

#endif
