/* core/text/template_yaml.h - a chat template spelled out in a pipeline.
 * SPDX-License-Identifier: MIT
 *
 *     template:
 *       system: "<|system|>\n{content}{eos}\n"
 *       user: "<|user|>\n{content}{eos}\n"
 *       assistant: "<|assistant|>\n{content}{eos}\n"
 *
 * Each turn holds {content} once; {eos} is the tokenizer's end-of-text token, {{ and }} are braces. What follows the
 * assistant's {content}, up to the white space at its end, is written by the assistant too: it ends the turn.
 */
#ifndef REIN_CORE_TEMPLATE_YAML_H
#define REIN_CORE_TEMPLATE_YAML_H

#include "base/mem.h"
#include "plugin/params.h"
#include "text/template.h"

extern const struct params template_params;

/* The template in `mapping`, which lives in `arena` like all that it points to. Errors have the place. */
int template_read(const struct node *mapping, struct arena *arena, const struct chat_template **out,
                  struct error *err);

#endif
