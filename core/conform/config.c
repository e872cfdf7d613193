/* The option block of the plugin under test, through the same code as in a run. SPDX-License-Identifier: MIT */
#include "base/yaml.h"
#include "conform/conform.h"
#include "plugin/params.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_SETTINGS = 64 };
static const char *settings[MOST_SETTINGS];
static size_t nsettings;
static struct arena arena; /* the block's strings live as long as the program */

bool conform_set(const char *assignment) {
    if (!strchr(assignment, '=') || nsettings == MOST_SETTINGS)
        return false;
    settings[nsettings++] = assignment;
    return true;
}

static const struct rein_param *find_row(const struct rein_plugin *plugin, const char *name) {
    const char *at = (const char *)plugin->params;

    for (; at && ((const struct rein_param *)at)->name; at += plugin->param_stride)
        if (!strcmp(((const struct rein_param *)at)->name, name))
            return (const struct rein_param *)at;
    return NULL;
}

static struct node *scalar(const char *text, bool plain) {
    struct node *n = arena_alloc(&arena, sizeof(*n));

    if (n) {
        n->type = NODE_SCALAR;
        n->file = "--set";
        n->text = text;
        n->plain = plain;
    }
    return n;
}

/* OPTION=VALUE as a pair of `mapping`. A list is written as in YAML; other values are taken as they stand, so that a
 * pattern needs no quotes. */
static int add(const struct rein_plugin *plugin, const char *assignment, struct node *mapping, struct error *err) {
    const char *equal = strchr(assignment, '=');
    const char *name = arena_strndup(&arena, assignment, (size_t)(equal - assignment));
    const struct rein_param *row = name ? find_row(plugin, name) : NULL;
    bool number = row && (row->type == REIN_PARAM_BOOL || row->type == REIN_PARAM_INT || row->type == REIN_PARAM_REAL);
    struct node *value;

    if (row && row->type & REIN_PARAM_LIST)
        value = yaml_value(&arena, equal + 1, "--set", err);
    else
        value = scalar(equal + 1, number);
    if (!value || !name)
        return -1;
    mapping->keys[mapping->count] = scalar(name, true);
    mapping->items[mapping->count++] = value;
    return mapping->keys[mapping->count - 1] ? 0 : -1;
}

void *conform_config(const struct rein_plugin *plugin) {
    struct params table = params_of(plugin);
    struct error err = {.text = "out of memory"};
    struct node mapping = {.type = NODE_MAPPING, .file = "--set"};
    void *block = NULL, *copy = NULL;

    mapping.keys = arena_alloc(&arena, (nsettings + 1) * sizeof(*mapping.keys));
    mapping.items = arena_alloc(&arena, (nsettings + 1) * sizeof(*mapping.items));
    if (!mapping.keys || !mapping.items || params_verify(&table, &err) != 0)
        goto out;
    for (size_t i = 0; i < nsettings; i++)
        if (add(plugin, settings[i], &mapping, &err) != 0)
            goto out;
    block = params_bind(&table, &mapping, NULL, &arena, &err);
    copy = block ? malloc(plugin->config_size + 1) : NULL;
    if (copy && plugin->config_size)
        memcpy(copy, block, plugin->config_size);
out:
    if (!copy)
        fprintf(stderr, "rein-conform: %s\n", err.text);
    return copy;
}
