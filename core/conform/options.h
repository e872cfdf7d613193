/* core/conform/options.h - a plugin's options at the ends of their ranges.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_CONFORM_OPTIONS_H
#define REIN_CORE_CONFORM_OPTIONS_H

#include <rein/plugin.h>

#include <stdbool.h>

/* For each option with a range, its least and greatest value; for each bool and choice, every value: calls `use` with
 * a copy of `config` that has it. `use` says whether the plugin took it well; a note names what it did not. Returns
 * whether all were, and counts the settings in *tried. */
bool options_ends(const struct rein_plugin *plugin, const void *config, bool (*use)(void *ctx, const void *config),
                  void *ctx, uint32_t *tried);

#endif
