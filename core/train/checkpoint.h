/* core/train/checkpoint.h - a folder that is there whole or not at all.
 * SPDX-License-Identifier: MIT
 *
 * Written as <folder>/checkpoint-N.tmp-PID: every file is synced, manifest.json with sizes and CRC-32 comes last, the
 * folder is synced, renamed to checkpoint-N, and its parent is synced. Reading takes the newest whose
 * manifest holds. So a kill at any instant leaves the old or the new one.
 */
#ifndef REIN_CORE_CHECKPOINT_H
#define REIN_CORE_CHECKPOINT_H

#include "base/error.h"
#include "train/optimizer.h"

#include <jansson.h>

struct checkpoint_writer {
    char *parent, *path, *temporary;
    json_t *files;
};
int checkpoint_begin(const char *folder, uint64_t step, struct checkpoint_writer *w, struct error *err);
int checkpoint_put(struct checkpoint_writer *w, const char *name, const void *data, size_t length, struct error *err);
/* Weights of an optimizer's parameters, float32: <name>.safetensors. Refuses weights that are not finite. */
int checkpoint_put_weights(struct checkpoint_writer *w, const char *name, const struct optimizer *o, struct error *err);
/* And both moments: <name>-adamw.safetensors. */
int checkpoint_put_optimizer(struct checkpoint_writer *w, const char *name, struct optimizer *o, struct error *err);
/* Makes it last, then removes all but the newest `keep`. Releases w, whatever happens. */
int checkpoint_commit(struct checkpoint_writer *w, int64_t keep, struct error *err);
void checkpoint_abort(struct checkpoint_writer *w);

/* Path of the newest valid checkpoint (free() it) or NULL in *path when there is none; invalid ones are passed over
 * with a warning. */
int checkpoint_find(const char *folder, char **path, struct error *err);
/* free() the data. */
int checkpoint_get(const char *path, const char *name, char **data, size_t *length, struct error *err);
int checkpoint_get_weights(const char *path, const char *name, struct optimizer *o, struct error *err);
int checkpoint_get_optimizer(const char *path, const char *name, struct optimizer *o, struct error *err);
/* Removes what a killed process left half written. */
int checkpoint_clean(const char *folder, struct error *err);

#endif
