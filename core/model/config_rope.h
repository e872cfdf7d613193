/* core/model/config_rope.h - what config.json says about rotary positions.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_CONFIG_ROPE_H
#define REIN_CORE_CONFIG_ROPE_H

#include "model/config.h"
#include "model/json_read.h"

/* Fills rope, rope_theta and the scaling; out->positions must be there. (config_rope, in config.h, makes the
 * frequencies.) */
int config_read_rope(struct json_reader *r, struct model_config *out);

#endif
