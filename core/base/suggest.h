/* core/base/suggest.h - "did you mean ...?"
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_SUGGEST_H
#define REIN_CORE_SUGGEST_H

#include <stddef.h>

/* Feed candidates one by one; best is NULL unless one is near enough to help. Zero-initialise. */
struct suggestion {
    const char *best;
    size_t distance;
};
void suggest_offer(struct suggestion *s, const char *wanted, const char *candidate);
/* The same for a candidate that merely goes on where `wanted` ends ("--temp" for "--temperature"). */
void suggest_longer(struct suggestion *s, const char *wanted, const char *candidate);
/* Writes " (did you mean 'x'?)" or "" into out; returns out. */
const char *suggest_text(const struct suggestion *s, char *out, size_t size);

#endif
