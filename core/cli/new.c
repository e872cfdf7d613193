/* SPDX-License-Identifier: MIT */
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/suggest.h"
#include "cli/cli.h"
#include "plugin/verify.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The project's files: conf/templates, by folder (a kind's, or common), as arrays of lines. */
#include "cli/templates.inc"

static const char *const kinds[] = {"algorithm", "reward", "backend"};
enum { NKINDS = sizeof(kinds) / sizeof(*kinds), NTEMPLATES = sizeof(templates) / sizeof(*templates) };

/* What the templates call the plugin and its kind; they compile as they are. */
static const char NAME[] = "my-name", KIND[] = "my-kind";

struct project {
    const char *kind, *name, *folder;
};

static void add_line(struct buffer *out, const char *line, const struct project *p) {
    const char *name, *kind;

    while ((name = strstr(line, NAME)), (kind = strstr(line, KIND)), name || kind) {
        const char *at = !kind || (name && name < kind) ? name : kind;

        buffer_add(out, line, (size_t)(at - line));
        buffer_text(out, at == name ? p->name : p->kind);
        line = at + strlen(at == name ? NAME : KIND);
    }
    buffer_text(out, line);
}

/* One file, when it is one of this kind's. A file called gitignore becomes .gitignore. */
static int write_file(const struct template *t, const struct project *p, const char *folder, struct error *err) {
    const char *slash = strchr(t->path, '/'), *base = slash + 1;
    struct buffer path = {0}, text = {0};
    int rc;

    if (strncmp(t->path, "common/", 7) != 0 &&
        (strncmp(t->path, p->kind, strlen(p->kind)) != 0 || t->path[strlen(p->kind)] != '/'))
        return 0;
    buffer_printf(&path, "%s/%s", folder, strcmp(base, "gitignore") == 0 ? "." : "");
    add_line(&path, base, p);
    for (const char *const *line = t->lines; *line; line++)
        add_line(&text, *line, p);
    if (path.failed || text.failed)
        rc = error_nomem(err, "the project's files");
    else
        rc = file_write(path.data, text.data, text.length, err);
    buffer_free(&path);
    buffer_free(&text);
    return rc;
}

/* Only its owner may write to a folder that modules are loaded from. */
static int write_project(const struct project *p, const char *folder, struct error *err) {
    if (chmod(folder, 0755) != 0)
        return error_errno_run(err, folder, "cannot set the mode");
    for (size_t i = 0; i < NTEMPLATES; i++)
        if (write_file(&templates[i], p, folder, err) != 0)
            return -1;
    return file_sync_folder(folder, err);
}

/* Everything is written beside the folder, which it becomes by being renamed: there is all of it or nothing. */
static int make_project(const struct project *p, struct error *err) {
    char *parent = file_dirname(p->folder);
    struct buffer beside = {0};
    int rc = -1;

    buffer_printf(&beside, "%s.XXXXXX", p->folder);
    if (parent == NULL || beside.failed)
        error_nomem(err, "the project's files");
    else if (file_make_folder(parent, err) != 0)
        rc = -1;
    else if (mkdtemp(beside.data) == NULL)
        error_errno_run(err, p->folder, "cannot make a folder beside it");
    else {
        rc = write_project(p, beside.data, err);
        if (rc == 0 && rename(beside.data, p->folder) != 0)
            rc = errno == ENOTEMPTY || errno == EEXIST ? error_input(err, "%s: is not empty", p->folder)
                                                       : error_errno_run(err, p->folder, "cannot rename to it");
        if (rc != 0)
            file_remove_tree(beside.data, NULL);
        else
            rc = file_sync_folder(parent, err);
    }
    buffer_free(&beside);
    free(parent);
    return rc;
}

static int check_kind(const char *kind, struct error *err) {
    struct suggestion near = {0};
    char hint[96];

    for (size_t i = 0; i < NKINDS; i++) {
        if (strcmp(kinds[i], kind) == 0)
            return 0;
        suggest_offer(&near, kind, kinds[i]);
    }
    return error_input(err, "'%.60s' is no kind of plugin: expected algorithm, reward or backend%s", kind,
                       suggest_text(&near, hint, sizeof(hint)));
}

static int check_name(const char *name, struct error *err) {
    char near[64] = "";
    size_t n = 0;

    if (verify_name(name))
        return 0;
    for (const char *c = name; *c && n + 1 < sizeof(near); c++)
        near[n++] = *c >= 'A' && *c <= 'Z' ? (char)(*c - 'A' + 'a') : *c == '_' || *c == ' ' ? '-' : *c;
    near[n] = '\0';
    if (verify_name(near))
        return error_input(err, "a plugin cannot be called '%.60s' (did you mean '%s'?)", name, near);
    return error_input(err,
                       "a plugin cannot be called '%.60s': expected a letter a-z, then letters, digits and '-', fewer "
                       "than 64",
                       name);
}

/* A folder is good when it is not there yet, or is there and empty. */
static int check_folder(char *folder, struct error *err) {
    const char *last;
    size_t n = strlen(folder);

    while (n > 1 && folder[n - 1] == '/')
        folder[--n] = '\0';
    last = strrchr(folder, '/') ? strrchr(folder, '/') + 1 : folder;
    if (*last == '\0' || strcmp(last, ".") == 0 || strcmp(last, "..") == 0)
        return error_input(err, "'%.200s' is no folder to be made: give it a name", folder);
    if (file_exists(folder) && !file_is_folder(folder))
        return error_input(err, "%s: is there already and is no folder", folder);
    if (!file_folder_is_empty(folder))
        return error_input(err, "%s: is not empty", folder);
    return 0;
}

static int run(const struct command *self, int argc, char **argv) {
    struct cli_common common;
    const char *words[3]; /* KIND NAME [FOLDER] */
    struct error err = {0};
    char *folder;
    int rc = cli_parse(self, argc, argv, NULL, &common, words, 2, 3);

    if (rc != CLI_GO)
        return rc;
    folder = mem_strdup(words[2] ? words[2] : words[1]);
    rc = folder ? 0 : error_nomem(&err, "the project's files");
    if (rc == 0)
        rc = check_kind(words[0], &err) || check_name(words[1], &err) || check_folder(folder, &err) ? -1 : 0;
    if (rc == 0) {
        const struct project project = {words[0], words[1], folder};
        rc = make_project(&project, &err);
    }
    if (rc == 0)
        log_print(LOG_INFO, "%s: a new %s; next: cd %s && make check", folder, words[0], folder);
    free(folder);
    return rc ? cli_fail(&err) : 0;
}

const struct command command_new = {
    "new",
    "KIND NAME [FOLDER]",
    "Writes a project for a plugin of one's own: source, Makefile, pipeline, README.",
    "KIND is algorithm, reward or backend, NAME what pipelines will call it, FOLDER (default: NAME) is made. The "
    "project\n"
    "builds with `pkg-config rein` alone; `make check` there runs rein-conform and two steps of training.",
    0,
    run,
};
