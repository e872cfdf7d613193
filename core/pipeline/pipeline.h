/* core/pipeline/pipeline.h - a pipeline file, read and checked: what `rein run` and `rein check` work on.
 * SPDX-License-Identifier: MIT
 *
 * pipeline_load finds everything that is wrong with the wiring without reading a model: unknown keys, types, ranges,
 * who comes from whom, what an algorithm asks for and the stage lacks. What needs the models' configurations,
 * tokenizers or the data is found by plan_create (pipeline/plan.h). Every error has file:line:col.
 */
#ifndef REIN_CORE_PIPELINE_H
#define REIN_CORE_PIPELINE_H

#include "base/yaml.h"
#include "plugin/loader.h"
#include "train/stage.h"

extern const struct params pipeline_params; /* the top-level keys besides models: and stages: */

/* An entry of `models:`. */
struct pipeline_model {
    const char *name;
    const struct node *node;
    struct model_source source;
};

/* Owns everything that its stages point to. */
struct pipeline {
    struct document document;      /* with every --set applied */
    const char *path;              /* as the user spelled it */
    const char *folder;            /* relative paths start here */
    uint64_t seed;
    const char *output;            /* the run folder */
    struct pipeline_model *models;
    size_t nmodels;
    struct stage *stages;
    size_t nstages;
};

/* `sets`: the arguments of --set. The registry must outlive the pipeline. */
int pipeline_load(const char *path, const char *const *sets, size_t nsets, struct registry *registry,
                  struct pipeline *out, struct error *err);
void pipeline_free(struct pipeline *p);

/* The earlier stage that writes what `use` reads, or NULL: it lies in files. */
const struct stage *pipeline_writer(const struct pipeline *p, const struct model_use *use);
/* The score heads that a model has before it is opened (0: none yet), and whether the place of its scores is kept with
 * it. A stage still to come counts as done; files that cannot be read as having both. */
void pipeline_heads(const struct pipeline *p, const struct model_use *use, uint32_t *heads, bool *standard);
/* The stage that writes the model of that name (its own, or NAME/ema), or NULL. */
const struct stage *pipeline_stage(const struct pipeline *p, const char *name);

#endif
