/* SPDX-License-Identifier: MIT
 *
 * Malformed tokenizer files: always refused as the user's mistake, or harmless; never a crash.
 */
#include "base/file.h"
#include "tap.h"
#include "text/tokenizer.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define GOLDEN SOURCE_DIR "/tests/golden/tokenizers/"

static char *base_text;
static size_t base_length;
static json_t *base;

static void setup(void) {
    struct error err = {0};

    base_text = file_read(GOLDEN "bytes.json", 1 << 20, &base_length, &err);
    ck_assert_msg(base_text != NULL, "%s", err.text);
    base = json_loadb(base_text, base_length, 0, NULL);
    ck_assert_ptr_nonnull(base);
}

static void teardown(void) {
    free(base_text);
    json_decref(base);
}

/* Replaces (or with a NULL value removes) the member that `path` ("model.vocab.a", "added_tokens.0.id") names. */
static void edit(json_t *root, const char *path, const char *value) {
    json_t *at = root, *now = value == NULL ? NULL : json_loads(value, JSON_DECODE_ANY, NULL);
    const char *dot;
    char key[64];

    ck_assert_msg(value == NULL || now != NULL, "%s", value);
    while ((dot = strchr(path, '.')) != NULL && dot > path) {
        snprintf(key, sizeof key, "%.*s", (int)(dot - path), path);
        at = json_is_array(at) ? json_array_get(at, (size_t)atoi(key)) : json_object_get(at, key);
        ck_assert_ptr_nonnull(at);
        path = dot + 1;
    }
    if (json_is_array(at) && now != NULL)
        ck_assert_int_eq(json_array_set_new(at, (size_t)atoi(path), now), 0);
    else if (json_is_array(at))
        json_array_remove(at, (size_t)atoi(path));
    else if (now != NULL)
        json_object_set_new(at, path, now);
    else
        ck_assert_int_eq(json_object_del(at, path), 0);
}

#define NFC       "{\"type\": \"NFC\"}"
#define SEQ(x)    "{\"type\": \"Sequence\", \"normalizers\": [" x "]}"
#define SPLIT(re) "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"" re "\"}, \"behavior\": \"Isolated\"}"

static const struct {
    const char *path, *value, *words;
} edits[] = {
    {"model", NULL, "'model' must be an object"},
    {"model", "[]", "'model' must be an object"},
    {"model.type", "\"WordPiece\"", "'WordPiece' is not supported"},
    {"model.type", "\"Unigram\"", "'Unigram' is not supported"},
    {"model.type", "7", "'type' must be a string"},
    {"model.vocab", NULL, "'vocab' must be an object, not nothing"},
    {"model.vocab", "{}", "'vocab' is empty"},
    {"model.vocab", "[[\"a\", 0.5]]", "'vocab' must be an object, not a list"},
    {"model.vocab.a", "-1", "the id of the token 'a'"},
    {"model.vocab.a", "1.5", "the id of the token 'a'"},
    {"model.vocab.a", "\"3\"", "the id of the token 'a'"},
    {"model.vocab.a", "16777216", "the id of the token 'a'"},
    {"model.vocab.a", "9223372036854775807", "the id of the token 'a'"},
    {"model.vocab.a", "16777215", "the largest id is 16777215, with only"},
    {"model.vocab.a", "40", "have the same id 40"},
    {"model.vocab.a", NULL, "is not in the vocabulary"},
    {"model.merges", NULL, "'merges' must be a list"},
    {"model.merges", "{}", "'merges' must be a list"},
    {"model.merges.3", "\"a\"", "merge 3 must be two tokens"},
    {"model.merges.3", "\"a b c\"", "merge 3 must be two tokens"},
    {"model.merges.3", "\" a\"", "merge 3 must be two tokens"},
    {"model.merges.3", "5", "merge 3 must be a list of two"},
    {"model.merges.3", "[\"a\"]", "merge 3 must be a list of two"},
    {"model.merges.3", "[\"a\", 3]", "merge 3 must be a list of two"},
    {"model.merges.3", "[\"a\", \"no such token\"]", "merge 3: the token 'no such token' is not in the vocabulary"},
    {"model.merges.3", "[\"q\", \"q\"]", "merge 3 gives 'qq', which is not in the vocabulary"},
    {"model.unk_token", "\"<nothing>\"", "the unk_token '<nothing>' is not in the vocabulary"},
    {"model.unk_token", "3", "'unk_token' must be a string"},
    {"model.dropout", "0.1", "'dropout' would make the ids random"},
    {"model.dropout", "\"x\"", "'dropout' must be a number"},
    {"model.byte_fallback", "1", "'byte_fallback' must be true or false"},
    {"model.continuing_subword_prefix", "\"##\"", "is shorter than continuing_subword_prefix"},
    {"added_tokens", "{}", "'added_tokens' must be a list"},
    {"added_tokens.0", "3", "added token 0 must be an object"},
    {"added_tokens.0.content", NULL, "added token 0 has no 'content'"},
    {"added_tokens.0.content", "\"\"", "added token 0 has no 'content'"},
    {"added_tokens.0.id", "-4", "the id of the added token '<|end|>'"},
    {"added_tokens.0.id", "99999999999999", "the id of the added token '<|end|>'"},
    {"added_tokens.0.id", "3", "has the id 3 here and 0 in the vocabulary"},
    {"added_tokens.2.id", "5", "have the same id 5"},
    {"added_tokens.2.id", "16000000", "the largest id is 16000000"},
    {"added_tokens.0.special", "\"yes\"", "added token 0: 'special' must be true or false"},
    {"normalizer", "{\"type\": \"Precompiled\"}", "the normalizer 'Precompiled' is not supported"},
    {"normalizer", "\"NFC\"", "a normalizer must be an object"},
    {"normalizer", "{}", "a normalizer has no 'type'"},
    {"normalizer", SEQ(SEQ(SEQ(SEQ(SEQ(SEQ(SEQ(SEQ(SEQ(NFC))))))))), "nested more than"},
    {"normalizer", "{\"type\": \"Sequence\"}", "needs a list"},
    {"normalizer", "{\"type\": \"Prepend\"}", "lacks its text"},
    {"normalizer", "{\"type\": \"Replace\", \"pattern\": {\"String\": \"\"}, \"content\": \"\"}", "'pattern' is empty"},
    {"normalizer", "{\"type\": \"Replace\", \"pattern\": \"x\", \"content\": \"\"}", "'pattern' must be"},
    {"pre_tokenizer", "{\"type\": \"UnicodeScripts\"}", "the pre-tokenizer 'UnicodeScripts' is not supported"},
    {"pre_tokenizer", SPLIT("("), "the regular expression is not valid"},
    {"pre_tokenizer", SPLIT("[a-z"), "the regular expression is not valid"},
    {"pre_tokenizer", SPLIT("[a-z&&[^b]]"), "not supported"},
    {"pre_tokenizer", SPLIT("[a[b]]"), "a class inside a class"},
    {"pre_tokenizer", SPLIT("(a)\\\\1"), "\\1, which is not supported"},
    {"pre_tokenizer", SPLIT("a{1,2}+"), "{n,m}+, which is not supported"},
    {"pre_tokenizer", SPLIT("(?R)"), "not supported"},
    {"pre_tokenizer", SPLIT("(?C1)"), "not supported"},
    {"pre_tokenizer", SPLIT("(*ACCEPT)"), "not supported"},
    {"pre_tokenizer", SPLIT("\\\\p{Nonsense}"), "the regular expression is not valid"},
    {"pre_tokenizer", SPLIT("a\\\\"), "ends in a backslash"},
    {"pre_tokenizer", "{\"type\": \"Split\", \"pattern\": {\"String\": \"a\"}, \"behavior\": \"Sideways\"}",
     "the behavior 'Sideways'"},
    {"pre_tokenizer", "{\"type\": \"Metaspace\", \"replacement\": \"ab\"}", "must be one character"},
    {"pre_tokenizer", "{\"type\": \"Metaspace\", \"prepend_scheme\": \"last\"}", "'prepend_scheme' must be"},
    {"decoder", "{\"type\": \"WordPiece\"}", "the decoder 'WordPiece' is not supported"},
    {"decoder", "{\"type\": \"Strip\", \"content\": \" \", \"start\": -1, \"stop\": 0}", "'start' must lie between"},
    {"decoder", "{\"type\": \"Strip\", \"content\": \"ab\", \"start\": 1, \"stop\": 0}", "needs one character"},
    {"decoder", "{\"type\": \"Strip\", \"start\": 1, \"stop\": 0}", "lacks its 'content'"},
    {"post_processor", "{\"type\": \"Other\"}", "the post_processor 'Other' is not supported"},
    {"post_processor", "{\"type\": \"TemplateProcessing\", \"single\": []}", "lacks the sequence A"},
    {"post_processor",
     "{\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"x\"}}], \"special_tokens\": {}}",
     "no 'ids' for the special token 'x'"},
    {"post_processor",
     "{\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"x\"}}],"
     "\"special_tokens\": {\"x\": {\"ids\": [4000000]}}}",
     "not in the vocabulary"},
    {"post_processor", "{\"type\": \"RobertaProcessing\", \"sep\": [\"a\", -1], \"cls\": [\"b\", 0]}",
     "not in the vocabulary"},
};

START_TEST(each_edit_is_refused_by_name) {
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        json_t *root = json_deep_copy(base);
        struct tokenizer *t = NULL;
        struct error err = {0};
        char *text;
        edit(root, edits[i].path, edits[i].value);
        text = json_dumps(root, JSON_COMPACT);
        ck_assert_msg(tokenizer_parse(text, strlen(text), NULL, 0, "bad.json", &t, &err) == -1, "%s = %s is accepted",
                      edits[i].path, edits[i].value ? edits[i].value : "nothing");
        ck_assert_msg(err.kind == ERROR_INPUT && strncmp(err.text, "bad.json", 8) == 0 &&
                          strstr(err.text, edits[i].words) != NULL,
                      "%s = %s: %s", edits[i].path, edits[i].value ? edits[i].value : "nothing", err.text);
        ck_assert_ptr_null(t);
        free(text);
        json_decref(root);
    }
}
END_TEST

START_TEST(every_cut_is_refused) {
    for (size_t n = 0; n < base_length - 1; n++) {
        struct tokenizer *t = NULL;
        struct error err = {0};
        char *cut = malloc(n + 1);
        ck_assert_ptr_nonnull(cut);
        memcpy(cut, base_text, n);
        ck_assert_msg(tokenizer_parse(cut, n, NULL, 0, "cut", &t, &err) == -1 && err.kind == ERROR_INPUT, "%zu bytes",
                      n);
        free(cut);
    }
}
END_TEST

/* One byte changed at a time: refused, or a tokenizer that still works. */
START_TEST(changed_bytes_do_no_harm) {
    static const char with[] = "0\"{]\xff\\";
    static const char sample[] = "The sea, 12 boats <|end|> and \xe6\x9d\xb1\n";
    char *text = malloc(base_length);

    ck_assert_ptr_nonnull(text);
    for (size_t i = 0; i < base_length; i += 7) {
        struct tokenizer *t = NULL;
        struct error err = {0};
        memcpy(text, base_text, base_length);
        text[i] = with[i / 7 % (sizeof with - 1)];
        if (tokenizer_parse(text, base_length, NULL, 0, "changed", &t, &err) != 0) {
            ck_assert_int_eq(err.kind, ERROR_INPUT);
        } else {
            struct ids ids = {0};
            struct buffer out = {0};
            ck_assert_msg(tokenizer_encode(t, sample, sizeof sample - 1, TOKENIZE_SPECIAL, &ids, &err) == 0, "%s",
                          err.text);
            for (size_t k = 0; k < ids.count; k++)
                ck_assert(ids.data[k] >= 0 && (size_t)ids.data[k] < tokenizer_size(t));
            tokenizer_decode(t, ids.data, ids.count, false, &out);
            ck_assert(!out.failed);
            ids_free(&ids);
            buffer_free(&out);
            tokenizer_free(t);
        }
    }
    free(text);
}
END_TEST

START_TEST(wrong_configurations) {
    static const char *const wrong[] = {
        "", "[]", "{", "{\"eos_token\": 3}", "{\"eos_token\": [\"a\"]}", "{\"eos_token\": \"<nothing>\"}",
        "{\"bos_token\": {\"content\": 5}}", "{\"chat_template\": 5}", "{\"chat_template\": [5]}",
        "{\"chat_template\": [{\"name\": \"default\"}]}",
    };

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct tokenizer *t = NULL;
        struct error err = {0};
        ck_assert_msg(tokenizer_parse(base_text, base_length, wrong[i], strlen(wrong[i]), "bad", &t, &err) == -1,
                      "%s is accepted", wrong[i]);
        ck_assert_int_eq(err.kind, ERROR_INPUT);
    }
}
END_TEST

/* An expression that backtracks without end is stopped, with an error or with its result. */
START_TEST(expressions_cannot_run_for_ever) {
    static const char *const slow[] = {SPLIT("(a+)+$"), SPLIT("(a|a)*b"), SPLIT("(a*)*c"), SPLIT(""), SPLIT("a*?"),
                                       SPLIT("(?=a)"), SPLIT("\\\\b")};
    char text[4096];

    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '!';
    for (size_t i = 0; i < sizeof slow / sizeof *slow; i++) {
        json_t *root = json_deep_copy(base);
        struct tokenizer *t = NULL;
        struct error err = {0};
        struct ids ids = {0};
        char *json;
        edit(root, "pre_tokenizer", slow[i]);
        json = json_dumps(root, JSON_COMPACT);
        ck_assert_msg(tokenizer_parse(json, strlen(json), NULL, 0, "slow", &t, &err) == 0, "%s", err.text);
        if (tokenizer_encode(t, text, sizeof text, 0, &ids, &err) != 0)
            ck_assert_int_eq(err.kind, ERROR_INPUT);
        else
            ck_assert_uint_gt(ids.count, 0);
        ids_free(&ids);
        tokenizer_free(t);
        free(json);
        json_decref(root);
    }
}
END_TEST

int main(void) {
    Suite *s = suite_create("bad tokenizers");
    TCase *c = tcase_create("bad tokenizers");

    tcase_set_timeout(c, 120);
    tcase_add_unchecked_fixture(c, setup, teardown);
    tcase_add_test(c, each_edit_is_refused_by_name);
    tcase_add_test(c, every_cut_is_refused);
    tcase_add_test(c, changed_bytes_do_no_harm);
    tcase_add_test(c, wrong_configurations);
    tcase_add_test(c, expressions_cannot_run_for_ever);
    suite_add_tcase(s, c);
    return tap_run(s);
}
