/* rein/plugin.h - the one symbol a plugin exports and what it returns.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_PLUGIN_H
#define REIN_PLUGIN_H

#include "abi.h"
#include "param.h"

#define REIN_KIND_ALGORITHM 1u
#define REIN_KIND_REWARD    2u
#define REIN_KIND_BACKEND   3u

struct rein_plugin {
    uint32_t size;                   /* sizeof(struct rein_plugin) */
    uint32_t abi;                    /* REIN_ABI_VERSION the plugin was compiled against */
    uint32_t kind;                   /* REIN_KIND_* */
    uint32_t flags;                  /* must be 0 */
    const char *name;                /* "ppo": [a-z][a-z0-9-]*, unique within its kind */
    const char *version;             /* "0.1.0" */
    const char *license;             /* SPDX identifier, "MIT" */
    const char *summary;             /* one sentence for people */
    const struct rein_param *params; /* ends with .name == NULL; may be NULL */
    uint32_t param_stride;           /* sizeof(struct rein_param) at compile time */
    uint32_t config_size;            /* bytes of the block that params' offsets point into */
    const void *ops;                 /* struct rein_{algorithm,reward,backend}_ops */
};

/* Entry point. Pure: allocates nothing, touches no device, calls no host
 * function, returns the same static pointer for the same index, NULL past the
 * end. Called from one thread, right after dlopen(). */
#define REIN_PLUGIN_ENTRY "rein_plugin_entry"
REIN_EXTERN_C REIN_EXPORT const struct rein_plugin *rein_plugin_entry(uint32_t index);

#endif
