/* SPDX-License-Identifier: MIT
 *
 * Reads {"text": "..."} lines, prints for each {"ids", "ids_special", "ids_plain", "decoded", "decoded_skip"}:
 * without and with what the post-processor adds, with special tokens left as text, and decoded again.
 * tests/peer/tokenizers_compare.py holds it against Hugging Face's library.
 */
#include "text/tokenizer.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(const struct error *err) {
    fprintf(stderr, "%s\n", err->text);
    return 1;
}

static void print_ids(const char *key, const struct ids *ids) {
    printf("\"%s\": [", key);
    for (size_t i = 0; i < ids->count; i++)
        printf("%s%d", i ? ", " : "", (int)ids->data[i]);
    printf("], ");
}

static int one_line(const struct tokenizer *t, const char *text, size_t length, struct error *err) {
    static const struct {
        const char *key;
        unsigned flags;
    } ways[] = {{"ids_special", TOKENIZE_BOS | TOKENIZE_SPECIAL}, {"ids_plain", 0}, {"ids", TOKENIZE_SPECIAL}};
    struct buffer line = {0}, text_again = {0};
    struct ids ids = {0};
    int rc = 0;

    printf("{");
    for (size_t i = 0; rc == 0 && i < sizeof ways / sizeof *ways; i++) {
        ids.count = 0;
        rc = tokenizer_encode(t, text, length, ways[i].flags, &ids, err);
        if (rc == 0)
            print_ids(ways[i].key, &ids);
    }
    for (int skip = 0; rc == 0 && skip < 2; skip++) {
        buffer_clear(&text_again);
        tokenizer_decode(t, ids.data, ids.count, skip, &text_again);
        buffer_text(&line, skip ? ", \"decoded_skip\": " : "\"decoded\": ");
        buffer_json_string(&line, text_again.data ? text_again.data : "", text_again.length);
    }
    printf("%s}\n", line.data ? line.data : "");
    buffer_free(&line);
    buffer_free(&text_again);
    ids_free(&ids);
    return rc;
}

int main(int argc, char **argv) {
    struct tokenizer *t;
    struct error err = {0};
    char *line = NULL;
    size_t capacity = 0;
    ssize_t n;
    int rc = 0;

    if (argc != 2) {
        fprintf(stderr, "usage: tokenize_tool FOLDER < lines.jsonl\n");
        return 2;
    }
    if (tokenizer_load(argv[1], &t, &err) != 0)
        return fail(&err);
    while (rc == 0 && (n = getline(&line, &capacity, stdin)) > 0) {
        json_t *root = json_loadb(line, (size_t)n, JSON_ALLOW_NUL, NULL);
        const json_t *text = json_object_get(root, "text");
        if (!json_is_string(text)) {
            fprintf(stderr, "a line lacks its text\n");
            rc = 1;
        } else if (one_line(t, json_string_value(text), json_string_length(text), &err) != 0) {
            rc = fail(&err);
        }
        json_decref(root);
    }
    free(line);
    tokenizer_free(t);
    return rc;
}
