/* rein/param.h - how a plugin declares what it may be configured with.
 * SPDX-License-Identifier: MIT
 *
 * The host parses YAML, checks type and range, applies defaults through the
 * same parser, and stores each value at `offset` in a zeroed block of
 * `config_size` bytes, which is what create() receives. The plugin never sees
 * YAML; `rein plugins NAME` and `rein schema NAME` print these rows.
 */
#ifndef REIN_PARAM_H
#define REIN_PARAM_H

#include "abi.h"

/* Type                      stored at `offset` as */
#define REIN_PARAM_BOOL   1u /* uint8_t, 0 or 1 */
#define REIN_PARAM_INT    2u /* int64_t */
#define REIN_PARAM_REAL   3u /* double, finite */
#define REIN_PARAM_STRING 4u /* const char *, UTF-8, NULL when not given and no default */
#define REIN_PARAM_CHOICE 5u /* int64_t, index into `choices` */
#define REIN_PARAM_MODEL  6u /* const char *, the name of a model or stage of the pipeline */
#define REIN_PARAM_COLUMN 7u /* const char *, the name of a column of the stage's data */
/* Or-ed to a type: a YAML sequence of it, stored as struct rein_list. */
#define REIN_PARAM_LIST   0x100u

/* A list value: `count` elements of the type above (uint8_t, int64_t, double,
 * const char *) one after the other. Host-owned, like every string. */
struct rein_list {
    uint64_t count;
    const void *items;
};

#define REIN_PARAM_REQUIRED   (1u << 0) /* no default, must be given */
#define REIN_PARAM_ADVANCED   (1u << 1) /* shown last */
#define REIN_PARAM_DEPRECATED (1u << 2) /* accepted with a warning that quotes `doc` */
#define REIN_PARAM_LM         (1u << 3) /* a MODEL that predicts tokens; without it one with a score head */

/* One row. The table ends with .name == NULL. The names use, name, weight and
 * data are reserved for the host, and normalise, clip and dtype in a reward source. Strings live as long as the module. */
struct rein_param {
    const char *name;           /* [a-z][a-z0-9_]* */
    uint32_t type;
    uint32_t flags;
    size_t offset;
    const char *dflt;           /* spelled as in YAML ("[a, b]" for a list); NULL: zero, or required */
    double min, max;            /* inclusive, numbers only; ignored when min > max */
    const char *const *choices; /* NULL-terminated, REIN_PARAM_CHOICE only */
    const char *unit;           /* "tokens", "nats", or NULL */
    const char *doc;            /* one sentence; further paragraphs after a newline */
};

#endif
