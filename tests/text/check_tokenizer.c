/* SPDX-License-Identifier: MIT */
#include "base/file.h"
#include "tap.h"
#include "text/tokenizer.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define GOLDEN SOURCE_DIR "/tests/golden/tokenizers/"

static char *read_text(const char *path, size_t *length) {
    struct error err = {0};
    char *text = file_read(path, 64 << 20, length, &err);

    ck_assert_msg(text != NULL, "%s", err.text);
    return text;
}

static json_t *read_json(const char *path) {
    size_t length;
    char *text = read_text(path, &length);
    json_t *root = json_loadb(text, length, 0, NULL);

    ck_assert_ptr_nonnull(root);
    free(text);
    return root;
}

static struct tokenizer *from_json(const json_t *root, const char *config) {
    char *text = json_dumps(root, JSON_COMPACT);
    struct tokenizer *t = NULL;
    struct error err = {0};

    ck_assert_ptr_nonnull(text);
    ck_assert_msg(tokenizer_parse(text, strlen(text), config, config ? strlen(config) : 0, "test", &t, &err) == 0, "%s",
                  err.text);
    free(text);
    return t;
}

static struct tokenizer *golden_tokenizer(const char *name) {
    char path[512];
    json_t *root;
    struct tokenizer *t;

    snprintf(path, sizeof path, GOLDEN "%s.json", name);
    root = read_json(path);
    t = from_json(root, NULL);
    json_decref(root);
    return t;
}

static void expect_ids(const struct tokenizer *t, const char *text, size_t length, unsigned flags, const json_t *want,
                       const char *where) {
    struct ids ids = {0};
    struct error err = {0};

    ck_assert_msg(tokenizer_encode(t, text, length, flags, &ids, &err) == 0, "%s: %s", where, err.text);
    ck_assert_msg(ids.count == json_array_size(want), "%s: '%.60s': %zu ids, not %zu", where, text, ids.count,
                  json_array_size(want));
    for (size_t i = 0; i < ids.count; i++)
        ck_assert_msg(ids.data[i] == json_integer_value(json_array_get(want, i)), "%s: '%.60s': id %zu is %d", where,
                      text, i, (int)ids.data[i]);
    ids_free(&ids);
}

static void expect_text(const struct tokenizer *t, const json_t *ids, bool skip, const json_t *want, const char *where) {
    const size_t count = json_array_size(ids);
    int32_t *data = calloc(count + 1, sizeof *data);
    struct buffer out = {0};

    for (size_t i = 0; i < count; i++)
        data[i] = (int32_t)json_integer_value(json_array_get(ids, i));
    tokenizer_decode(t, data, count, skip, &out);
    ck_assert(!out.failed);
    ck_assert_msg(out.length == json_string_length(want) &&
                      (out.length == 0 || memcmp(out.data, json_string_value(want), out.length) == 0),
                  "%s: decoded '%.80s', not '%.80s'", where, out.data ? out.data : "", json_string_value(want));
    buffer_free(&out);
    free(data);
}

static void expect_golden(const struct tokenizer *t, const json_t *g, const char *where) {
    const json_t *text = json_object_get(g, "text"), *ids = json_object_get(g, "ids");
    const char *s = json_string_value(text);
    const size_t n = json_string_length(text);

    expect_ids(t, s, n, TOKENIZE_SPECIAL, ids, where);
    expect_ids(t, s, n, TOKENIZE_SPECIAL | TOKENIZE_BOS, json_object_get(g, "ids_special"), where);
    if (json_object_get(g, "ids_plain") != NULL)
        expect_ids(t, s, n, 0, json_object_get(g, "ids_plain"), where);
    expect_text(t, ids, false, json_object_get(g, "decoded"), where);
    expect_text(t, ids, true, json_object_get(g, "decoded_skip"), where);
}

/* Calls `check` for each line of a JSONL file; returns how many there were. */
static size_t each_line(const char *path, void (*check)(const json_t *line, void *ctx), void *ctx) {
    size_t length, count = 0;
    char *text = read_text(path, &length);

    for (char *at = text, *end; at < text + length; at = end + 1, count++) {
        json_t *line;
        end = memchr(at, '\n', (size_t)(text + length - at));
        if (end == NULL)
            end = text + length;
        line = json_loadb(at, (size_t)(end - at), JSON_ALLOW_NUL, NULL);
        ck_assert_ptr_nonnull(line);
        check(line, ctx);
        json_decref(line);
    }
    free(text);
    return count;
}

static void check_line(const json_t *line, void *ctx) {
    const void *const *pair = ctx;

    expect_golden(pair[0], line, pair[1]);
}

static void check_variant(const json_t *line, void *ctx) {
    const char *name = json_string_value(json_object_get(line, "name")), *key;
    char path[512];
    json_t *root, *value;
    struct tokenizer *t;

    (void)ctx;
    snprintf(path, sizeof path, GOLDEN "%s.json", json_string_value(json_object_get(line, "base")));
    root = read_json(path);
    json_object_foreach(json_object_get(line, "edit"), key, value) {
        if (strcmp(key, "model") == 0)
            json_object_update(json_object_get(root, key), value);
        else
            json_object_set(root, key, value);
    }
    t = from_json(root, NULL);
    json_decref(root);
    for (size_t i = 0; i < json_array_size(json_object_get(line, "golden")); i++)
        expect_golden(t, json_array_get(json_object_get(line, "golden"), i), name);
    tokenizer_free(t);
}

START_TEST(every_component_equals_the_reference) {
    ck_assert_uint_ge(each_line(GOLDEN "variants.jsonl", check_variant, NULL), 30);
}
END_TEST

START_TEST(real_tokenizers_equal_the_reference) {
    static const char *const names[] = {"stories512", "gpt2", "smollm2", "mistral-v0.1", "qwen2.5", "qwen3"};
    const char *folder = getenv("REIN_TEST_DATA");

    if (folder == NULL) {
        puts("# SKIP real tokenizers: REIN_TEST_DATA is not set");
        return;
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct tokenizer *t = NULL;
        struct error err = {0};
        char path[512];
        snprintf(path, sizeof path, "%s/tokenizers/%s", folder, names[i]);
        ck_assert_msg(tokenizer_load(path, &t, &err) == 0, "%s", err.text);
        const void *pair[] = {t, names[i]};
        snprintf(path, sizeof path, "%s/tokenizers/%s/golden.jsonl", folder, names[i]);
        ck_assert_uint_gt(each_line(path, check_line, pair), 400);
        tokenizer_free(t);
    }
}
END_TEST

START_TEST(configuration_names_tokens_and_template) {
    json_t *root = read_json(GOLDEN "bytes.json");
    struct tokenizer *t = from_json(root, "{\"bos_token\": {\"content\": \"<|begin|>\"}, \"eos_token\": \"<|end|>\","
                                          "\"pad_token\": \"[PAD]\", \"chat_template\": [{\"name\": \"tool_use\","
                                          "\"template\": \"x\"}, {\"name\": \"default\", \"template\": \"y\"}]}");
    const int32_t *prefix;
    size_t n;

    ck_assert_int_eq(tokenizer_bos(t), 1);
    ck_assert_int_eq(tokenizer_eos(t), 0);
    ck_assert_int_eq(tokenizer_pad(t), -1);
    ck_assert_str_eq(tokenizer_chat_template(t), "y");
    ck_assert(tokenizer_is_special(t, 0) && !tokenizer_is_special(t, 5) && !tokenizer_is_special(t, -1));
    ck_assert_int_eq(tokenizer_id(t, "<|end|>"), 0);
    ck_assert_int_eq(tokenizer_id(t, "no such token"), -1);
    ck_assert_uint_eq(tokenizer_prefix(t, &prefix), 0);
    ck_assert_str_eq(tokenizer_token_text(t, 0), "<|end|>");
    ck_assert_ptr_null(tokenizer_token_text(t, (int32_t)tokenizer_size(t)));
    ck_assert_ptr_nonnull(tokenizer_json(t, &n));
    ck_assert_uint_gt(n, 1000);
    tokenizer_free(t);
    json_decref(root);
    t = golden_tokenizer("pieces");
    ck_assert_int_eq(tokenizer_bos(t), -1);
    ck_assert_uint_eq(tokenizer_prefix(t, &prefix), 1);
    ck_assert_int_eq(prefix[0], 1);
    ck_assert_ptr_null(tokenizer_chat_template(t));
    tokenizer_free(t);
}
END_TEST

START_TEST(bytes_of_tokens_make_the_text) {
    static const char text[] = "The sea \xe6\x9d\xb1 and\n1912 <|end|>";
    static const char *const names[] = {"bytes", "pieces"};

    for (size_t k = 0; k < 2; k++) {
        struct tokenizer *t = golden_tokenizer(names[k]);
        struct ids ids = {0};
        struct buffer joined = {0};
        struct error err = {0};
        ck_assert_int_eq(tokenizer_encode(t, text, strlen(text), TOKENIZE_SPECIAL, &ids, &err), 0);
        for (size_t i = 0; i < ids.count; i++) {
            size_t n;
            const char *bytes = tokenizer_token_bytes(t, ids.data[i], &n);
            buffer_add(&joined, bytes, n);
        }
        /* the SentencePiece style keeps the space that it puts in front */
        ck_assert_str_eq(joined.data + (k == 1), text);
        buffer_free(&joined);
        ids_free(&ids);
        tokenizer_free(t);
    }
}
END_TEST

START_TEST(ill_formed_text_is_repaired) {
    static const struct {
        const char *bad, *good;
    } cases[] = {
        {"a\xff"
         "b",
         "a\xef\xbf\xbd"
         "b"},
        {"\xe6\x9d", "\xef\xbf\xbd"},                         /* a cut character is one part */
        {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* a surrogate is three */
        {"\xf0\x9f\x99x", "\xef\xbf\xbdx"},
        {"\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xf5\x80", "\xef\xbf\xbd\xef\xbf\xbd"},
    };
    struct tokenizer *t = golden_tokenizer("bytes");

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ids a = {0}, b = {0};
        struct error err = {0};
        ck_assert_int_eq(tokenizer_encode(t, cases[i].bad, strlen(cases[i].bad), 0, &a, &err), 0);
        ck_assert_int_eq(tokenizer_encode(t, cases[i].good, strlen(cases[i].good), 0, &b, &err), 0);
        ck_assert_uint_eq(a.count, b.count);
        ck_assert_mem_eq(a.data, b.data, a.count * sizeof *a.data);
        ids_free(&a);
        ids_free(&b);
    }
    tokenizer_free(t);
}
END_TEST

/* Ids of any kind decode without reading beyond a table, and what is decoded is well-formed. */
START_TEST(any_ids_decode) {
    static const int32_t ids[] = {-1, INT32_MIN, INT32_MAX, 1 << 24, 100, 200, 329, 330, 331, 332, 333, 0, 150, 5};
    static const char *const names[] = {"bytes", "pieces"};

    for (size_t k = 0; k < 2; k++) {
        struct tokenizer *t = golden_tokenizer(names[k]);
        struct buffer out = {0};
        tokenizer_decode(t, ids, sizeof ids / sizeof *ids, false, &out);
        ck_assert(!out.failed);
        tokenizer_decode(t, ids, 4, false, &out);
        tokenizer_decode(t, NULL, 0, false, &out);
        buffer_free(&out);
        tokenizer_free(t);
    }
}
END_TEST

START_TEST(long_pieces_are_not_quadratic) {
    /* one piece without a break: a quadratic merge would take minutes */
    enum { LENGTH = 1 << 20 };
    struct tokenizer *t = golden_tokenizer("pieces");
    char *text = malloc(LENGTH);
    struct ids ids = {0};
    struct error err = {0};

    ck_assert_ptr_nonnull(text);
    for (size_t i = 0; i < LENGTH; i++)
        text[i] = "thesandr"[i * 2654435761u >> 13 & 7];
    ck_assert_int_eq(tokenizer_encode(t, text, LENGTH, 0, &ids, &err), 0);
    ck_assert_uint_gt(ids.count, LENGTH / 8);
    ids_free(&ids);
    free(text);
    tokenizer_free(t);
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("tokenizer");
    TCase *c = tcase_create("tokenizer");

    tcase_set_timeout(c, 60);
    tcase_add_test(c, every_component_equals_the_reference);
    tcase_add_test(c, real_tokenizers_equal_the_reference);
    tcase_add_test(c, configuration_names_tokens_and_template);
    tcase_add_test(c, bytes_of_tokens_make_the_text);
    tcase_add_test(c, ill_formed_text_is_repaired);
    tcase_add_test(c, any_ids_decode);
    tcase_add_test(c, long_pieces_are_not_quadratic);
    suite_add_tcase(s, c);
    return s;
}

int main(void) {
    return tap_run(suite());
}
