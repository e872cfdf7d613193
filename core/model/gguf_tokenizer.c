/* SPDX-License-Identifier: MIT */
#include "model/gguf_tokenizer.h"

#include "base/buffer.h"
#include "base/utf8.h"
#include "model/spm_merges.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { TOKEN_LIMIT = 1 << 24 };
enum token_type { TOKEN_NORMAL = 1, TOKEN_UNKNOWN, TOKEN_CONTROL, TOKEN_USER, TOKEN_UNUSED, TOKEN_BYTE };

struct tokens {
    struct spm_token *list; /* text, length, score, and whether merges may make it */
    struct spm_index index;
    unsigned char *types;
    size_t count;
    const char *model, *pre;
    int64_t bos, eos, pad, unknown; /* -1: none */
    bool add_bos, add_eos, add_space;
};

/* How `tokenizer.ggml.pre` cuts text: the regular expressions of llama.cpp (llama-vocab.cpp), which are those of the
 * tokenizers that they are named after. */
#define GPT2_REGEX "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)"
#define LLAMA3_REGEX                                                                                                   \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "                                         \
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define QWEN2_REGEX                                                                                                    \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| "                                              \
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
static const struct pre_tokenizer {
    const char *name;
    const char *splits[4]; /* each a regular expression that isolates its matches */
    bool byte_level_regex, digits, nfc, ignore_merges;
} pre_tokenizers[] = {
    {"gpt-2", {NULL}, true, false, false, false},
    {"smollm", {NULL}, true, true, false, false},
    {"starcoder", {NULL}, true, true, false, false},
    {"qwen2", {QWEN2_REGEX}, false, false, true, false},
    {"llama-bpe", {LLAMA3_REGEX}, false, false, false, true},
    {"llama3", {LLAMA3_REGEX}, false, false, false, true},
    {"default", {"[\\p{P}\\$\\+<=>\\^~\\|]+", GPT2_REGEX, "\\p{N}+", "[0-9][0-9][0-9]"}, false, false, false, false},
};

static int read_ids(const struct gguf *g, struct tokens *t, struct error *err) {
    const struct {
        const char *key;
        int64_t *id;
    } wanted[] = {
        {"tokenizer.ggml.bos_token_id", &t->bos},
        {"tokenizer.ggml.eos_token_id", &t->eos},
        {"tokenizer.ggml.padding_token_id", &t->pad},
        {"tokenizer.ggml.unknown_token_id", &t->unknown},
    };

    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        *wanted[i].id = -1;
        if (gguf_integer(g, wanted[i].key, 0, (int64_t)t->count - 1, wanted[i].id, err) < 0)
            return -1;
    }
    return 0;
}

/* token_type and scores, each with an entry for every token when present. */
static int read_columns(const struct gguf *g, struct tokens *t, struct error *err) {
    const struct gguf_value *types = gguf_find(g, "tokenizer.ggml.token_type");
    const struct gguf_value *scores = gguf_find(g, "tokenizer.ggml.scores");

    if (types != NULL &&
        (!types->array || types->count != t->count || (types->type != GGUF_I32 && types->type != GGUF_U32)))
        return error_input(err, "%s: tokenizer.ggml.token_type must hold one whole number for each of the %zu tokens",
                           g->path, t->count);
    if (scores != NULL && (!scores->array || scores->count != t->count || scores->type != GGUF_F32))
        return error_input(err, "%s: tokenizer.ggml.scores must hold one number for each of the %zu tokens", g->path,
                           t->count);
    for (size_t i = 0; i < t->count; i++) {
        const int64_t type = types ? gguf_item_integer(types, i) : TOKEN_NORMAL;
        if (type < 0 || type > TOKEN_BYTE)
            return error_input(err, "%s: token %zu has the unknown type %" PRId64, g->path, i, type);
        t->types[i] = (unsigned char)(type == 0 ? TOKEN_NORMAL : type);
        t->list[i].mergeable = t->types[i] == TOKEN_NORMAL || t->types[i] == TOKEN_USER;
        t->list[i].score = scores ? (float)gguf_item_real(scores, i) : 0.0f;
        if (t->list[i].score != t->list[i].score)
            return error_input(err, "%s: the score of token %zu is not a number", g->path, i);
    }
    return 0;
}

static int read_tokens(struct gguf *g, struct tokens *t, struct error *err) {
    const struct gguf_value *v = gguf_find(g, "tokenizer.ggml.tokens");
    const unsigned char *at;

    if (v == NULL || !v->array || v->type != GGUF_STRING || v->count < 1 || v->count > TOKEN_LIMIT)
        return error_input(err, "%s: key 'tokenizer.ggml.tokens' must be a list of tokens", g->path);
    t->count = (size_t)v->count;
    t->list = mem_zeros(t->count, sizeof(*t->list));
    t->types = mem_zeros(t->count, 1);
    if (t->list == NULL || t->types == NULL)
        return error_nomem(err, g->path);
    at = v->data;
    for (size_t i = 0; i < t->count; i++) {
        struct spm_token *token = &t->list[i];
        token->text = gguf_next_string(&at, &token->length);
        if (memchr(token->text, '\0', token->length) != NULL ||
            utf8_valid_prefix(token->text, token->length) != token->length)
            return error_input(err, "%s: token %zu is not valid UTF-8 text", g->path, i);
    }
    if (spm_index_make(&t->index, t->list, t->count, err) != 0)
        return error_prefix(err, "%s", g->path);
    if (read_columns(g, t, err) != 0 || read_ids(g, t, err) != 0)
        return -1;
    t->model = t->pre = "";
    if (gguf_text(g, "tokenizer.ggml.model", &t->model, err) < 0 ||
        gguf_text(g, "tokenizer.ggml.pre", &t->pre, err) < 0)
        return -1;
    /* llama.cpp's defaults: BOS for SentencePiece and Llama 3 */
    t->add_space = strcmp(t->model, "llama") == 0;
    t->add_bos = t->add_space || strcmp(t->pre, "llama-bpe") == 0 || strcmp(t->pre, "llama3") == 0;
    if (gguf_boolean(g, "tokenizer.ggml.add_bos_token", &t->add_bos, err) < 0 ||
        gguf_boolean(g, "tokenizer.ggml.add_eos_token", &t->add_eos, err) < 0 ||
        gguf_boolean(g, "tokenizer.ggml.add_space_prefix", &t->add_space, err) < 0)
        return -1;
    if ((t->add_bos && t->bos < 0) || (t->add_eos && t->eos < 0))
        return error_input(err, "%s: the tokenizer adds a token at an end of each text, but does not say which",
                           g->path);
    return 0;
}

/* ---- tokenizer.json --------------------------------------------------------------------------------------------- */

static void put_token(struct buffer *b, const struct tokens *t, int64_t id) {
    buffer_json_string(b, t->list[id].text, t->list[id].length);
}

static void put_string(struct buffer *b, const char *text) {
    buffer_json_string(b, text, strlen(text));
}

static bool is_added(const struct tokens *t, size_t i) {
    return t->types[i] == TOKEN_CONTROL || t->types[i] == TOKEN_UNKNOWN || t->types[i] == TOKEN_USER;
}

static void put_added_fields(struct buffer *b, const struct tokens *t, size_t i) {
    buffer_text(b, "\"content\": ");
    put_token(b, t, (int64_t)i);
    buffer_printf(
        b, ", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, \"normalized\": false, \"special\": %s}",
        t->types[i] == TOKEN_USER ? "false" : "true");
}

static void put_added(struct buffer *b, const struct tokens *t) {
    const char *comma = "";

    buffer_text(b, "  \"added_tokens\": [");
    for (size_t i = 0; i < t->count; i++) {
        if (!is_added(t, i))
            continue;
        buffer_printf(b, "%s\n    {\"id\": %zu, ", comma, i);
        put_added_fields(b, t, i);
        comma = ",";
    }
    buffer_text(b, "\n  ],\n");
}

static void put_vocabulary(struct buffer *b, const struct tokens *t) {
    buffer_text(b, "    \"vocab\": {");
    for (size_t i = 0; i < t->count; i++) {
        buffer_text(b, i ? ",\n      " : "\n      ");
        put_token(b, t, (int64_t)i);
        buffer_printf(b, ": %zu", i);
    }
    buffer_text(b, "\n    },\n");
}

static void put_side(struct buffer *b, const struct tokens *t, const char *sequence, int type) {
    if (t->add_bos) {
        buffer_text(b, "{\"SpecialToken\": {\"id\": ");
        put_token(b, t, t->bos);
        buffer_printf(b, ", \"type_id\": %d}}, ", type);
    }
    buffer_printf(b, "{\"Sequence\": {\"id\": \"%s\", \"type_id\": %d}}", sequence, type);
    if (t->add_eos) {
        buffer_text(b, ", {\"SpecialToken\": {\"id\": ");
        put_token(b, t, t->eos);
        buffer_printf(b, ", \"type_id\": %d}}", type);
    }
}

static void put_special(struct buffer *b, const struct tokens *t, int64_t id) {
    put_token(b, t, id);
    buffer_text(b, ": {\"id\": ");
    put_token(b, t, id);
    buffer_printf(b, ", \"ids\": [%" PRId64 "], \"tokens\": [", id);
    put_token(b, t, id);
    buffer_text(b, "]}");
}

static void put_template(struct buffer *b, const struct tokens *t) {
    buffer_text(b, "{\"type\": \"TemplateProcessing\", \"single\": [");
    put_side(b, t, "A", 0);
    buffer_text(b, "], \"pair\": [");
    put_side(b, t, "A", 0);
    buffer_text(b, ", ");
    put_side(b, t, "B", 1);
    buffer_text(b, "], \"special_tokens\": {");
    if (t->add_bos)
        put_special(b, t, t->bos);
    if (t->add_bos && t->add_eos && t->bos != t->eos)
        buffer_text(b, ", ");
    if (t->add_eos && !(t->add_bos && t->bos == t->eos))
        put_special(b, t, t->eos);
    buffer_text(b, "}}");
}

static void put_post_processor(struct buffer *b, const struct tokens *t) {
    buffer_text(b, "  \"post_processor\": ");
    if (t->add_bos || t->add_eos)
        put_template(b, t);
    else
        buffer_text(b, "null");
    buffer_text(b, ",\n");
}

static void put_byte_level_pipeline(struct buffer *b, const struct tokens *t, const struct pre_tokenizer *pre) {
    buffer_printf(b, "  \"normalizer\": %s,\n  \"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [",
                  pre->nfc ? "{\"type\": \"NFC\"}" : "null");
    if (pre->digits)
        buffer_text(b, "{\"type\": \"Digits\", \"individual_digits\": true}, ");
    for (size_t i = 0; i < 4 && pre->splits[i] != NULL; i++) {
        buffer_text(b, "{\"type\": \"Split\", \"pattern\": {\"Regex\": ");
        put_string(b, pre->splits[i]);
        buffer_text(b, "}, \"behavior\": \"Isolated\", \"invert\": false}, ");
    }
    buffer_printf(
        b, "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": true, \"use_regex\": %s}]},\n",
        pre->byte_level_regex ? "true" : "false");
    put_post_processor(b, t);
    buffer_text(b, "  \"decoder\": {\"type\": \"ByteLevel\", \"add_prefix_space\": true, \"trim_offsets\": true, "
                   "\"use_regex\": true},\n");
}

static void put_model_head(struct buffer *b, const struct tokens *t, bool spm, bool ignore_merges) {
    buffer_text(b, "  \"model\": {\n    \"type\": \"BPE\", \"dropout\": null, \"unk_token\": ");
    if (spm && t->unknown >= 0)
        put_token(b, t, t->unknown);
    else
        buffer_text(b, "null");
    buffer_printf(b,
                  ", \"continuing_subword_prefix\": null, \"end_of_word_suffix\": null, \"fuse_unk\": %s, "
                  "\"byte_fallback\": %s, \"ignore_merges\": %s,\n",
                  spm ? "true" : "false", spm ? "true" : "false", ignore_merges ? "true" : "false");
    put_vocabulary(b, t);
}

static int put_byte_level(struct buffer *b, const struct gguf *g, const struct tokens *t, struct error *err) {
    const struct gguf_value *merges = gguf_find(g, "tokenizer.ggml.merges");
    const struct pre_tokenizer *pre = NULL;
    const unsigned char *at;

    for (size_t i = 0; i < sizeof(pre_tokenizers) / sizeof(pre_tokenizers[0]); i++)
        if (strcmp(pre_tokenizers[i].name, t->pre[0] ? t->pre : "default") == 0)
            pre = &pre_tokenizers[i];
    if (pre == NULL)
        return error_input(
            err,
            "%s: tokenizer.ggml.pre '%s' is not supported; gpt-2, smollm, starcoder, qwen2, llama-bpe and "
            "default are",
            g->path, t->pre);
    if (merges == NULL || !merges->array || merges->type != GGUF_STRING)
        return error_input(err, "%s: key 'tokenizer.ggml.merges' must be a list of merges", g->path);
    put_byte_level_pipeline(b, t, pre);
    put_model_head(b, t, false, pre->ignore_merges);
    buffer_text(b, "    \"merges\": [");
    at = merges->data;
    for (uint64_t i = 0; i < merges->count; i++) {
        size_t length;
        const char *text = gguf_next_string(&at, &length);
        if (memchr(text, '\0', length) != NULL || utf8_valid_prefix(text, length) != length)
            return error_input(err, "%s: merge %" PRIu64 " is not valid UTF-8 text", g->path, i);
        buffer_text(b, i ? ",\n      " : "\n      ");
        buffer_json_string(b, text, length);
    }
    buffer_text(b, "\n    ]\n  }\n}\n");
    return 0;
}

static int put_spm(struct buffer *b, const struct gguf *g, const struct tokens *t, struct error *err) {
    struct spm_merge *merges;
    size_t count;

    if (gguf_find(g, "tokenizer.ggml.scores") == NULL)
        return error_input(err, "%s: key 'tokenizer.ggml.scores' is missing", g->path);
    if (spm_merges(&t->index, &merges, &count, err) != 0)
        return error_prefix(err, "%s", g->path);
    buffer_text(b, "  \"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [");
    if (t->add_space)
        buffer_text(b, "{\"type\": \"Prepend\", \"prepend\": \"\xe2\x96\x81\"}, ");
    buffer_text(b, "{\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": \"\xe2\x96\x81\"}]},\n"
                   "  \"pre_tokenizer\": null,\n");
    put_post_processor(b, t);
    buffer_text(
        b, "  \"decoder\": {\"type\": \"Sequence\", \"decoders\": [{\"type\": \"Replace\", \"pattern\": {\"String\": "
           "\"\xe2\x96\x81\"}, \"content\": \" \"}, {\"type\": \"ByteFallback\"}, {\"type\": \"Fuse\"}");
    if (t->add_space)
        buffer_text(b, ", {\"type\": \"Strip\", \"content\": \" \", \"start\": 1, \"stop\": 0}");
    buffer_text(b, "]},\n");
    put_model_head(b, t, true, false);
    buffer_text(b, "    \"merges\": [");
    for (size_t i = 0; i < count; i++) {
        buffer_text(b, i ? ",\n      [" : "\n      [");
        put_token(b, t, merges[i].left);
        buffer_text(b, ", ");
        put_token(b, t, merges[i].right);
        buffer_text(b, "]");
    }
    buffer_text(b, "\n    ]\n  }\n}\n");
    free(merges);
    return 0;
}

/* ---- tokenizer_config.json -------------------------------------------------------------------------------------- */

static void put_named(struct buffer *b, const struct tokens *t, const char *key, int64_t id) {
    if (id < 0)
        return;
    buffer_printf(b, "  \"%s\": ", key);
    put_token(b, t, id);
    buffer_text(b, ",\n");
}

static int put_config(struct buffer *b, struct gguf *g, const struct tokens *t, struct error *err) {
    const char *template = NULL, *comma = "";

    if (gguf_text(g, "tokenizer.chat_template", &template, err) < 0)
        return -1;
    buffer_printf(b, "{\n  \"add_bos_token\": %s,\n  \"add_eos_token\": %s,\n  \"added_tokens_decoder\": {",
                  t->add_bos ? "true" : "false", t->add_eos ? "true" : "false");
    for (size_t i = 0; i < t->count; i++) {
        if (!is_added(t, i))
            continue;
        buffer_printf(b, "%s\n    \"%zu\": {", comma, i);
        put_added_fields(b, t, i);
        comma = ",";
    }
    buffer_text(b, "\n  },\n");
    put_named(b, t, "bos_token", t->bos);
    put_named(b, t, "eos_token", t->eos);
    put_named(b, t, "pad_token", t->pad);
    put_named(b, t, "unk_token", t->unknown);
    if (template != NULL) {
        buffer_text(b, "  \"chat_template\": ");
        put_string(b, template);
        buffer_text(b, ",\n");
    }
    buffer_text(b,
                "  \"clean_up_tokenization_spaces\": false,\n  \"tokenizer_class\": \"PreTrainedTokenizerFast\"\n}\n");
    return 0;
}

int gguf_tokenizer(struct gguf *g, char **json, char **config, struct error *err) {
    struct tokens t = {0};
    struct buffer text = {0}, settings = {0};
    int rc = -1;

    *json = *config = NULL;
    if (read_tokens(g, &t, err) != 0)
        goto out;
    buffer_text(&text, "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n");
    put_added(&text, &t);
    if (strcmp(t.model, "gpt2") == 0)
        rc = put_byte_level(&text, g, &t, err);
    else if (strcmp(t.model, "llama") == 0)
        rc = put_spm(&text, g, &t, err);
    else
        error_input(err, "%s: tokenizer.ggml.model '%s' is not supported; gpt2 and llama are", g->path, t.model);
    if (rc != 0 || (rc = put_config(&settings, g, &t, err)) != 0)
        goto out;
    *json = buffer_take(&text);
    *config = buffer_take(&settings);
    if (*json == NULL || *config == NULL) {
        free(*json);
        free(*config);
        *json = *config = NULL;
        rc = error_nomem(err, g->path);
    }
out:
    buffer_free(&text);
    buffer_free(&settings);
    spm_index_free(&t.index);
    free(t.list);
    free(t.types);
    return rc;
}
