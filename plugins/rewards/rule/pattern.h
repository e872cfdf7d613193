/* plugins/rewards/rule/pattern.h - Perl-compatible patterns that end.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_RULE_PATTERN_H
#define REIN_RULE_PATTERN_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include "rewards/rule/answer.h"

#include <rein/host.h>

#include <pcre2.h>

struct pattern {
    pcre2_code *code; /* NULL: there is none */
    pcre2_match_data *match;
    pcre2_match_context *limits;
};

/* `flags` are PCRE2's. A mistake is a failure of the option of that name. */
rein_status pattern_compile(const struct rein_host *host, const char *option, const char *text, uint32_t flags,
                            struct pattern *out);
void pattern_free(struct pattern *p);
/* 1 found, 0 not found; below: PCRE2's error, for ill-formed text or a pattern that takes too long. */
int pattern_find(struct pattern *p, struct span text);
/* The same for the last match; *out is its first group or, without groups, all of it. */
int pattern_last(struct pattern *p, struct span text, struct span *out);

#endif
