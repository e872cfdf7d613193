/* SPDX-License-Identifier: MIT */
#include "rewards/rule/pattern.h"

#include <stdio.h>

rein_status pattern_compile(const struct rein_host *host, const char *option, const char *text, uint32_t flags,
                            struct pattern *out) {
    PCRE2_SIZE at;
    int code;

    out->code = pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C | flags,
                              &code, &at, NULL);
    if (!out->code) {
        char why[160], line[240];
        pcre2_get_error_message(code, (PCRE2_UCHAR *)why, sizeof(why));
        snprintf(line, sizeof(line), "at character %zu: %s", (size_t)at + 1, why);
        return host->fail_param(host->ctx, option, line);
    }
    out->match = pcre2_match_data_create_from_pattern(out->code, NULL);
    out->limits = pcre2_match_context_create(NULL);
    if (!out->match || !out->limits)
        return host->fail(host->ctx, REIN_ERR_NOMEM, "out of memory");
    /* a pattern may need exponential time: about a second and 16 MiB at most */
    pcre2_set_match_limit(out->limits, 5000000);
    pcre2_set_depth_limit(out->limits, 100000);
    pcre2_set_heap_limit(out->limits, 16384);
    return REIN_OK;
}

void pattern_free(struct pattern *p) {
    pcre2_code_free(p->code);
    pcre2_match_data_free(p->match);
    pcre2_match_context_free(p->limits);
}

static int find_from(struct pattern *p, struct span text, size_t from) {
    const int found = pcre2_match(p->code, (PCRE2_SPTR)text.text, text.length, from, 0, p->match, p->limits);

    return found == PCRE2_ERROR_NOMATCH ? 0 : found < 0 ? found : 1;
}

int pattern_find(struct pattern *p, struct span text) {
    return find_from(p, text, 0);
}

int pattern_last(struct pattern *p, struct span text, struct span *out) {
    int found, any = 0;
    size_t from = 0;

    while (from <= text.length && (found = find_from(p, text, from)) != 0) {
        const PCRE2_SIZE *at = pcre2_get_ovector_pointer(p->match);
        const uint32_t group = pcre2_get_ovector_count(p->match) > 1;

        if (found < 0)
            return found;
        any = 1;
        *out = at[2 * group] == PCRE2_UNSET
                   ? (struct span){text.text, 0}
                   : (struct span){text.text + at[2 * group], at[2 * group + 1] - at[2 * group]};
        from = at[1] > from ? at[1] : from + 1; /* an empty match: on by a character */
        while (from < text.length && ((unsigned char)text.text[from] & 0xc0) == 0x80)
            from++;
    }
    return any;
}
