/* SPDX-License-Identifier: MIT */
#include "conform/options.h"

#include "conform/conform.h"

#include <stdlib.h>
#include <string.h>

/* How many values of an option are tried. */
static int64_t values_of(const struct rein_param *p) {
    int64_t n = 0;

    if (p->type == REIN_PARAM_BOOL)
        return 2;
    if (p->type == REIN_PARAM_INT || p->type == REIN_PARAM_REAL)
        return p->min > p->max ? 0 : 2;
    while (p->type == REIN_PARAM_CHOICE && p->choices[n])
        n++;
    return n;
}

/* Puts the i-th value into the block; returns it. */
static double put(const struct rein_param *p, int64_t i, char *config) {
    const double real = i ? p->max : p->min;
    const int64_t whole = p->type == REIN_PARAM_CHOICE ? i : (int64_t)real;

    if (p->type == REIN_PARAM_BOOL) {
        config[p->offset] = (char)i;
        return (double)i;
    }
    memcpy(config + p->offset, p->type == REIN_PARAM_REAL ? (const void *)&real : (const void *)&whole, 8);
    return p->type == REIN_PARAM_REAL ? real : (double)whole;
}

bool options_ends(const struct rein_plugin *plugin, const void *config, bool (*use)(void *ctx, const void *config),
                  void *ctx, uint32_t *tried) {
    const char *row = (const char *)plugin->params;
    char *copy = malloc(plugin->config_size + 1);
    bool all = copy != NULL;

    *tried = 0;
    for (; copy && row && ((const struct rein_param *)row)->name; row += plugin->param_stride) {
        const struct rein_param *p = (const struct rein_param *)row;

        for (int64_t i = 0; i < values_of(p); i++) {
            double value;
            bool well;

            memcpy(copy, config, plugin->config_size);
            value = put(p, i, copy);
            ++*tried;
            conform_host_quiet(true);
            well = use(ctx, copy);
            conform_host_quiet(false);
            if (!well)
                conform_note("option %s at %g", p->name, value);
            all = all && well;
        }
    }
    free(copy);
    return all;
}
