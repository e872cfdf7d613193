/* SPDX-License-Identifier: MIT */
#include "base/suggest.h"

#include <stdio.h>
#include <string.h>

enum { LONGEST = 64 };

/* Optimal string alignment distance: a swap of neighbours counts as one slip. */
static size_t distance(const char *a, const char *b) {
    const size_t la = strlen(a), lb = strlen(b);
    size_t d[3][LONGEST];

    if (la >= LONGEST || lb >= LONGEST)
        return (size_t)-1;
    for (size_t j = 0; j <= lb; j++)
        d[0][j] = j;
    for (size_t i = 1; i <= la; i++) {
        size_t *row = d[i % 3], *up = d[(i + 2) % 3], *up2 = d[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= lb; j++) {
            size_t best = up[j - 1] + (a[i - 1] != b[j - 1]);
            if (up[j] + 1 < best)
                best = up[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && up2[j - 2] + 1 < best)
                best = up2[j - 2] + 1;
            row[j] = best;
        }
    }
    return d[la % 3][lb];
}

void suggest_offer(struct suggestion *s, const char *wanted, const char *candidate) {
    const size_t length = strlen(wanted), far = length <= 3 ? 1 : length <= 6 ? 2 : 3;
    const size_t d = distance(wanted, candidate);

    if (d <= far && d < length && (s->best == NULL || d < s->distance)) {
        s->best = candidate;
        s->distance = d;
    }
}

void suggest_longer(struct suggestion *s, const char *wanted, const char *candidate) {
    const size_t length = strlen(wanted);

    if (s->best == NULL && length > 3 && strncmp(wanted, candidate, length) == 0) {
        s->best = candidate;
        s->distance = LONGEST; /* anything that is near is better */
    }
}

const char *suggest_text(const struct suggestion *s, char *out, size_t size) {
    if (s->best != NULL)
        snprintf(out, size, " (did you mean '%s'?)", s->best);
    else
        out[0] = '\0';
    return out;
}
