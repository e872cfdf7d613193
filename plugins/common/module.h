/* plugins/common/module.h - the one symbol of a module that holds one plugin.
 * SPDX-License-Identifier: MIT
 *
 * Written once at the end of a plugin's file, where `ops`, `params` and `struct config` are known.
 */
#ifndef REIN_COMMON_MODULE_H
#define REIN_COMMON_MODULE_H

#include <rein/plugin.h>

#define MODULE(kind_, name_, summary_)                                                                                 \
    static const struct rein_plugin plugin = {.size = sizeof(plugin),                                                  \
                                              .abi = REIN_ABI_VERSION,                                                 \
                                              .kind = (kind_),                                                         \
                                              .name = (name_),                                                         \
                                              .version = "0.1.0",                                                      \
                                              .license = "MIT",                                                        \
                                              .summary = (summary_),                                                   \
                                              .params = params,                                                        \
                                              .param_stride = sizeof(struct rein_param),                               \
                                              .config_size = sizeof(struct config),                                    \
                                              .ops = &ops};                                                            \
    const struct rein_plugin *rein_plugin_entry(uint32_t index) {                                                      \
        return index == 0 ? &plugin : NULL;                                                                            \
    }                                                                                                                  \
    _Static_assert(sizeof(struct config) > 0, "the options")

#endif
