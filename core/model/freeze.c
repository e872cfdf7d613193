/* SPDX-License-Identifier: MIT
 * Which parameters of a trained model do not train.
 */
#include "base/suggest.h"
#include "model/param.h"
#include "model/weights.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const words[] = {"embedding", "lm_head", "norms", "biases", "trunk"};

static bool ends_in(const char *name, const char *end) {
    const size_t a = strlen(name), b = strlen(end);

    return a >= b && strcmp(name + a - b, end) == 0;
}

/* "layers.3" or "layers.0-5": *first .. *last */
static bool read_range(const char *pattern, long *first, long *last) {
    char *end;

    if (strncmp(pattern, "layers.", 7) != 0 || pattern[7] < '0' || pattern[7] > '9')
        return false;
    errno = 0;
    *first = *last = strtol(pattern + 7, &end, 10);
    if (*end == '-' && end[1] >= '0' && end[1] <= '9')
        *last = strtol(end + 1, &end, 10);
    return errno == 0 && *end == '\0';
}

static bool glob(const char *pattern, const char *prefix, const char *name) {
    const size_t n = strlen(prefix);

    return fnmatch(pattern, name, 0) == 0 ||
           (n > 0 && strncmp(name, prefix, n) == 0 && fnmatch(pattern, name + n, 0) == 0);
}

static bool names(const struct trunk *t, const char *pattern, const struct model_param *p) {
    const char *prefix = t->config.family->names->prefix;
    long first, last;

    if (read_range(pattern, &first, &last))
        return p->layer >= first && p->layer <= last;
    if (strcmp(pattern, "embedding") == 0)
        return p == t->embedding || p == t->positions;
    if (strcmp(pattern, "lm_head") == 0)
        return p == t->lm_head && p != t->embedding;
    if (strcmp(pattern, "norms") == 0)
        return !p->decay && !ends_in(p->place.tensor, ".bias");
    if (strcmp(pattern, "biases") == 0)
        return ends_in(p->place.tensor, ".bias");
    return strcmp(pattern, "trunk") == 0 || glob(pattern, prefix, p->name) || glob(pattern, prefix, p->place.tensor);
}

/* A critic's file may have either name for its head: both name it. */
static bool names_head(const char *pattern, enum model_head head) {
    return (head != MODEL_LM && fnmatch(pattern, "score.weight", 0) == 0) ||
           (head == MODEL_VALUE && fnmatch(pattern, "value.weight", 0) == 0);
}

bool freeze_names_head(const struct model_source *source) {
    for (size_t i = 0; i < source->nfreeze; i++)
        if (names_head(source->freeze[i], source->head))
            return true;
    return false;
}

static int names_nothing(const struct trunk *t, const char *pattern, struct error *err) {
    struct suggestion near = {0};
    char hint[192];
    long first, last;

    if (read_range(pattern, &first, &last))
        return error_input(err, "freeze: '%.80s' is no range of layers here: the model has layers 0 to %lld", pattern,
                           (long long)t->config.layers - 1);
    if (strcmp(pattern, "lm_head") == 0 && t->lm_head)
        return error_input(err, "freeze: the language model head of this model is its embedding: 'embedding' freezes both");
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        suggest_offer(&near, pattern, words[i]);
    suggest_offer(&near, pattern, "layers.0");
    for (size_t i = 0; i < t->nparams; i++) {
        suggest_offer(&near, pattern, t->params[i]->name);
        if (strncmp(t->params[i]->name, t->config.family->names->prefix, strlen(t->config.family->names->prefix)) == 0)
            suggest_offer(&near, pattern, t->params[i]->name + strlen(t->config.family->names->prefix));
    }
    suggest_text(&near, hint, sizeof(hint));
    if (hint[0] == '\0')
        snprintf(hint, sizeof(hint), "; one is called %.120s", t->layers[0].o->name);
    return error_input(err, "freeze: '%.80s' names no parameter of this model%s", pattern, hint);
}

static int mark(struct trunk *t, const struct model_source *source, const char *pattern, struct error *err) {
    bool found = names_head(pattern, source->head);
    long first, last;

    if (read_range(pattern, &first, &last) && (first > last || last >= t->config.layers))
        return names_nothing(t, pattern, err);
    for (size_t i = 0; i < t->nparams; i++)
        if (names(t, pattern, t->params[i])) {
            t->params[i]->frozen = true;
            found = true;
        }
    return found ? 0 : names_nothing(t, pattern, err);
}

/* The lowest layer that a gradient has to reach. */
static int64_t reach(const struct trunk *t, bool *some) {
    int64_t lowest = (int64_t)t->nlayers;

    *some = false;
    for (size_t i = 0; i < t->nparams; i++) {
        const struct model_param *p = t->params[i];
        const bool below = p == t->embedding || p == t->positions;

        if (p->frozen)
            continue;
        *some = true;
        if (below)
            lowest = -1;
        else if (p->layer >= 0 && p->layer < lowest)
            lowest = p->layer;
    }
    return lowest;
}

int trunk_freeze(struct trunk *t, const struct model_source *source, size_t *which, struct error *err) {
    const bool head = source->head != MODEL_LM && !freeze_names_head(source);
    bool some;

    t->first_trained = (int64_t)t->nlayers;
    if (!source->trainable)
        return 0;
    for (*which = 0; *which < source->nfreeze; ++*which)
        if (mark(t, source, source->freeze[*which], err))
            return -1;
    t->first_trained = reach(t, &some);
    t->trainable = some; /* if not, only a head trains, and the trunk is as any frozen model's */
    return some || head ? 0 : error_input(err, "freeze: nothing is left to train");
}

void trunk_unplan(struct trunk *t) {
    for (size_t i = 0; i < t->nparams; i++)
        param_free(NULL, t->params[i]);
    free(t->params);
    free(t->layers);
}

int model_check_freeze(const struct model_config *c, const struct model_source *source, size_t *which,
                       struct error *err) {
    struct trunk t = {.config = *c};
    int rc;

    *which = source->nfreeze;
    rc = weights_plan(&t, source->head == MODEL_LM, err) || trunk_freeze(&t, source, which, err) ? -1 : 0;
    trunk_unplan(&t);
    return rc;
}
