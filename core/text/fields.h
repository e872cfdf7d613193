/* core/text/fields.h - members of a JSON object, with their type checked.
 * SPDX-License-Identifier: MIT
 *
 * A member that is absent or null leaves the default; one of another type is ERROR_INPUT naming the key.
 */
#ifndef REIN_CORE_TEXT_FIELDS_H
#define REIN_CORE_TEXT_FIELDS_H

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>

int field_bool(const json_t *object, const char *key, bool fallback, bool *out, struct error *err);
int field_string(const json_t *object, const char *key, const char *fallback, const char **out, struct error *err);
int field_count(const json_t *object, const char *key, size_t limit, size_t fallback, size_t *out, struct error *err);
/* The object's "type"; an error naming `what` when there is none. */
int field_type(const json_t *object, const char *what, const char **out, struct error *err);
/* A component of a tokenizer ("decoder"): calls `one` with it and its type, or, when it is a Sequence, with each of the
 * parts under the key `list`, in order and however nested (to a limit). The first error ends it. */
int field_components(const json_t *component, const char *what, const char *list,
                     int (*one)(void *ctx, const json_t *part, const char *type, struct error *err), void *ctx,
                     struct error *err);
/* "an object", "a string" ... for messages. */
const char *field_kind(const json_t *value);

#endif
