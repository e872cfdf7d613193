/* core/plugin/loader.h - finding, checking and loading shared objects.
 * SPDX-License-Identifier: MIT
 *
 * Search path: --plugin-path, REIN_PLUGIN_PATH, ${XDG_DATA_HOME:-~/.local/share}/rein/plugins/<abi>,
 * $libdir/rein/<abi>. Layout <dir>/{algorithms,rewards,backends}/<name>.so; the first found wins.
 * Only absolute folders; a file must be regular, owned by root or the user and not writable by others, and so
 * must its folders be. Modules are loaded RTLD_NOW|RTLD_LOCAL, never unloaded; the floating-point
 * environment is restored afterwards. Every refusal is a sentence. A folder of
 * REIN_PLUGIN_PATH that is not there is warned of, one of --plugin-path is an error.
 */
#ifndef REIN_CORE_LOADER_H
#define REIN_CORE_LOADER_H

#include "base/error.h"

#include <rein/plugin.h>
#include <stdbool.h>

struct registry;

/* One plugin, or one file that was refused (plugin == NULL, why says so). */
struct module {
    const struct rein_plugin *plugin;
    const char *path;           /* "(built in)" for ref */
    const char *why;            /* reason of refusal, or NULL */
    bool fp_mode;               /* loading it changed the floating-point mode (it was put back) */
    const char *shadows;        /* path of a later file of the same name that is not used, or NULL */
};

/* `extra` is a colon-separated list searched first; may be NULL. The built-in `ref` backend is always there. */
int registry_create(const char *extra, struct registry **out, struct error *err);
void registry_free(struct registry *r);

/* Loads <dir>/<kind>s/<name>.so if it is not loaded yet. NULL with a sentence: why it was refused, or what
 * similar plugins there are. */
const struct module *registry_find(struct registry *r, uint32_t kind, const char *name, struct error *err);
/* Loads everything on the path; refused files appear as modules with `why`. */
int registry_scan(struct registry *r, struct error *err);
int registry_scan_kind(struct registry *r, uint32_t kind, struct error *err); /* only REIN_KIND_* */
size_t registry_count(const struct registry *r);
const struct module *registry_at(const struct registry *r, size_t index); /* by kind, then name */

/* One file, by path: for rein-conform. Checks everything but the search path. */
const struct module *registry_open_file(struct registry *r, const char *path, struct error *err);

const char *kind_name(uint32_t kind); /* "algorithm" */

#endif
