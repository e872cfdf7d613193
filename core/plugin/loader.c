/* SPDX-License-Identifier: MIT */
#include "plugin/loader.h"

#include "base/buffer.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/suggest.h"
#include "plugin/trust.h"
#include "plugin/verify.h"
#include "ref/ref.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fenv.h>
#include <float.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>

enum { MOST_FOLDERS = 64, MOST_PLUGINS_A_FILE = 64 };

struct registry {
    struct arena arena;
    const char *folders[MOST_FOLDERS];
    size_t nfolders;
    struct buffer searched; /* every folder of the path as it was given, there or not, for messages */
    struct module **modules;
    size_t count, capacity;
    const char **files; /* that were looked at already */
    size_t nfiles, files_capacity;
};

static const struct {
    const char *name, *folder;
} kinds[] = {{"plugin", NULL}, {"algorithm", "algorithms"}, {"reward", "rewards"}, {"backend", "backends"}};

const char *kind_name(uint32_t kind) {
    return kinds[kind <= REIN_KIND_BACKEND ? kind : 0].name;
}

/* ---- the search path ------------------------------------------------------------------ */

static int add_folder(struct registry *r, const char *folder, struct error *err) {
    if (r->nfolders == MOST_FOLDERS)
        return error_input(err, "the plugin path has more than %d folders", MOST_FOLDERS);
    r->folders[r->nfolders] = arena_strdup(&r->arena, folder);
    if (r->folders[r->nfolders] == NULL)
        return error_nomem(err, "plugin path");
    r->nfolders++;
    return 0;
}

enum absent { SILENT, WARN, REFUSE };

/* A colon-separated list. `source` names it in messages. */
static int add_list(struct registry *r, const char *source, const char *list, enum absent absent, struct error *err) {
    while (*list != '\0') {
        const size_t length = strcspn(list, ":");
        char folder[PATH_MAX], real[PATH_MAX];

        if (length > 0 && length < sizeof(folder)) {
            memcpy(folder, list, length);
            folder[length] = '\0';
            if (folder[0] != '/')
                return error_input(err, "%s: '%s' is not an absolute folder", source, folder);
            buffer_printf(&r->searched, "%s%s", r->searched.length ? ", " : "", folder);
            /* links above the module are the owner's business; what is checked is where they lead */
            if (realpath(folder, real) != NULL) {
                if (add_folder(r, real, err) != 0)
                    return -1;
            } else if (absent == REFUSE) {
                return error_input(err, "%s: %s: %s", source, folder, strerror(errno));
            } else if (absent == WARN) {
                log_warn("%s: %s: %s", source, folder, strerror(errno));
            }
        } else if (length > 0) {
            return error_input(err, "%s: a folder's name is too long", source);
        }
        list += length + (list[length] == ':');
    }
    return 0;
}

/* ${XDG_DATA_HOME:-~/.local/share}/rein/plugins/<abi>; a relative one is ignored, as XDG says. */
static int add_home(struct registry *r, struct error *err) {
    const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    struct buffer path = {0};
    int rc = 0;

    if (data != NULL && data[0] == '/')
        buffer_text(&path, data);
    else if (home != NULL && home[0] == '/')
        buffer_printf(&path, "%s/.local/share", home);
    else
        return 0;
    buffer_printf(&path, "/rein/plugins/%u.%u", REIN_ABI_MAJOR, REIN_ABI_MINOR);
    rc = path.failed ? error_nomem(err, "plugin path") : 0;
    if (rc == 0 && strchr(path.data, ':') == NULL)
        rc = add_list(r, "the user's plugin folder", path.data, SILENT, err);
    buffer_free(&path);
    return rc;
}

static struct module *add_module(struct registry *r, const struct rein_plugin *plugin, const char *path,
                                 const char *why, struct error *err) {
    void *list = r->modules;
    struct module *m = arena_alloc(&r->arena, sizeof(*m));

    if (m == NULL || mem_grow(&list, &r->capacity, r->count + 1, sizeof(*r->modules)) != 0) {
        error_nomem(err, "plugin");
        return NULL;
    }
    r->modules = list;
    m->plugin = plugin;
    m->path = arena_strdup(&r->arena, path);
    m->why = why ? arena_strdup(&r->arena, why) : NULL;
    if (m->path == NULL || (why && m->why == NULL)) {
        error_nomem(err, "plugin");
        return NULL;
    }
    r->modules[r->count++] = m;
    return m;
}

/* What libraries of modules read from the environment as they are loaded; the user's own values stay. */
static void calm_threads(void) {
    /* GNU OpenMP's threads wait for each other by spinning for up to 20 ms before they sleep. When another process
     * wants the core that is spun away, a step takes ten times as long; a tenth of a millisecond is as good
     * on an idle machine. */
    setenv("GOMP_SPINCOUNT", "2000", 0);
    /* OpenBLAS runs single-threaded inside our own partition of the work. Threads of its own would only be started,
     * and one that finds no memory for its buffers tries for ever, so that the process cannot end. */
    setenv("OPENBLAS_NUM_THREADS", "1", 0);
}

int registry_create(const char *extra, struct registry **out, struct error *err) {
    struct registry *r = mem_zeros(1, sizeof(*r));
    const bool secure = getauxval(AT_SECURE) != 0; /* set-uid: the caller's environment is not ours to trust */
    const char *path = secure ? NULL : getenv("REIN_PLUGIN_PATH");

    *out = NULL;
    if (r == NULL)
        return error_nomem(err, "plugins");
    calm_threads();
    if (add_module(r, &ref_plugin, "(built in)", NULL, err) == NULL ||
        (extra != NULL && add_list(r, "--plugin-path", extra, REFUSE, err) != 0) ||
        (path != NULL && add_list(r, "REIN_PLUGIN_PATH", path, WARN, err) != 0) || (!secure && add_home(r, err) != 0) ||
        add_list(r, "the installed plugins", REIN_PLUGIN_DIR, SILENT, err) != 0) {
        registry_free(r);
        return -1;
    }
    *out = r;
    return 0;
}

void registry_free(struct registry *r) {
    if (r == NULL)
        return;
    free(r->modules);
    free(r->files);
    buffer_free(&r->searched);
    arena_free(&r->arena);
    free(r);
}

/* ---- one file ---------------------------------------------------------------------------- */

/* What arithmetic does now: rounding, denormals lost as results and as operands. */
struct fp_mode {
    int rounding, flush, zero;
};

static struct fp_mode fp_mode(void) {
    volatile float least = FLT_MIN, half = 0.5f, tiny = FLT_TRUE_MIN, big = 1e30f;
    struct fp_mode m = {fegetround(), 0, 0};

    m.flush = least * half == 0.0f;
    m.zero = tiny * big == 0.0f;
    return m;
}

/* A module linked with -ffast-math switches denormals off for the whole process as it is loaded. */
static void *load(const char *path, bool *fp_mode_changed) {
    const struct fp_mode before = fp_mode();
    struct fp_mode after;
    fenv_t env;
    void *handle;

    fegetenv(&env);
    handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    after = fp_mode();
    fesetenv(&env);
    *fp_mode_changed = before.rounding != after.rounding || before.flush != after.flush || before.zero != after.zero;
    if (*fp_mode_changed)
        log_warn("%s: loading it changed the floating-point mode (linked with -ffast-math?); restored", path);
    return handle;
}

static const struct module *find_loaded(const struct registry *r, uint32_t kind, const char *name) {
    for (size_t i = 0; i < r->count; i++) {
        const struct rein_plugin *p = r->modules[i]->plugin;
        if (p != NULL && p->kind == kind && strcmp(p->name, name) == 0)
            return r->modules[i];
    }
    return NULL;
}

/* Takes what the entry function lists. `kind` is the folder's, or 0. */
static int take(struct registry *r, const char *path, void *handle, uint32_t kind, struct error *why) {
    const struct rein_plugin *(*entry)(uint32_t);
    const struct rein_plugin *p;
    uint32_t i;

    *(void **)&entry = dlsym(handle, REIN_PLUGIN_ENTRY);
    if (entry == NULL)
        return error_input(why, "it is not a rein plugin (no symbol %s)", REIN_PLUGIN_ENTRY);
    for (i = 0; (p = entry(i)) != NULL; i++) {
        struct module *old;

        if (i >= MOST_PLUGINS_A_FILE)
            return error_input(why, "it lists more than %d plugins", MOST_PLUGINS_A_FILE);
        if (verify_plugin(p, why) != 0)
            return -1;
        if (kind != 0 && p->kind != kind)
            return error_input(why, "it holds the %s '%s' but lies in the folder %s", kind_name(p->kind), p->name,
                               kinds[kind].folder);
        old = (struct module *)(uintptr_t)find_loaded(r, p->kind, p->name);
        if (old == NULL) {
            if (add_module(r, p, path, NULL, why) == NULL)
                return -1;
        } else if (old->shadows == NULL) {
            old->shadows = arena_strdup(&r->arena, path);
        }
    }
    return i == 0 ? error_input(why, "it lists no plugin") : 0;
}

/* ppo.so holds "ppo": otherwise it is only found by looking into every file. */
static void check_file_name(const struct registry *r, const char *path, uint32_t kind) {
    const char *base = strrchr(path, '/') + 1;
    const size_t length = strlen(base) - 3;

    for (size_t i = 0; i < r->count; i++) {
        const struct module *m = r->modules[i];
        if (m->plugin && m->plugin->kind == kind && strlen(m->plugin->name) == length &&
            strncmp(m->plugin->name, base, length) == 0)
            return;
    }
    log_warn("%s: the file's name is not that of the plugin in it", path);
}

/* Loads a file once. Its plugins, or the reason why not, become modules. -1 only when memory is short. */
static int open_file(struct registry *r, const char *path, uint32_t kind, struct error *err) {
    const size_t before = r->count;
    struct error why = {0};
    void *list = r->files, *handle;
    bool fp_mode = false;
    int rc;

    for (size_t i = 0; i < r->nfiles; i++)
        if (strcmp(r->files[i], path) == 0)
            return 0;
    if (mem_grow(&list, &r->files_capacity, r->nfiles + 1, sizeof(*r->files)) != 0)
        return error_nomem(err, "plugin");
    r->files = list;
    if ((r->files[r->nfiles] = arena_strdup(&r->arena, path)) == NULL)
        return error_nomem(err, "plugin");
    r->nfiles++;
    rc = trust_file(path, &why);
    if (rc == 0) {
        handle = load(path, &fp_mode);
        if (handle == NULL) {
            const char *said = dlerror();
            const size_t length = strlen(path);
            if (said && strncmp(said, path, length) == 0 && said[length] == ':')
                said += length + 1 + (said[length + 1] == ' ');
            rc = error_input(&why, "it cannot be loaded: %s", said ? said : "no reason given");
        } else {
            rc = take(r, path, handle, kind, &why); /* stays mapped, refused or not: unloading code is never safe */
        }
    }
    for (size_t i = before; i < r->count; i++)
        r->modules[i]->fp_mode = fp_mode;
    if (rc != 0)
        return add_module(r, NULL, path, why.text, err) ? 0 : -1;
    if (kind != 0)
        check_file_name(r, path, kind);
    return 0;
}

/* ---- looking up -------------------------------------------------------------------------- */

static int is_module_file(const struct dirent *d) {
    const size_t n = strlen(d->d_name);

    return n > 3 && d->d_name[0] != '.' && strcmp(d->d_name + n - 3, ".so") == 0;
}

static int scan_folders(struct registry *r, uint32_t kind, struct error *err) {
    int rc = 0;

    for (size_t f = 0; f < r->nfolders; f++) {
        struct dirent **list = NULL;
        char path[PATH_MAX];
        int n;

        if (snprintf(path, sizeof(path), "%s/%s", r->folders[f], kinds[kind].folder) >= (int)sizeof(path))
            continue;
        n = scandir(path, &list, is_module_file, alphasort);
        for (int i = 0; i < n; i++) {
            if (rc == 0 && snprintf(path, sizeof(path), "%s/%s/%s", r->folders[f], kinds[kind].folder,
                                    list[i]->d_name) < (int)sizeof(path))
                rc = open_file(r, path, kind, err);
            free(list[i]);
        }
        free(list);
    }
    return rc;
}

static int by_kind_and_name(const void *a, const void *b) {
    const struct module *x = *(struct module *const *)a, *y = *(struct module *const *)b;

    if ((x->plugin == NULL) != (y->plugin == NULL))
        return x->plugin == NULL ? 1 : -1;
    if (x->plugin == NULL)
        return strcmp(x->path, y->path);
    if (x->plugin->kind != y->plugin->kind)
        return x->plugin->kind < y->plugin->kind ? -1 : 1;
    return strcmp(x->plugin->name, y->plugin->name);
}

int registry_scan_kind(struct registry *r, uint32_t kind, struct error *err) {
    if (scan_folders(r, kind, err) != 0)
        return -1;
    qsort(r->modules, r->count, sizeof(*r->modules), by_kind_and_name);
    return 0;
}

int registry_scan(struct registry *r, struct error *err) {
    for (uint32_t kind = REIN_KIND_ALGORITHM; kind <= REIN_KIND_BACKEND; kind++)
        if (registry_scan_kind(r, kind, err) != 0)
            return -1;
    return 0;
}

/* The file that a name stands for. Returns 1 when there is one, whatever is in it. */
static int find_file(const struct registry *r, uint32_t kind, const char *name, char path[PATH_MAX]) {
    struct stat st;

    for (size_t f = 0; f < r->nfolders; f++)
        if (snprintf(path, PATH_MAX, "%s/%s/%s.so", r->folders[f], kinds[kind].folder, name) < PATH_MAX &&
            lstat(path, &st) == 0)
            return 1;
    return 0;
}

static int refused(const struct registry *r, const char *path, struct error *err) {
    for (size_t i = 0; i < r->count; i++)
        if (r->modules[i]->why != NULL && strcmp(r->modules[i]->path, path) == 0)
            return error_input(err, "%s: %s", path, r->modules[i]->why);
    return 0;
}

/* What there is instead; or, when the path leads to no plugin of the kind, where that path goes. */
static void no_such_plugin(const struct registry *r, uint32_t kind, const char *name, struct error *err) {
    struct suggestion near = {0};
    struct buffer names = {0};
    size_t count = 0, found = 0, refusals = 0;
    char hint[128], more[64] = "";

    for (size_t i = 0; i < r->count; i++) {
        const struct module *m = r->modules[i];

        refusals += m->plugin == NULL;
        if (m->plugin == NULL || m->plugin->kind != kind)
            continue;
        found += m->plugin != &ref_plugin;
        suggest_offer(&near, name, m->plugin->name);
        buffer_printf(&names, "%s%s", count++ ? ", " : "", m->plugin->name);
    }
    if (refusals > 0)
        snprintf(more, sizeof(more), " (%zu files were refused: see rein plugins)", refusals);
    suggest_text(&near, hint, sizeof(hint));
    if (found == 0 && r->searched.data != NULL)
        error_input(err, "there is no %s '%.64s'%s: no %ss were found in %.600s%s. REIN_PLUGIN_PATH or --plugin-path can "
                         "name another folder", kind_name(kind), name, hint, kind_name(kind), r->searched.data, more);
    else
        error_input(err, "there is no %s '%.64s'%s%s%.400s%s", kind_name(kind), name, hint,
                    count == 0 ? "" : count == 1 ? "; there is " : "; there are ",
                    count ? names.data : "", more);
    buffer_free(&names);
}

const struct module *registry_find(struct registry *r, uint32_t kind, const char *name, struct error *err) {
    const struct module *m = find_loaded(r, kind, name);
    char path[PATH_MAX];

    if (m != NULL)
        return m;
    if (verify_name(name) && find_file(r, kind, name, path)) {
        if (open_file(r, path, kind, err) != 0 || refused(r, path, err) != 0)
            return NULL;
        if ((m = find_loaded(r, kind, name)) != NULL)
            return m;
    }
    /* a file may hold several plugins: look into each, for the name and for names like it */
    if (registry_scan_kind(r, kind, err) != 0)
        return NULL;
    if ((m = find_loaded(r, kind, name)) == NULL)
        no_such_plugin(r, kind, name, err);
    return m;
}

const struct module *registry_open_file(struct registry *r, const char *path, struct error *err) {
    char real[PATH_MAX], folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    const int length = slash ? (int)(slash - path) : 0;

    /* the folder's links are followed, the file's is not */
    snprintf(folder, sizeof(folder), "%.*s", slash ? (length ? length : 1) : 1, slash ? path : ".");
    if (realpath(folder, real) == NULL) {
        error_errno_input(err, path, "cannot open");
        return NULL;
    }
    if (snprintf(folder, sizeof(folder), "%s/%s", strcmp(real, "/") ? real : "", slash ? slash + 1 : path) >=
        (int)sizeof(folder)) {
        error_input(err, "%s: the path is too long", path);
        return NULL;
    }
    if (open_file(r, folder, 0, err) != 0 || refused(r, folder, err) != 0)
        return NULL;
    for (size_t i = 0; i < r->count; i++)
        if (r->modules[i]->plugin && strcmp(r->modules[i]->path, folder) == 0)
            return r->modules[i];
    error_input(err, "%s: another plugin of that name is loaded already", path);
    return NULL;
}

size_t registry_count(const struct registry *r) {
    return r->count;
}

const struct module *registry_at(const struct registry *r, size_t index) {
    return index < r->count ? r->modules[index] : NULL;
}
