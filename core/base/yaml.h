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

#include <stdbool.h>
#include <stdint.h>

enum node_type { NODE_SCALAR, NODE_SEQUENCE, NODE_MAPPING };

struct node {
    enum node_type type;
    const char *file;           /* as the user spelled it, or "--set" */
    size_t line, column;        /* from 1 */
    const char *text;           /* scalar */
    bool plain;                 /* scalar without quotes: may be a number, true, false or null */
    size_t count;               /* items of a sequence, pairs of a mapping */
    struct node **keys;         /* mapping: scalars, in file order */
    struct node **items;        /* sequence: items; mapping: values */
};

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
void yaml_free(struct document *doc);

struct node *node_get(const struct node *mapping, const char *key); /* NULL when absent */
/* error_at this node */
int node_error(const struct node *n, struct error *err, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Typed readings of a scalar; an error names what was expected. */
int node_string(const struct node *n, const char **out, struct error *err);
int node_int(const struct node *n, int64_t *out, struct error *err);
int node_real(const struct node *n, double *out, struct error *err);  /* finite */
int node_bool(const struct node *n, bool *out, struct error *err);    /* true or false, nothing else */
/* Writes the tree as YAML text (the resolved pipeline.yaml). */
struct buffer;
void node_write(const struct node *n, struct buffer *out);

#endif
