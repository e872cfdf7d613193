/* SPDX-License-Identifier: MIT */
#include "algorithms/module.h"
#include "base/yaml.h"

#include <rein/reward.h>

#include <check.h>
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct rein_plugin *module_open(const char *kind, const char *name) {
    const struct rein_plugin *(*entry)(uint32_t);
    char path[1024];
    void *handle;

    snprintf(path, sizeof(path), "%s/modules/%ss/%s.so", BUILD_DIR, kind, name);
    handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    ck_assert_msg(handle != NULL, "%s", dlerror());
    *(void **)&entry = dlsym(handle, REIN_PLUGIN_ENTRY);
    ck_assert_msg(entry != NULL, "%s has no entry", path);
    return entry(0);
}

static struct arena lists; /* as long as the program */

static void store_list(const struct rein_param *row, const char *text, char *config) {
    const struct node *n = yaml_value(&lists, text, "list", NULL);
    const char **items = arena_alloc(&lists, (n->count + 1) * sizeof(*items));
    const struct rein_list list = {n->count, items};

    for (size_t i = 0; i < n->count; i++)
        items[i] = n->items[i]->text;
    memcpy(config + row->offset, &list, sizeof(list));
}

static void store(const struct rein_param *row, const char *text, char *config) {
    double real = strtod(text, NULL);
    int64_t number = strtoll(text, NULL, 10);

    switch (row->type) {
    case REIN_PARAM_BOOL:
        config[row->offset] = !strcmp(text, "true");
        return;
    case REIN_PARAM_INT:
        memcpy(config + row->offset, &number, sizeof(number));
        return;
    case REIN_PARAM_REAL:
        memcpy(config + row->offset, &real, sizeof(real));
        return;
    case REIN_PARAM_CHOICE:
        for (number = 0; row->choices[number] && strcmp(row->choices[number], text) != 0; number++)
            ;
        ck_assert_msg(row->choices[number] != NULL, "%s is no choice of %s", text, row->name);
        memcpy(config + row->offset, &number, sizeof(number));
        return;
    case REIN_PARAM_STRING | REIN_PARAM_LIST:
    case REIN_PARAM_COLUMN | REIN_PARAM_LIST:
        store_list(row, text, config);
        return;
    default:
        memcpy(config + row->offset, &text, sizeof(text));
    }
}

void *module_config(const struct rein_plugin *plugin, const char *const *options) {
    char *config = calloc(1, plugin->config_size + 1);

    ck_assert_ptr_nonnull(config);
    for (const struct rein_param *row = plugin->params; row->name; row++)
        if (row->dflt)
            store(row, row->dflt, config);
    for (; options && options[0]; options += 2) {
        const struct rein_param *row = plugin->params;
        while (row->name && strcmp(row->name, options[0]) != 0)
            row++;
        ck_assert_msg(row->name != NULL, "%s has no option %s", plugin->name, options[0]);
        store(row, options[1], config);
    }
    return config;
}

static void *host_alloc(void *ctx, size_t bytes) {
    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64 + 64);

    if (p) {
        memset(p, 0xa5, bytes); /* instances must not count on zeroes */
        ((struct instance *)ctx)->live++;
    }
    return p;
}

static void host_free(void *ctx, void *ptr) {
    ((struct instance *)ctx)->live -= ptr != NULL;
    free(ptr);
}

static void host_log(void *ctx, uint32_t level, const char *text) {
    (void)ctx;
    (void)level;
    (void)text;
}

static rein_status host_fail(void *ctx, rein_status code, const char *text) {
    struct instance *in = ctx;
    snprintf(in->message, sizeof(in->message), "%s", text);
    return code;
}

static rein_status host_fail_param(void *ctx, const char *param, const char *text) {
    struct instance *in = ctx;
    snprintf(in->failed_param, sizeof(in->failed_param), "%s", param);
    return host_fail(ctx, REIN_ERR_ARG, text);
}

static const char *offered_id;
static const void *offered;

void module_offer(const char *id, const void *service) {
    offered_id = id;
    offered = service;
}

static const void *host_service(void *ctx, const char *id) {
    (void)ctx;
    return offered_id && !strcmp(offered_id, id) ? offered : NULL;
}

rein_status instance_open(struct instance *in, const char *kind, const char *name, const char *const *options) {
    rein_status status;

    *in = (struct instance){.plugin = module_open(kind, name)};
    in->config = module_config(in->plugin, options);
    in->host = (struct rein_host){.size = sizeof(in->host),
                                  .abi = REIN_ABI_VERSION,
                                  .ctx = in,
                                  .alloc = host_alloc,
                                  .free = host_free,
                                  .log = host_log,
                                  .fail = host_fail,
                                  .fail_param = host_fail_param,
                                  .service = host_service};
    if (in->plugin->kind == REIN_KIND_ALGORITHM) {
        in->ops = in->plugin->ops;
        in->destroy = in->ops->destroy;
        status = in->ops->create(&in->host, in->config, &in->self);
    } else {
        const struct rein_reward_ops *reward = in->plugin->ops;
        in->destroy = reward->destroy;
        status = reward->create(&in->host, in->config, &in->self);
    }
    if (status != REIN_OK)
        in->self = NULL;
    else if (in->ops) {
        in->needs.size = sizeof(in->needs);
        ck_assert_int_eq(in->ops->describe(in->self, &in->needs), REIN_OK);
    }
    return status;
}

void instance_close(struct instance *in) {
    if (in->self)
        in->destroy(in->self);
    ck_assert_int_eq(in->live, 0);
    free(in->config);
}

struct rein_metrics *metrics_reset(struct metric_box *box) {
    box->list = (struct rein_metrics){.size = sizeof(box->list), .capacity = MODULE_METRICS, .items = box->items};
    return &box->list;
}

void metrics_total(struct metric_box *to, const struct rein_metrics *from) {
    ck_assert_uint_le(from->count, from->capacity);
    for (uint32_t i = 0; i < from->count; i++) {
        const struct rein_metric *m = &from->items[i];
        uint32_t k = 0;

        while (k < to->list.count && strcmp(to->items[k].name, m->name) != 0)
            k++;
        if (m->weight == 0)
            continue;
        if (k == to->list.count) {
            to->items[to->list.count++] = *m;
            continue;
        }
        struct rein_metric *x = &to->items[k];
        ck_assert_uint_eq(x->how, m->how);
        if (m->how == REIN_METRIC_MIN)
            x->sum = fmin(x->sum, m->sum);
        else if (m->how == REIN_METRIC_MAX)
            x->sum = fmax(x->sum, m->sum);
        else
            x->sum += m->sum;
        x->weight += m->weight;
    }
}

double metrics_value(const struct rein_metrics *m, const char *name) {
    for (uint32_t i = 0; i < m->count; i++)
        if (!strcmp(m->items[i].name, name))
            return m->items[i].how == REIN_METRIC_MEAN ? m->items[i].sum / m->items[i].weight : m->items[i].sum;
    return NAN;
}
