/* SPDX-License-Identifier: MIT
 *
 * Real tokenizers put into a GGUF file as llama.cpp's converter does, and read back: every line of their goldens, and
 * for SentencePiece-style ones the very list of merges that transformers derived from the scores.
 */
#include "base/buffer.h"
#include "base/file.h"
#include "base/mem.h"
#include "gguf_build.h"
#include "model/gguf_tokenizer.h"
#include "model/json_read.h"
#include "model/spm_merges.h"
#include "tap.h"
#include "text/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name, *model, *pre;
} kinds[] = {
    {"smollm2", "gpt2", "smollm"}, {"gpt2", "gpt2", "gpt-2"},       {"qwen2.5", "gpt2", "qwen2"},
    {"qwen3", "gpt2", "qwen2"},    {"mistral-v0.1", "llama", NULL}, {"stories512", "llama", NULL},
};

struct token {
    const char *text;
    uint32_t type;
    float score;
};

static size_t collect(const json_t *root, struct token **out) {
    const json_t *model = json_object_get(root, "model"), *added = json_object_get(root, "added_tokens"), *one;
    json_t *vocab = json_object_get(model, "vocab"), *id;
    const char *text;
    size_t count = 0, i;

    json_object_foreach(vocab, text, id) count =
        (size_t)json_integer_value(id) >= count ? (size_t)json_integer_value(id) + 1 : count;
    json_array_foreach(added, i, one) {
        const size_t n = (size_t)json_integer_value(json_object_get(one, "id"));
        count = n >= count ? n + 1 : count;
    }
    *out = mem_zeros(count, sizeof(**out));
    json_object_foreach(vocab, text, id)(*out)[json_integer_value(id)] = (struct token){text, 1, 0};
    json_array_foreach(added, i, one)(*out)[json_integer_value(json_object_get(one, "id"))] = (struct token){
        json_string_value(json_object_get(one, "content")), json_is_true(json_object_get(one, "special")) ? 3 : 4, 0};
    for (i = 0; i < count; i++) {
        ck_assert_ptr_nonnull((*out)[i].text);
        if (strncmp((*out)[i].text, "<0x", 3) == 0)
            (*out)[i].type = 6;
    }
    return count;
}

/* The two sides of a merge, however it is written, with `between` in the middle. */
static void merge_text(const json_t *merge, const char *between, char *out, size_t size) {
    if (json_is_string(merge)) {
        const char *text = json_string_value(merge), *space = strchr(text + 1, ' ');
        snprintf(out, size, "%.*s%s%s", (int)(space - text), text, between, space + 1);
    } else {
        snprintf(out, size, "%s%s%s", json_string_value(json_array_get(merge, 0)), between,
                 json_string_value(json_array_get(merge, 1)));
    }
}

/* The score that SentencePiece's trainer gave a piece is lower the later it was made: less than one for each merge. */
static void add_scores(const json_t *root, struct token *tokens, size_t count) {
    const json_t *model = json_object_get(root, "model"), *merge;
    const json_t *vocab = json_object_get(model, "vocab");
    char text[2048];
    size_t i;

    for (i = 0; i < count; i++)
        tokens[i].score = -1e6f;
    json_array_foreach(json_object_get(model, "merges"), i, merge) {
        struct token *t;
        merge_text(merge, "", text, sizeof(text));
        t = &tokens[json_integer_value(json_object_get(vocab, text))];
        if (t->score == -1e6f)
            t->score = -(float)i;
    }
}

static void add_merges(struct gguf_build *g, json_t *merges) {
    struct buffer *b = build_array(g, "tokenizer.ggml.merges", GGUF_STRING, json_array_size(merges));
    char text[2048];
    json_t *merge;
    size_t i;

    json_array_foreach(merges, i, merge) {
        merge_text(merge, " ", text, sizeof(text));
        put_text(b, text);
    }
}

static unsigned char *to_gguf(const json_t *root, size_t k, size_t *length) {
    struct gguf_build g = {0};
    struct token *tokens;
    const size_t count = collect(root, &tokens);
    struct buffer *b;

    add_scores(root, tokens, count);
    build_text(&g, "tokenizer.ggml.model", kinds[k].model);
    if (kinds[k].pre != NULL)
        build_text(&g, "tokenizer.ggml.pre", kinds[k].pre);
    b = build_array(&g, "tokenizer.ggml.tokens", GGUF_STRING, count);
    for (size_t i = 0; i < count; i++)
        put_text(b, tokens[i].text);
    b = build_array(&g, "tokenizer.ggml.token_type", GGUF_I32, count);
    for (size_t i = 0; i < count; i++)
        put_u32(b, tokens[i].type);
    b = build_array(&g, "tokenizer.ggml.scores", GGUF_F32, count);
    for (size_t i = 0; i < count; i++)
        put_f32(b, tokens[i].score);
    if (kinds[k].pre != NULL) {
        add_merges(&g, json_object_get(json_object_get(root, "model"), "merges"));
    } else {
        build_u32(&g, "tokenizer.ggml.unknown_token_id", 0);
        build_u32(&g, "tokenizer.ggml.bos_token_id", 1);
        build_u32(&g, "tokenizer.ggml.eos_token_id", 2);
    }
    free(tokens);
    return build_finish(&g, length);
}

static void expect_ids(const struct tokenizer *t, const json_t *line, unsigned flags, const char *key, size_t number) {
    const json_t *text = json_object_get(line, "text"), *want = json_object_get(line, key);
    struct ids ids = {0};
    struct error err = {0};
    bool same;

    ck_assert_msg(tokenizer_encode(t, json_string_value(text), json_string_length(text), flags, &ids, &err) == 0, "%s",
                  err.text);
    same = ids.count == json_array_size(want);
    for (size_t i = 0; same && i < ids.count; i++)
        same = ids.data[i] == json_integer_value(json_array_get(want, i));
    ck_assert_msg(same, "line %zu: %s differ", number, key);
    if (!(flags & TOKENIZE_BOS)) {
        struct buffer b = {0};
        const json_t *decoded = json_object_get(line, "decoded");
        tokenizer_decode(t, ids.data, ids.count, false, &b);
        ck_assert_msg(b.length == json_string_length(decoded) &&
                          (b.length == 0 || memcmp(b.data, json_string_value(decoded), b.length) == 0),
                      "line %zu: decoded differs", number);
        buffer_free(&b);
    }
    ids_free(&ids);
}

static size_t check_lines(const struct tokenizer *t, const char *path) {
    struct error err = {0};
    size_t length, number = 0;
    char *text = file_read(path, 1 << 26, &length, &err);

    ck_assert_msg(text != NULL, "%s", err.text);
    for (char *at = text, *end; at < text + length; at = end + 1) {
        json_t *line;
        end = memchr(at, '\n', (size_t)(text + length - at));
        end = end ? end : text + length;
        line = json_loadb(at, (size_t)(end - at), JSON_ALLOW_NUL, NULL);
        ck_assert_ptr_nonnull(line);
        number++;
        expect_ids(t, line, TOKENIZE_SPECIAL, "ids", number);
        expect_ids(t, line, TOKENIZE_SPECIAL | TOKENIZE_BOS, "ids_special", number);
        json_decref(line);
    }
    free(text);
    return number;
}

static void same_merges(const json_t *a, const json_t *b) {
    const json_t *x = json_object_get(json_object_get(a, "model"), "merges");
    const json_t *y = json_object_get(json_object_get(b, "model"), "merges");

    ck_assert_uint_eq(json_array_size(x), json_array_size(y));
    for (size_t i = 0; i < json_array_size(x); i++) {
        char want[2048], got[2048];
        merge_text(json_array_get(x, i), " ", want, sizeof(want));
        merge_text(json_array_get(y, i), " ", got, sizeof(got));
        ck_assert_msg(strcmp(want, got) == 0, "merge %zu: '%s', not '%s'", i, got, want);
    }
}

START_TEST(real_tokenizers) {
    const char *data = getenv("REIN_TEST_DATA");
    struct error err = {0};
    struct tensor_table table = {0};
    struct tokenizer *t;
    struct gguf g;
    char path[4096], *json, *settings;
    unsigned char *file;
    size_t length;
    json_t *root, *again;

    if (data == NULL) {
        printf("# SKIP REIN_TEST_DATA is not set\n");
        return;
    }
    snprintf(path, sizeof(path), "%s/tokenizers/%s/tokenizer.json", data, kinds[_i].name);
    root = json_read_file(path, &err);
    ck_assert_msg(root != NULL, "%s", err.text);
    file = to_gguf(root, (size_t)_i, &length);
    ck_assert_msg(gguf_parse(file, length, "built", &g, &table, &err) == 0, "%s", err.text);
    ck_assert_msg(gguf_tokenizer(&g, &json, &settings, &err) == 0, "%s", err.text);
    ck_assert_msg(tokenizer_parse(json, strlen(json), settings, strlen(settings), "built", &t, &err) == 0, "%s",
                  err.text);
    snprintf(path, sizeof(path), "%s/tokenizers/%s/golden.jsonl", data, kinds[_i].name);
    ck_assert_uint_gt(check_lines(t, path), 300);
    again = json_loads(json, 0, NULL);
    same_merges(root, again);
    tokenizer_free(t);
    json_decref(root);
    json_decref(again);
    free(json);
    free(settings);
    gguf_free(&g);
    table_free(&table);
    free(file);
}
END_TEST

/* By score, then by the ids of the token made, its left and its right part. */
START_TEST(merges_from_scores) {
    static const struct spm_token tokens[] = {
        {"<s>", 3, 0, false},
        {"a", 1, -9, true},
        {"b", 1, -9, true},
        {"c", 1, -9, true},
        {"ab", 2, -2, true},
        {"bc", 2, -2, true},
        {"abc", 3, -3, true},
        {"aab", 3, -3, true},
        {"aa", 2, -7, true},
        {"s>", 2, -1, false},
        {"\xe2\x96\x81", 3, -9, true},
        {"\xe2\x96\x81"
         "a",
         4, -3, true},
    };
    static const struct spm_merge want[] = {{1, 2}, {2, 3}, {1, 5}, {4, 3}, {1, 4}, {8, 2}, {10, 1}, {1, 1}};
    struct spm_index index = {0};
    struct spm_merge *merges;
    struct error err = {0};
    size_t n;

    ck_assert_int_eq(spm_index_make(&index, tokens, sizeof(tokens) / sizeof(tokens[0]), &err), 0);
    ck_assert_msg(spm_merges(&index, &merges, &n, &err) == 0, "%s", err.text);
    ck_assert_uint_eq(n, sizeof(want) / sizeof(want[0]));
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(merges[i].left == want[i].left && merges[i].right == want[i].right, "merge %zu: %d + %d", i,
                      (int)merges[i].left, (int)merges[i].right);
    free(merges);
    spm_index_free(&index);
}
END_TEST

int main(void) {
    Suite *s = suite_create("gguf tokenizer");
    TCase *t = tcase_create("gguf tokenizer");

    tcase_set_timeout(t, 120);
    tcase_add_test(t, merges_from_scores);
    tcase_add_loop_test(t, real_tokenizers, 0, (int)(sizeof(kinds) / sizeof(kinds[0])));
    suite_add_tcase(s, t);
    return tap_run(s);
}
