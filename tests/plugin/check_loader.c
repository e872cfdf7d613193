/* SPDX-License-Identifier: MIT */
#include "base/file.h"
#include "base/log.h"
#include "plugin/loader.h"
#include "plugin/params.h"
#include "tap.h"

#include <fenv.h>
#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct error err;
static struct registry *reg;
static char root[4096]; /* a plugin folder of the test's own */

static const char *at(const char *rest) {
    static char path[4][4352];
    static int turn;

    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof(path[turn]), "%s%s", root, rest);
    return path[turn];
}

/* Puts the module built from hostile.c at root/rest. */
static void install(const char *module, const char *rest) {
    char from[4352];

    snprintf(from, sizeof(from), "%s/tests/plugin/.libs/%s.so", BUILD_DIR, module);
    ck_assert_msg(file_copy(from, at(rest), &err) == 0, "%s", err.text);
    ck_assert_int_eq(chmod(at(rest), 0755), 0);
}

static void begin(void) {
    snprintf(root, sizeof(root), "%s/tests/plugin/loader-XXXXXX", BUILD_DIR);
    ck_assert_ptr_nonnull(mkdtemp(root));
    ck_assert_int_eq(mkdir(at("/algorithms"), 0755) | mkdir(at("/rewards"), 0755) | mkdir(at("/backends"), 0755), 0);
    memset(&err, 0, sizeof(err));
    ck_assert_msg(registry_create(root, &reg, &err) == 0, "%s", err.text);
}

static void end(void) {
    registry_free(reg);
    file_remove_tree(root, NULL);
}

/* The refusal of root/rest, found as algorithm `name`, must hold `why`. */
static void refuses(const char *name, const char *rest, const char *why) {
    char text[5000];

    ck_assert_ptr_null(registry_find(reg, REIN_KIND_ALGORITHM, name, &err));
    snprintf(text, sizeof(text), "%s: ", at(rest));
    ck_assert_msg(strncmp(err.text, text, strlen(text)) == 0, "%s", err.text);
    ck_assert_msg(strstr(err.text, why) != NULL, "%s", err.text);
    ck_assert_int_eq(err.kind, ERROR_INPUT);
    /* a second question gets the same answer */
    ck_assert_ptr_null(registry_find(reg, REIN_KIND_ALGORITHM, name, &err));
    ck_assert_msg(strstr(err.text, why) != NULL, "%s", err.text);
}

static void module_refused(const char *module, const char *why) {
    char rest[64];

    begin();
    snprintf(rest, sizeof(rest), "/algorithms/%s.so", "x");
    install(module, rest);
    refuses("x", rest, why);
    end();
}

START_TEST(good) {
    const struct module *m;
    struct params table;
    struct arena arena = {0};
    const double *beta;

    begin();
    install("good", "/algorithms/good.so");
    m = registry_find(reg, REIN_KIND_ALGORITHM, "good", &err);
    ck_assert_msg(m != NULL, "%s", err.text);
    ck_assert_str_eq(m->path, at("/algorithms/good.so"));
    table = params_of(m->plugin);
    beta = params_bind(&table, NULL, NULL, &arena, &err);
    ck_assert_msg(beta && *beta == 0.1, "%s", err.text);
    ck_assert_ptr_null(registry_find(reg, REIN_KIND_REWARD, "good", &err));
    ck_assert_ptr_eq(strstr(err.text, "there is no reward 'good'"), err.text);
    ck_assert_ptr_null(registry_find(reg, REIN_KIND_ALGORITHM, "god", &err));
    ck_assert_ptr_eq(strstr(err.text, "there is no algorithm 'god' (did you mean 'good'?); there are "), err.text);
    ck_assert_ptr_null(registry_find(reg, REIN_KIND_ALGORITHM, "../algorithms/good", &err));
    arena_free(&arena);
    end();
}
END_TEST

START_TEST(ref_is_built_in) {
    const struct module *m;

    begin();
    install("good", "/backends/ref.so");
    m = registry_find(reg, REIN_KIND_BACKEND, "ref", &err);
    ck_assert_ptr_nonnull(m);
    ck_assert_str_eq(m->path, "(built in)");
    end();
}
END_TEST

START_TEST(hostile) {
    module_refused("wrong_abi", "compiled for plugin ABI 0.3, this rein speaks 0.2");
    module_refused("short", "its descriptor has 16 bytes");
    module_refused("no_symbol", "it is not a rein plugin (no symbol rein_plugin_entry)");
    module_refused("bad_ops", "its table of operations has 24 bytes");
    module_refused("lacks", "its table of operations lacks 'describe'");
    module_refused("bad_param", "good.beta: the plugin's own default is wrong: must lie in [0, 1], got '7'");
    module_refused("bad_name", "its name '../x' is not [a-z][a-z0-9-]*");
}
END_TEST

START_TEST(wrong_folder) {
    begin();
    install("good", "/rewards/good.so");
    ck_assert_ptr_null(registry_find(reg, REIN_KIND_REWARD, "good", &err));
    ck_assert_ptr_nonnull(strstr(err.text, "it holds the algorithm 'good' but lies in the folder rewards"));
    end();
}
END_TEST

START_TEST(not_a_module) {
    begin();
    ck_assert_int_eq(file_write(at("/algorithms/text.so"), "hello", 5, &err), 0);
    chmod(at("/algorithms/text.so"), 0644);
    refuses("text", "/algorithms/text.so", "it cannot be loaded: ");
    ck_assert_int_eq(mkdir(at("/algorithms/folder.so"), 0755), 0);
    refuses("folder", "/algorithms/folder.so", "it is not a regular file");
    ck_assert_int_eq(mkfifo(at("/algorithms/pipe.so"), 0644), 0);
    refuses("pipe", "/algorithms/pipe.so", "it is not a regular file");
    install("good", "/good.so");
    ck_assert_int_eq(symlink(at("/good.so"), at("/algorithms/link.so")), 0);
    refuses("link", "/algorithms/link.so", "it is a symbolic link");
    end();
}
END_TEST

START_TEST(writable_by_others) {
    begin();
    install("good", "/algorithms/good.so");
    chmod(at("/algorithms/good.so"), 0775);
    refuses("good", "/algorithms/good.so", "it can be written by its group (chmod go-w)");
    end();
    begin();
    install("good", "/algorithms/good.so");
    chmod(at("/algorithms/good.so"), 0757);
    refuses("good", "/algorithms/good.so", "it can be written by everybody (chmod go-w)");
    end();
    begin();
    install("good", "/algorithms/good.so");
    chmod(root, 0777);
    refuses("good", "/algorithms/good.so", "can be written by everybody (chmod go-w)");
    end();
    begin(); /* the sticky bit protects what lies in a subfolder, not the module itself */
    install("good", "/algorithms/good.so");
    chmod(root, 01777);
    ck_assert_ptr_nonnull(registry_find(reg, REIN_KIND_ALGORITHM, "good", &err));
    end();
    begin();
    install("good", "/algorithms/good.so");
    chmod(at("/algorithms"), 01777);
    refuses("good", "/algorithms/good.so", "can be written by everybody (chmod go-w)");
    end();
}
END_TEST

START_TEST(owned_by_another) {
    if (geteuid() != 0) {
        printf("# SKIP owned_by_another needs root\n");
        return;
    }
    begin();
    install("good", "/algorithms/good.so");
    ck_assert_int_eq(chown(at("/algorithms/good.so"), 12345, 12345), 0);
    refuses("good", "/algorithms/good.so", "it belongs to another user (12345)");
    end();
    begin();
    install("good", "/algorithms/good.so");
    ck_assert_int_eq(chown(root, 12345, 12345), 0);
    refuses("good", "/algorithms/good.so", "belongs to another user (12345)");
    end();
}
END_TEST

START_TEST(floating_point_mode_is_restored) {
    volatile float least = FLT_MIN, half = 0.5f;

    begin();
    log_set_level(LOG_ERROR); /* it warns */
    install("fp_mode", "/algorithms/fp-mode.so");
    ck_assert_ptr_nonnull(registry_find(reg, REIN_KIND_ALGORITHM, "fp-mode", &err));
    log_set_level(LOG_INFO);
    ck_assert(least * half != 0.0f);
    ck_assert_int_eq(fegetround(), FE_TONEAREST);
    end();
}
END_TEST

START_TEST(scan_lists_shadows_and_refusals) {
    const struct module *m;
    size_t refusals = 0, good_ones = 0;
    char both[9000], first[4096];
    struct registry *second;

    begin();
    install("good", "/algorithms/good.so");
    install("wrong_abi", "/algorithms/bad.so");
    snprintf(first, sizeof(first), "%s", root);
    registry_free(reg);
    begin();
    install("several", "/algorithms/good.so");
    snprintf(both, sizeof(both), "%s:%s", root, first);
    ck_assert_int_eq(registry_create(both, &second, &err), 0);
    /* "second" lives in a file of another name */
    ck_assert_ptr_nonnull(registry_find(second, REIN_KIND_ALGORITHM, "second", &err));
    ck_assert_int_eq(registry_scan(second, &err), 0);
    for (size_t i = 0; i < registry_count(second); i++) {
        m = registry_at(second, i);
        refusals += m->plugin == NULL && strstr(m->path, "bad.so") && strstr(m->why, "plugin ABI 0.3");
        if (m->plugin && strcmp(m->plugin->name, "good") == 0) {
            good_ones++;
            ck_assert_str_eq(m->path, at("/algorithms/good.so"));
            ck_assert_ptr_nonnull(m->shadows);
            ck_assert(strncmp(m->shadows, first, strlen(first)) == 0);
        }
    }
    ck_assert_uint_eq(refusals, 1);
    ck_assert_uint_eq(good_ones, 1);
    registry_free(second);
    file_remove_tree(first, NULL);
    end();
}
END_TEST

START_TEST(search_path) {
    struct registry *r;

    ck_assert_int_eq(registry_create("plugins", &r, &err), -1);
    ck_assert_str_eq(err.text, "--plugin-path: 'plugins' is not an absolute folder");
    ck_assert_int_eq(registry_create("/no/such/folder", &r, &err), -1);
    ck_assert_str_eq(err.text, "--plugin-path: /no/such/folder: No such file or directory");
}
END_TEST

START_TEST(an_empty_search_path_is_told) {
    const char *before = getenv("REIN_PLUGIN_PATH");
    char *kept = before ? strdup(before) : NULL, wanted[9000];

    begin();
    install("good", "/rewards/bad.so");
    registry_free(reg);
    log_set_level(LOG_ERROR); /* it warns */
    setenv("REIN_PLUGIN_PATH", "/no/such/folder", 1);
    ck_assert_msg(registry_create(root, &reg, &err) == 0, "%s", err.text);
    log_set_level(LOG_INFO);
    snprintf(wanted, sizeof(wanted), "there is no algorithm 'sft': no algorithms were found in %s, /no/such/folder, ", root);
    ck_assert_ptr_null(registry_find(reg, REIN_KIND_ALGORITHM, "sft", &err));
    ck_assert_msg(strncmp(err.text, wanted, strlen(wanted)) == 0, "%s", err.text);
    ck_assert_ptr_nonnull(strstr(err.text, "REIN_PLUGIN_PATH or --plugin-path can name another folder"));
    ck_assert_ptr_null(registry_find(reg, REIN_KIND_REWARD, "rm", &err));
    ck_assert_ptr_nonnull(strstr(err.text, "(1 files were refused: see rein plugins)"));
    install("good", "/algorithms/good.so");
    ck_assert_ptr_null(registry_find(reg, REIN_KIND_ALGORITHM, "sft", &err));
    ck_assert_msg(strncmp(err.text, "there is no algorithm 'sft'; there is good", 42) == 0, "%s", err.text);
    if (kept)
        setenv("REIN_PLUGIN_PATH", kept, 1);
    else
        unsetenv("REIN_PLUGIN_PATH");
    free(kept);
    end();
}
END_TEST

START_TEST(one_file_by_path) {
    const struct module *m;

    begin();
    install("good", "/any-name.so");
    m = registry_open_file(reg, at("/any-name.so"), &err);
    ck_assert_msg(m != NULL, "%s", err.text);
    ck_assert_str_eq(m->plugin->name, "good");
    ck_assert_ptr_null(registry_open_file(reg, at("/none.so"), &err));
    ck_assert_ptr_nonnull(strstr(err.text, "it cannot be opened: No such file or directory"));
    end();
}
END_TEST

int main(void) {
    Suite *s = suite_create("loader");
    TCase *t = tcase_create("loader");

    tcase_add_test(t, good);
    tcase_add_test(t, ref_is_built_in);
    tcase_add_test(t, hostile);
    tcase_add_test(t, wrong_folder);
    tcase_add_test(t, not_a_module);
    tcase_add_test(t, writable_by_others);
    tcase_add_test(t, owned_by_another);
    tcase_add_test(t, floating_point_mode_is_restored);
    tcase_add_test(t, scan_lists_shadows_and_refusals);
    tcase_add_test(t, search_path);
    tcase_add_test(t, an_empty_search_path_is_told);
    tcase_add_test(t, one_file_by_path);
    suite_add_tcase(s, t);
    return tap_run(s);
}
