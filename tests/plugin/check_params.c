/* SPDX-License-Identifier: MIT */
#include "base/log.h"
#include "plugin/params.h"
#include "tap.h"

#include <stddef.h>
#include <string.h>

struct block {
    double clip;
    int64_t steps, kind;
    const char *text, *model, *column;
    struct rein_list sizes, models, flags;
    uint8_t on;
};

/* Rows as a newer plugin has them: longer than ours. */
struct long_row {
    struct rein_param p;
    const char *more[3];
};

static const char *const kinds[] = {"sigmoid", "hinge", NULL};
#define ROW(n, t, ...) {.p = {.name = #n, .type = t, .offset = offsetof(struct block, n), .doc = "About " #n ".", __VA_ARGS__}}
static const struct long_row rows[] = {
    ROW(clip, REIN_PARAM_REAL, .dflt = "0.2", .max = 1),
    ROW(steps, REIN_PARAM_INT, .flags = REIN_PARAM_REQUIRED, .min = 1, .max = 1e30, .unit = "steps"),
    ROW(kind, REIN_PARAM_CHOICE, .choices = kinds, .dflt = "hinge"),
    ROW(text, REIN_PARAM_STRING, .min = 1),
    ROW(model, REIN_PARAM_MODEL, .min = 1),
    ROW(column, REIN_PARAM_COLUMN, .dflt = "answer", .flags = REIN_PARAM_ADVANCED),
    ROW(sizes, REIN_PARAM_LIST | REIN_PARAM_INT, .dflt = "[3, 4]", .min = 1, .max = 9),
    ROW(models, REIN_PARAM_LIST | REIN_PARAM_MODEL, .min = 1),
    ROW(flags, REIN_PARAM_LIST | REIN_PARAM_BOOL, .min = 1),
    ROW(on, REIN_PARAM_BOOL, .min = 1),
    {.p = {.name = NULL}},
};
static const struct params table = {"ppo", &rows[0].p, sizeof(rows[0]), sizeof(struct block)};

static struct document doc;
static struct arena arena;
static struct error err;

static const struct block *bind(const char *text) {
    static const char *const reserved[] = {"use", "weight", NULL};

    yaml_free(&doc);
    arena_free(&arena);
    memset(&err, 0, sizeof(err));
    ck_assert_int_eq(yaml_parse(text, strlen(text), "bad.yaml", &doc, &err), 0);
    return params_bind(&table, doc.root->count == 1 ? doc.root->items[0] : doc.root, reserved, &arena, &err);
}

static void refused(const char *text, const char *message) {
    ck_assert_ptr_null(bind(text));
    ck_assert_str_eq(err.text, message);
    ck_assert_int_eq(err.kind, ERROR_INPUT);
}

START_TEST(values_and_defaults) {
    const struct block *b = bind("ppo: {use: ppo, steps: 7, weight: 2}\n");

    ck_assert_msg(b != NULL, "%s", err.text);
    ck_assert(b->clip == 0.2 && b->steps == 7 && b->kind == 1 && b->text == NULL && b->model == NULL && !b->on);
    ck_assert_str_eq(b->column, "answer");
    ck_assert_uint_eq(b->sizes.count, 2);
    ck_assert_int_eq(((const int64_t *)b->sizes.items)[1], 4);
    ck_assert_uint_eq(b->models.count, 0);

    b = bind("ppo: {clip: 1, steps: 1, kind: sigmoid, text: 'a b', model: sft, column: c, sizes: [],\n"
             "  models: [x, y], flags: [true, false], on: true}\n");
    ck_assert_msg(b != NULL, "%s", err.text);
    ck_assert(b->clip == 1 && b->kind == 0 && b->on && b->sizes.count == 0);
    ck_assert_str_eq(b->text, "a b");
    ck_assert_str_eq(((const char *const *)b->models.items)[1], "y");
    ck_assert_uint_eq(((const uint8_t *)b->flags.items)[0], 1);
    ck_assert(params_given(doc.root->items[0], "clip") && !params_given(NULL, "clip"));
}
END_TEST

START_TEST(refusals) {
    refused("ppo:\n  clip: 2.5\n", "bad.yaml:2:9: ppo.clip: must lie in [0, 1], got '2.5'");
    refused("ppo:\n  clipp: 1\n", "bad.yaml:2:3: ppo has no option 'clipp' (did you mean 'clip'?)");
    refused("ppo:\n  zebra: 1\n", "bad.yaml:2:3: ppo has no option 'zebra'");
    refused("ppo:\n  clip: high\n", "bad.yaml:2:9: ppo.clip: expected a finite number, got 'high'");
    refused("ppo:\n  clip: '0.5'\n", "bad.yaml:2:9: ppo.clip: expected a number, got the quoted string '0.5'");
    refused("ppo:\n  clip:\n", "bad.yaml:2:8: ppo.clip: expected a finite number, got nothing");
    refused("ppo:\n  clip: [1]\n", "bad.yaml:2:9: ppo.clip: expected a number, got a list");
    refused("ppo:\n  steps: 1.5\n", "bad.yaml:2:10: ppo.steps: expected an integer, got '1.5'");
    refused("ppo:\n  steps: 0\n", "bad.yaml:2:10: ppo.steps: must be at least 1, got '0'");
    refused("ppo:\n  kind: hingee\n",
            "bad.yaml:2:9: ppo.kind: must be one of sigmoid, hinge, got 'hingee' (did you mean 'hinge'?)");
    refused("ppo:\n  on: yes\n", "bad.yaml:2:7: ppo.on: expected true or false, got 'yes'");
    refused("ppo:\n  sizes: 3\n", "bad.yaml:2:10: ppo.sizes: expected a list, got '3'");
    refused("ppo:\n  sizes: [1, 10]\n", "bad.yaml:2:14: ppo.sizes: must lie in [1, 9], got '10'");
    refused("ppo:\n  models: [x, {y: 1}]\n", "bad.yaml:2:15: ppo.models: expected a string, got a mapping");
    refused("ppo:\n  model: ''\n", "bad.yaml:2:10: ppo.model: expected the name of a model, got the quoted string ''");
    refused("ppo:\n  clip: 0.5\n", "bad.yaml:2:3: ppo needs the option 'steps'");
    refused("ppo: [1]\n", "bad.yaml:1:6: ppo: expected a mapping (key: value), got a list");
    arena_free(&arena);
    ck_assert_ptr_null(params_bind(&table, NULL, NULL, &arena, &err));
    ck_assert_str_eq(err.text, "ppo needs the option 'steps'");
}
END_TEST

START_TEST(complaints_point_at_the_option) {
    struct params_marks marks;

    ck_assert_ptr_nonnull(bind("ppo:\n  steps: 3\n"));
    marks = (struct params_marks){doc.root->items[0], &table};
    ck_assert_int_eq(params_fail(&marks, "steps", "too few", &err), -1);
    ck_assert_str_eq(err.text, "bad.yaml:2:10: ppo.steps: too few");
    params_fail(&marks, "clip", "too small", &err);
    ck_assert_str_eq(err.text, "bad.yaml:2:3: ppo.clip: too small");
    marks.mapping = NULL;
    params_fail(&marks, "clip", "too small", &err);
    ck_assert_str_eq(err.text, "ppo.clip: too small");
}
END_TEST

static int collect(void *ctx, const struct rein_param *row, const char *value) {
    char *out = ctx;

    strcat(strcat(strcat(strcat(out, row->name), "="), value), " ");
    return 0;
}

START_TEST(visit) {
    char seen[128] = "";
    const struct block *b = bind("ppo: {steps: 3, model: a, models: [b, c]}\n");

    ck_assert_int_eq(params_visit(&table, b, REIN_PARAM_MODEL, collect, seen), 0);
    ck_assert_str_eq(seen, "model=a models=b models=c ");
}
END_TEST

static void wrong_table(struct rein_param row, const char *message) {
    const struct rein_param t[] = {{.name = "fine", .type = REIN_PARAM_INT, .doc = "d"}, row, {.name = NULL}};
    const struct params p = {"x", t, sizeof(*t), 16};

    ck_assert_msg(params_verify(&p, &err) == -1, "accepted; expected %s", message);
    ck_assert_str_eq(err.text, message);
}

START_TEST(tables) {
    struct params p = table;

    ck_assert_msg(params_verify(&p, &err) == 0, "%s", err.text);
    p.stride = 8;
    ck_assert_int_eq(params_verify(&p, &err), -1);
    p = table;
    p.config_size = 16;
    ck_assert_int_eq(params_verify(&p, &err), -1);
    ck_assert_str_eq(err.text, "option 'kind' lies outside the option block");
#define INT .type = REIN_PARAM_INT, .offset = 8, .doc = "d"
    wrong_table((struct rein_param){.name = "Clip", INT}, "option 'Clip': the name is reserved or not [a-z][a-z0-9_]*");
    wrong_table((struct rein_param){.name = "use", INT}, "option 'use': the name is reserved or not [a-z][a-z0-9_]*");
    wrong_table((struct rein_param){.name = "fine", INT}, "option 'fine' is declared twice");
    wrong_table((struct rein_param){.name = "a", .type = 9, .doc = "d"}, "option 'a' has the unknown type 9");
    wrong_table((struct rein_param){.name = "a", .type = REIN_PARAM_INT, .offset = 8}, "option 'a' has no sentence that explains it");
    wrong_table((struct rein_param){.name = "a", .type = REIN_PARAM_INT, .offset = 12, .doc = "d"}, "option 'a' lies outside the option block");
    wrong_table((struct rein_param){.name = "a", .type = REIN_PARAM_INT, .offset = 4, .doc = "d"}, "option 'a' is not aligned in the option block");
    wrong_table((struct rein_param){.name = "a", .type = REIN_PARAM_INT, .offset = (size_t)-4, .doc = "d"}, "option 'a' lies outside the option block");
    wrong_table((struct rein_param){.name = "a", .type = REIN_PARAM_BOOL, .offset = 3, .doc = "d"}, "options 'fine' and 'a' overlap");
    wrong_table((struct rein_param){.name = "a", .type = REIN_PARAM_CHOICE, .offset = 8, .doc = "d"}, "option 'a' has no choices");
    wrong_table((struct rein_param){.name = "a", .flags = 64, INT}, "option 'a' has unknown flags");
    wrong_table((struct rein_param){.name = "a", .min = 1, .max = 2, INT}, "option 'a' has no default and 0 is out of its range");
    wrong_table((struct rein_param){.name = "a", .flags = REIN_PARAM_REQUIRED, .dflt = "1", INT}, "option 'a' is required and has a default");
    wrong_table((struct rein_param){.name = "a", .dflt = "3", .min = 1, .max = 2, INT},
                "x.a: the plugin's own default is wrong: must lie in [1, 2], got '3'");
}
END_TEST

START_TEST(documentation) {
    struct buffer out = {0};
    struct document again;

    params_print(&table, &out);
    ck_assert_ptr_nonnull(strstr(out.data, "  clip = 0.2 (real in [0, 1])\n      About clip.\n"));
    ck_assert_ptr_nonnull(strstr(out.data, "  steps (integer at least 1, steps, required)\n"));
    ck_assert_ptr_nonnull(strstr(out.data, "  kind = hinge (choice of sigmoid, hinge)\n"));
    ck_assert_ptr_nonnull(strstr(out.data, "  models = [] (list of model)\n"));
    buffer_clear(&out);
    params_schema(&table, 2, &out);
    ck_assert_ptr_nonnull(strstr(out.data, "  # About clip.\n  # real in [0, 1]\n  clip: 0.2\n"));
    ck_assert_int_eq(yaml_parse(out.data, out.length, "schema", &again, &err), 0);
    yaml_free(&again);
    buffer_clear(&out);
    params_json(&table, &out);
    ck_assert_ptr_nonnull(strstr(out.data, "{\"name\": \"sizes\", \"type\": \"integer\", \"list\": true, \"default\": [3, 4], "
                                           "\"min\": 1, \"max\": 9"));
    buffer_free(&out);
}
END_TEST

int main(void) {
    Suite *s = suite_create("params");
    TCase *t = tcase_create("params");
    int rc;

    tcase_add_test(t, values_and_defaults);
    tcase_add_test(t, refusals);
    tcase_add_test(t, complaints_point_at_the_option);
    tcase_add_test(t, visit);
    tcase_add_test(t, tables);
    tcase_add_test(t, documentation);
    suite_add_tcase(s, t);
    rc = tap_run(s);
    yaml_free(&doc);
    arena_free(&arena);
    return rc;
}
