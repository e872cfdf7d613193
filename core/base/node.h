/* core/base/node.h - a value of a YAML file that knows where it stood.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_NODE_H
#define REIN_CORE_NODE_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

enum node_type { NODE_SCALAR, NODE_SEQUENCE, NODE_MAPPING };

struct node {
    enum node_type type;
    const char *file;           /* as the user spelled it, or "--set KEY=VALUE" */
    size_t line, column;        /* from 1; line 0: not from a file */
    const char *text;           /* scalar */
    bool plain;                 /* scalar without quotes: may be a number, true, false or null */
    size_t count;               /* items of a sequence, pairs of a mapping */
    struct node **keys;         /* mapping: scalars, in file order */
    struct node **items;        /* sequence: items; mapping: values */
};

struct node *node_get(const struct node *mapping, const char *key); /* NULL when absent */
/* error_at this node */
int node_error(const struct node *n, struct error *err, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Puts the node's place in front of an ERROR_INPUT that has none. Returns -1. */
int node_place(const struct node *n, struct error *err);
/* Typed readings of a scalar; an error names what was expected. */
int node_string(const struct node *n, const char **out, struct error *err);
int node_int(const struct node *n, int64_t *out, struct error *err);
int node_real(const struct node *n, double *out, struct error *err);  /* finite */
int node_bool(const struct node *n, bool *out, struct error *err);    /* true or false, nothing else */
/* The same for callers that word the message: NULL when it fits, else what was expected ("an integer"). */
const char *node_read_string(const struct node *n, const char **out);
const char *node_read_int(const struct node *n, int64_t *out);
const char *node_read_real(const struct node *n, double *out);
const char *node_read_bool(const struct node *n, bool *out);
/* What stands there, for "got ...": "'2.5'", "a list", "a mapping" or "nothing". Returns out. */
const char *node_got(const struct node *n, char *out, size_t size);
bool node_is_null(const struct node *n); /* nothing, ~ or null */
/* Writes the tree as YAML text (the resolved pipeline.yaml). */
struct buffer;
void node_write(const struct node *n, struct buffer *out);

#endif
