/* core/base/yaml.h - a YAML file as a tree that knows where everything stood.
 * SPDX-License-Identifier: MIT
 *
 * The subset that configuration needs: mappings with scalar keys, sequences, scalars. Aliases, anchors,
 * tags, merge keys, several documents, duplicate keys, deep nesting and huge files are refused.
 */
#ifndef REIN_CORE_YAML_H
#define REIN_CORE_YAML_H

#include "base/error.h"
#include "base/mem.h"
#include "base/node.h"

struct document {
    struct arena arena;
    const char *file;
    struct node *root;          /* always a mapping */
};

int yaml_load(const char *path, struct document *out, struct error *err);
int yaml_parse(const char *text, size_t length, const char *name, struct document *out, struct error *err);
/* `--set a.b.c=VALUE`: VALUE is YAML. Stages are found by name ("align.train.lr"). Creates missing mappings;
 * a first component that is neither a top-level key nor a stage is refused. */
int yaml_set(struct document *doc, const char *assignment, struct error *err);
/* Sets or adds one key of a mapping; `file` is where a new key is said to come from. */
int yaml_put(struct arena *arena, struct node *map, const char *file, const char *key, struct node *value,
             struct error *err);
void yaml_free(struct document *doc);
/* One value on its own ("[a, b]"), as after --set or in a default. Its nodes have no line. */
struct node *yaml_value(struct arena *arena, const char *text, const char *name, struct error *err);

#endif
