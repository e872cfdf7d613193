/* SPDX-License-Identifier: MIT */
#include "base/buffer.h"
#include "base/yaml.h"
#include "tap.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct document doc;
static struct error err;

static int parse(const char *text) {
    return yaml_parse(text, strlen(text), "x.yaml", &doc, &err);
}

static void refused(const char *text, const char *message) {
    memset(&err, 0, sizeof(err));
    ck_assert_msg(parse(text) == -1, "accepted: %s", text);
    ck_assert_str_eq(err.text, message);
    ck_assert_int_eq(err.kind, ERROR_INPUT);
}

START_TEST(reads_with_positions) {
    const struct node *a, *b;

    ck_assert_int_eq(parse("# top\na: 1\nlist:\n  - x\n  - {k: 'two words', n: ~}\nempty:\n"), 0);
    ck_assert_uint_eq(doc.root->count, 3);
    a = node_get(doc.root, "a");
    ck_assert_str_eq(a->text, "1");
    ck_assert(a->plain && a->line == 2 && a->column == 4);
    b = node_get(doc.root, "list");
    ck_assert(b->type == NODE_SEQUENCE && b->count == 2);
    b = node_get(b->items[1], "k");
    ck_assert_str_eq(b->text, "two words");
    ck_assert(!b->plain && b->line == 5 && b->column == 9);
    ck_assert(node_is_null(node_get(doc.root, "empty")));
    ck_assert_ptr_null(node_get(doc.root, "nothing"));
    yaml_free(&doc);
}
END_TEST

START_TEST(refuses) {
    refused("a: &x 1\nb: *x\n", "x.yaml:1:4: anchors (&name) are not supported");
    refused("a: 1\nb: *x\n", "x.yaml:2:4: aliases (*name) are not supported");
    refused("a: !!int 1\n", "x.yaml:1:4: tags (!name) are not supported");
    refused("a: ! x\n", "x.yaml:1:4: tags (!name) are not supported");
    refused("a: !x {}\n", "x.yaml:1:4: tags (!name) are not supported");
    refused("a: {<<: {b: 1}}\n", "x.yaml:1:5: merge keys (<<) are not supported");
    refused("a: 1\n---\nb: 2\n", "x.yaml:2:1: a second document (---) in one file");
    refused("lr: 1\nlr: 2\n", "x.yaml:2:1: key 'lr' is given twice (first in line 1)");
    refused("{a: 1}: 2\n", "x.yaml:1:1: a key must be a word, got a mapping");
    refused("? [a]\n: 2\n", "x.yaml:1:3: a key must be a word, got a list");
    refused("- a\n", "x.yaml:1:1: expected a mapping (key: value)");
    refused("", "x.yaml: there is nothing in it");
    refused("# only a comment\n", "x.yaml: there is nothing in it");
    refused("a: \"x\\0y\"\n", "x.yaml:1:4: a value with a NUL character");
    refused("%TAG !y! tag:yaml.org,2002:\n---\na: 1\n", "x.yaml:1:1: %TAG directives are not supported");
    refused("a: [1, 2\nb: 3\n", "x.yaml:2:2: not YAML: did not find expected ',' or ']' while parsing a flow sequence");
    refused("a: 'x\n", "x.yaml:2:1: not YAML: found unexpected end of stream while scanning a quoted scalar");
    refused("a: \x80\n", "x.yaml: byte 3: not YAML: invalid leading UTF-8 octet");
}
END_TEST

/* A nesting bomb must be refused long before libyaml's quadratic scanner is felt. */
START_TEST(limits) {
    const size_t n = 1 << 20;
    char *text = malloc(n + 2);
    struct buffer many = {0};
    clock_t begin = clock();

    ck_assert_ptr_nonnull(text);
    memset(text, '[', n);
    memcpy(text, "a: ", 3);
    text[n] = '\0';
    refused(text, "x.yaml:1:35: nested more than 32 deep");
    for (size_t i = 0; i + 4 <= n; i += 4)
        memcpy(text + i, "{a: ", 4);
    refused(text, "x.yaml:1:129: nested more than 32 deep");
    for (size_t i = 0; i < n; i += 2)
        memcpy(text + i, "[\n", 2);
    memcpy(text, "a: [", 4);
    text[n] = '\0';
    ck_assert_int_eq(parse(text), -1);
    ck_assert_ptr_nonnull(strstr(err.text, "nested more than 32 deep"));
    text[n] = ' ';
    text[n + 1] = '\0';
    refused(text, "x.yaml: more than 1 MiB of YAML");
    memset(text, 'b', 70000);
    memcpy(text, "a: ", 3);
    text[70000] = '\0';
    refused(text, "x.yaml:1:4: a value longer than 64 KiB");
    memcpy(text + 300, ": 1", 4);
    refused(text + 3, "x.yaml:1:1: a key longer than 256 characters");
    buffer_text(&many, "a: [");
    for (int i = 0; i < 10000; i++)
        buffer_text(&many, "1,");
    buffer_text(&many, "]\n");
    ck_assert_int_eq(parse(many.data), -1);
    ck_assert_ptr_nonnull(strstr(err.text, "more than 10000 values"));
    buffer_free(&many);
    free(text);
    ck_assert(clock() - begin < CLOCKS_PER_SEC);
}
END_TEST

static double real_of(const char *text) {
    struct arena arena = {0};
    const struct node *n = yaml_value(&arena, text, "v", NULL);
    double v = -1e9;
    const char *expected = n ? node_read_real(n, &v) : "a value";

    arena_free(&arena);
    return expected ? -1e9 : v;
}

static int64_t int_of(const char *text) {
    struct arena arena = {0};
    const struct node *n = yaml_value(&arena, text, "v", NULL);
    int64_t v = -999;
    const char *expected = n ? node_read_int(n, &v) : "a value";

    arena_free(&arena);
    return expected ? -999 : v;
}

START_TEST(numbers) {
    static const char *const not_real[] = {"0x10", ".inf", "nan", "1e999", "1e", ".", "-", "1.5x", "'1.5'", "1,5", "", "yes", "[1]"};
    static const char *const not_int[] = {"1.0", "010", "1e3", "9223372036854775808", "'7'", "0x7", "+", "1_000"};

    ck_assert(real_of("1e-5") == 1e-5 && real_of("2") == 2 && real_of("-.5") == -.5 && real_of("+1.E+2") == 100);
    for (size_t i = 0; i < sizeof(not_real) / sizeof(*not_real); i++)
        ck_assert_msg(real_of(not_real[i]) == -1e9, "%s", not_real[i]);
    ck_assert(int_of("0") == 0 && int_of("-7") == -7 && int_of("9223372036854775807") == INT64_MAX);
    for (size_t i = 0; i < sizeof(not_int) / sizeof(*not_int); i++)
        ck_assert_msg(int_of(not_int[i]) == -999, "%s", not_int[i]);
}
END_TEST

START_TEST(typed_errors) {
    const char *s;
    int64_t i;
    bool b;

    ck_assert_int_eq(parse("a: on\nb: [x]\nc: ~\nd: '8'\n"), 0);
    node_bool(node_get(doc.root, "a"), &b, &err);
    ck_assert_str_eq(err.text, "x.yaml:1:4: expected true or false, got 'on'");
    node_string(node_get(doc.root, "b"), &s, &err);
    ck_assert_str_eq(err.text, "x.yaml:2:4: expected a string, got a list");
    node_string(node_get(doc.root, "c"), &s, &err);
    ck_assert_str_eq(err.text, "x.yaml:3:4: expected a string, got nothing");
    node_int(node_get(doc.root, "d"), &i, &err);
    ck_assert_str_eq(err.text, "x.yaml:4:4: expected an integer, got the quoted string '8'");
    yaml_free(&doc);
}
END_TEST

START_TEST(set) {
    double v;

    ck_assert_int_eq(parse("seed: 1\nstages:\n  - name: align\n    train: {lr: 1.0}\n    rewards:\n      - {use: a}\n"), 0);
    ck_assert_int_eq(yaml_set(&doc, "align.train.lr=5e-7", &err), 0);
    ck_assert_int_eq(yaml_set(&doc, "seed=9", &err), 0);
    ck_assert_int_eq(yaml_set(&doc, "align.rollout.stop=[\"a=b\", c]", &err), 0);
    ck_assert_int_eq(yaml_set(&doc, "align.rewards.0.weight=2", &err), 0);
    ck_assert_int_eq(yaml_set(&doc, "output=x/y", &err), 0);
    const struct node *stage = node_get(doc.root, "stages")->items[0];
    ck_assert_int_eq(node_real(node_get(node_get(stage, "train"), "lr"), &v, &err), 0);
    ck_assert(v == 5e-7);
    ck_assert_str_eq(node_get(doc.root, "seed")->text, "9");
    ck_assert_str_eq(node_get(node_get(stage, "rollout"), "stop")->items[0]->text, "a=b");
    ck_assert_str_eq(node_get(node_get(stage, "rewards")->items[0], "weight")->text, "2");
    node_real(node_get(node_get(stage, "rollout"), "stop"), &v, &err);
    ck_assert_str_eq(err.text, "--set align.rollout.stop=[\"a=b\", c]: expected a number, got a list");

    ck_assert_int_eq(yaml_set(&doc, "aling.train.lr=1", &err), -1);
    ck_assert_str_eq(err.text, "--set aling.train.lr=1: there is no stage and no top-level key 'aling' (did you mean 'align'?)");
    ck_assert_int_eq(yaml_set(&doc, "seed", &err), -1);
    ck_assert_str_eq(err.text, "--set seed: expected KEY=VALUE");
    ck_assert_int_eq(yaml_set(&doc, "align.rewards.3.weight=2", &err), -1);
    ck_assert_str_eq(err.text, "--set align.rewards.3.weight=2: '3' is not one of the list's items 0 to 0");
    ck_assert_int_eq(yaml_set(&doc, "seed.x=2", &err), -1);
    ck_assert_str_eq(err.text, "--set seed.x=2: there is no 'x' inside a plain value");
    ck_assert_int_eq(yaml_set(&doc, "seed=[1", &err), -1);
    ck_assert_int_eq(yaml_set(&doc, "seed=*x", &err), -1);
    ck_assert_int_eq(yaml_set(&doc, "align=3", &err), -1);
    yaml_free(&doc);
}
END_TEST

static bool same(const struct node *a, const struct node *b) {
    if (a->type != b->type || a->count != b->count)
        return false;
    if (a->type == NODE_SCALAR)
        return (node_is_null(a) && node_is_null(b)) || strcmp(a->text, b->text) == 0;
    for (size_t i = 0; i < a->count; i++)
        if (!same(a->items[i], b->items[i]) || (a->type == NODE_MAPPING && !same(a->keys[i], b->keys[i])))
            return false;
    return true;
}

START_TEST(round_trip) {
    static const char text[] = "a: 1.0e-6\nb: 'it''s: # \"odd\"'\nc: [x, [y, {z: 1}], 'true', ~]\n"
                               "d: {}\ne: []\nf: |\n  two\n  lines \ng: -1\nh: ./a/b.jsonl\ni: \"\\u2028\\x07\\t\xc3\xa4\"\n"
                               "'null': 2\n\"k: v\": {q: [{r: {s: [1, 2]}}, 3]}\nl: '- x'\nm: ''\n'-': 1\nn: '---'\no: '1'\n";
    struct document again;
    struct buffer out = {0};

    ck_assert_int_eq(parse(text), 0);
    node_write(doc.root, &out);
    ck_assert_int_eq(yaml_parse(out.data, out.length, "again", &again, &err), 0);
    ck_assert_msg(same(doc.root, again.root), "%s", out.data);
    ck_assert(!node_get(again.root, "o")->plain && node_get(again.root, "a")->plain);
    buffer_free(&out);
    yaml_free(&doc);
    yaml_free(&again);
}
END_TEST

/* Whatever bytes come: accepted or refused in a sentence, and what is accepted survives being written. */
START_TEST(mutations) {
    static const char seed_text[] = "a: {b: [1, 'x', \"y\\n\"], c: ~}\nd:\n  - e: |\n      f\n    g: >-\n      h i\n  - [j, {k: l}]\n? m\n: n\n";
    static const char letters[] = "{}[],:-?'\"\\|>#&*!%@` \n\tab01~<=\x80\xc3\xa4";
    uint32_t state = 12345, accepted = 0;
    char text[sizeof(seed_text)];

    for (int round = 0; round < 20000; round++) {
        size_t changes = 1 + round % 4;

        memcpy(text, seed_text, sizeof(text));
        while (changes-- > 0) {
            state = state * 1664525u + 1013904223u;
            text[(state >> 8) % (sizeof(text) - 1)] = letters[(state >> 20) % (sizeof(letters) - 1)];
        }
        memset(&err, 0, sizeof(err));
        if (parse(text) == 0) {
            struct document again;
            struct buffer out = {0};

            accepted++;
            node_write(doc.root, &out);
            ck_assert_msg(yaml_parse(out.data, out.length, "again", &again, &err) == 0, "%s\n%s\n%s", text, out.data, err.text);
            ck_assert_msg(same(doc.root, again.root), "%s\n%s", text, out.data);
            buffer_free(&out);
            yaml_free(&again);
            yaml_free(&doc);
        } else {
            ck_assert_int_eq(err.kind, ERROR_INPUT);
            ck_assert(strncmp(err.text, "x.yaml:", 7) == 0);
        }
    }
    ck_assert(accepted > 1000 && accepted < 19000);
}
END_TEST

int main(void) {
    Suite *s = suite_create("yaml");
    TCase *t = tcase_create("yaml");

    tcase_add_test(t, reads_with_positions);
    tcase_add_test(t, refuses);
    tcase_add_test(t, limits);
    tcase_add_test(t, numbers);
    tcase_add_test(t, typed_errors);
    tcase_add_test(t, set);
    tcase_add_test(t, round_trip);
    tcase_add_test(t, mutations);
    suite_add_tcase(s, t);
    return tap_run(s);
}
