/* core/text/template_parts.h - what a chat template is made of; for template.c and template_yaml.c.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_TEMPLATE_PARTS_H
#define REIN_CORE_TEMPLATE_PARTS_H

#include <stdbool.h>

enum template_role { TEMPLATE_SYSTEM, TEMPLATE_USER, TEMPLATE_ASSISTANT, TEMPLATE_ROLES };

/* In the strings below: the tokenizer's EOS, spelled out. */
#define TEMPLATE_EOS "\x01"

/* A turn is: before, the content, stop, tail. What the assistant writes is the content and stop. */
struct turn {
    const char *before, *stop, *tail; /* before NULL: there is no such turn */
};

enum template_bos { BOS_NONE, BOS_ALWAYS /* the tokenizer's, when it has one */, BOS_PREFIX /* as its post-processor does */ };

struct chat_template {
    const char *name;
    enum template_bos bos;
    const char *default_system; /* text in front when the first turn is not the system's; NULL: none */
    struct turn turns[TEMPLATE_ROLES];
    const char *generation;
    const char *end_of_turn; /* NULL: the tokenizer's EOS */
    bool trim;               /* contents lose the space around them */
    bool thinking;           /* Qwen3: <think> blocks, only in turns after the last question */
    bool alternate;          /* user and assistant by turns, the user first */
};

#endif
