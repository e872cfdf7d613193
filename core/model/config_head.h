/* core/model/config_head.h - what config.json says of score heads.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_MODEL_CONFIG_HEAD_H
#define REIN_CORE_MODEL_CONFIG_HEAD_H

#include "model/config.h"
#include "model/json_read.h"

/* Fills labels and standard; the family is known. */
int config_read_head(struct json_reader *r, struct model_config *out);
/* Architecture, labels and our own keys. Not 0 without memory. */
int config_write_head(json_t *o, const struct model_config *c, bool score_head);

#endif
