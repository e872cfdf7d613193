/* core/cli/show.h - how tensors are shown by `rein inspect`.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_SHOW_H
#define REIN_CORE_SHOW_H

#include "model/tensors.h"

/* On stdout, at most `most` bytes. What came from a file must not steer a terminal: control characters become '?'. */
void show_safe(const char *text, size_t most);
void show_tensors(const struct tensors *t);
json_t *show_tensors_json(const struct tensors *t); /* a new list; empty when t is NULL */
uint64_t show_elements(const struct tensors *t);    /* of all tensors; 0 when t is NULL */

#endif
