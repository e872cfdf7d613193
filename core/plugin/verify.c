/* SPDX-License-Identifier: MIT */
#include "plugin/verify.h"

#include "plugin/params.h"

#include <rein/rein.h>
#include <string.h>

bool verify_name(const char *name) {
    if (name == NULL || *name < 'a' || *name > 'z')
        return false;
    return name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-")] == '\0' && strlen(name) < 64;
}

/* While the major is 0 every version is its own. */
static int verify_abi(const struct rein_plugin *p, struct error *err) {
    const uint32_t major = p->abi >> 16, minor = p->abi & 0xffffu;

    if (major != REIN_ABI_MAJOR || (major == 0 && minor != REIN_ABI_MINOR))
        return error_input(err, "compiled for plugin ABI %u.%u, this rein speaks %u.%u", major, minor, REIN_ABI_MAJOR,
                           REIN_ABI_MINOR);
    return 0;
}

/* The name of the first operation that must be there and is not; NULL: complete. */
static const char *missing_algorithm(const struct rein_algorithm_ops *o) {
    return !o->create ? "create" : !o->destroy ? "destroy" : !o->describe ? "describe" : !o->loss ? "loss" : NULL;
}

static const char *missing_reward(const struct rein_reward_ops *o) {
    return !o->create ? "create" : !o->destroy ? "destroy" : !o->members ? "members" : !o->score ? "score" : NULL;
}

static const char *missing_backend(const struct rein_backend_ops *o) {
    return !o->probe   ? "probe"
           : !o->open  ? "open"
           : !o->close ? "close"
           : !o->alloc ? "alloc"
           : !o->free  ? "free"
           : !o->copy  ? "copy"
           : !o->fill  ? "fill"
           : !o->sync  ? "sync"
           : !o->kernels || o->kernels->size < 2 * sizeof(void *) ? "kernels" : NULL;
}

static int verify_ops(const struct rein_plugin *p, struct error *err) {
    static const size_t sizes[] = {0, sizeof(struct rein_algorithm_ops), sizeof(struct rein_reward_ops),
                                   sizeof(struct rein_backend_ops)};
    const uint32_t size = p->ops ? *(const uint32_t *)p->ops : 0;
    const char *missing;

    if (size < sizes[p->kind])
        return error_input(err, "its table of operations has %u bytes, %zu are needed", size, sizes[p->kind]);
    missing = p->kind == REIN_KIND_ALGORITHM ? missing_algorithm(p->ops)
              : p->kind == REIN_KIND_REWARD  ? missing_reward(p->ops)
                                             : missing_backend(p->ops);
    if (missing != NULL)
        return error_input(err, "its table of operations lacks '%s'", missing);
    return 0;
}

/* Keys of a reward in a pipeline that are the host's, beyond those of every plugin. */
static int verify_reward_options(const struct params *table, struct error *err) {
    const struct rein_param *row;

    for (size_t i = 0; (row = params_row(table, i)) != NULL; i++)
        if (strcmp(row->name, "normalise") == 0 || strcmp(row->name, "clip") == 0 || strcmp(row->name, "dtype") == 0)
            return error_input(err, "option '%s': every reward has one, of the host's", row->name);
    return 0;
}

int verify_plugin(const struct rein_plugin *p, struct error *err) {
    struct params table;

    /* size and abi are the only members that every version agrees on */
    if (verify_abi(p, err) != 0)
        return -1;
    if (p->size < sizeof(*p))
        return error_input(err, "its descriptor has %u bytes, %zu are needed", p->size, sizeof(*p));
    if (p->kind < REIN_KIND_ALGORITHM || p->kind > REIN_KIND_BACKEND)
        return error_input(err, "it is of the unknown kind %u", p->kind);
    if (p->flags != 0)
        return error_input(err, "it has unknown flags");
    if (!verify_name(p->name))
        return error_input(err, "its name '%.64s' is not [a-z][a-z0-9-]*", p->name ? p->name : "");
    if (!p->version || !p->license || !p->summary)
        return error_input(err, "it does not tell its version, license and summary");
    if (verify_ops(p, err) != 0)
        return -1;
    table = params_of(p);
    if (params_verify(&table, err) != 0)
        return -1;
    return p->kind == REIN_KIND_REWARD ? verify_reward_options(&table, err) : 0;
}
