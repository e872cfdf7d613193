/* core/plugin/params.h - option tables: from YAML to a plugin's option block, and to documentation.
 * SPDX-License-Identifier: MIT
 *
 * The host's own sections (train:, rollout:, data: ...) use the same rows and the same code.
 */
#ifndef REIN_CORE_PARAMS_H
#define REIN_CORE_PARAMS_H

#include "base/buffer.h"
#include "base/yaml.h"

#include <rein/param.h>
#include <rein/plugin.h>

/* A table, wherever it comes from. */
struct params {
    const char *owner;              /* "ppo", "train": for messages */
    const struct rein_param *rows;  /* ends with .name == NULL; may be NULL */
    uint32_t stride;                /* bytes from one row to the next */
    uint32_t config_size;
};
struct params params_of(const struct rein_plugin *plugin);
const struct rein_param *params_row(const struct params *p, size_t index); /* by the table's stride; NULL past the end */
/* "lie in [0, 1]", "be at least 0" or "" for a row without a range; returns out. */
const char *params_range(const struct rein_param *row, char *out, size_t size);

/* Remembers where each option stood, so that a later complaint can point at it. */
struct params_marks {
    const struct node *mapping;     /* may be NULL: nothing was given */
    const struct params *table;
};

/* Checks the table itself: names, types, offsets inside config_size, defaults that satisfy their own ranges. */
int params_verify(const struct params *p, struct error *err);

/* Makes the option block: zeroes, defaults, then `mapping` (NULL: none). Keys in `reserved` (NULL-terminated; may
 * be NULL) are skipped. Unknown keys get the nearest right one; every error has file:line:col. Strings
 * and lists live in `arena`, as does the block. NULL on error. */
void *params_bind(const struct params *p, const struct node *mapping, const char *const *reserved, struct arena *arena,
                  struct error *err);
/* Was this option given in the file (not defaulted)? */
bool params_given(const struct node *mapping, const char *name);
/* An error that points at the option, or at the mapping when it was not given. */
int params_fail(const struct params_marks *marks, const char *name, const char *text, struct error *err);
/* Calls visit for every MODEL (or COLUMN ...) value bound in `config`. */
int params_visit(const struct params *p, const void *config, uint32_t type,
                 int (*visit)(void *ctx, const struct rein_param *row, const char *value), void *ctx);

/* The value of a row in a block as a node, NULL for a string that is not set or when memory is short. */
struct node *params_value(const struct rein_param *row, const void *block, struct arena *arena);

/* Rows for people: name, type, range, default, unit, sentence. */
void params_print(const struct params *p, struct buffer *out);
/* The same as a commented YAML mapping, every line indented by `indent`. */
void params_schema(const struct params *p, int indent, struct buffer *out);
/* The same as a JSON array. */
void params_json(const struct params *p, struct buffer *out);

#endif
