/* SPDX-License-Identifier: MIT */
#include "base/file.h"
#include "gguf_build.h"
#include "model/gguf_model.h"
#include "model/gguf_quant.h"
#include "model/gguf_tokenizer.h"
#include "model/json_read.h"
#include "model/tensors.h"
#include "tap.h"

#include <rein/backend.h>
#include <rein/half.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { VOCABULARY = 6, HIDDEN = 32, QROWS = 8, NTENSORS = 12 };

static void add_tokens(struct gguf_build *g) {
    static const char *const tokens[VOCABULARY] = {"<s>", "</s>", "a", "b", "ab", "c"};
    static const uint32_t types[VOCABULARY] = {3, 3, 1, 1, 1, 1};
    struct buffer *b;

    build_text(g, "tokenizer.ggml.model", "gpt2");
    build_text(g, "tokenizer.ggml.pre", "smollm");
    b = build_array(g, "tokenizer.ggml.tokens", GGUF_STRING, VOCABULARY);
    for (int i = 0; i < VOCABULARY; i++)
        put_text(b, tokens[i]);
    b = build_array(g, "tokenizer.ggml.token_type", GGUF_I32, VOCABULARY);
    for (int i = 0; i < VOCABULARY; i++)
        put_u32(b, types[i]);
    b = build_array(g, "tokenizer.ggml.merges", GGUF_STRING, 1);
    put_text(b, "a b");
    build_u32(g, "tokenizer.ggml.bos_token_id", 0);
    build_u32(g, "tokenizer.ggml.eos_token_id", 1);
}

static void add_sizes(struct gguf_build *g) {
    build_text(g, "general.architecture", "llama");
    build_u32(g, "llama.embedding_length", HIDDEN);
    build_u32(g, "llama.block_count", 1);
    build_u32(g, "llama.feed_forward_length", 32);
    build_u32(g, "llama.context_length", 64);
    build_u32(g, "llama.attention.head_count", 8);
    build_u32(g, "llama.attention.head_count_kv", 2);
    build_f32(g, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    build_f32(g, "llama.rope.freq_base", 5000.0f);
}

/* Rows of `in` values that say where they are: row + column / 64, exact in every type but the quantised. */
static void add_rows(struct gguf_build *g, const char *name, uint64_t in, uint64_t rows, uint32_t type) {
    const uint64_t ne[2] = {in, rows};
    struct buffer b = {0};

    for (uint64_t r = 0; r < rows; r++)
        for (uint64_t c = 0; c < in; c++) {
            const float x = (float)r + (float)c / 64.0f;
            const uint16_t h = type == 1 ? rein_to_f16(x) : rein_to_bf16((float)r);
            if (type == 0)
                put_f32(&b, x);
            else
                buffer_add(&b, &h, 2);
        }
    build_tensor(g, name, rows > 1 ? 2 : 1, ne, type, g->data.length);
    build_data(g, b.data, b.length);
    buffer_free(&b);
}

static void add_tensors(struct gguf_build *g) {
    add_rows(g, "token_embd.weight", HIDDEN, VOCABULARY, 0);
    add_rows(g, "output_norm.weight", HIDDEN, 1, 0);
    add_rows(g, "output.weight", HIDDEN, VOCABULARY, 30);
    add_rows(g, "blk.0.attn_norm.weight", HIDDEN, 1, 0);
    add_rows(g, "blk.0.attn_q.weight", HIDDEN, 32, 1);
    add_rows(g, "blk.0.attn_k.weight", HIDDEN, QROWS, 0);
    add_rows(g, "blk.0.attn_v.weight", HIDDEN, QROWS, 0);
    add_rows(g, "blk.0.attn_output.weight", HIDDEN, 32, 0);
    add_rows(g, "blk.0.ffn_norm.weight", HIDDEN, 1, 0);
    add_rows(g, "blk.0.ffn_gate.weight", HIDDEN, 32, 0);
    add_rows(g, "blk.0.ffn_up.weight", HIDDEN, 32, 0);
    add_rows(g, "blk.0.ffn_down.weight", HIDDEN, 32, 0);
}

/* What is wanted of a file: all of it. Returns 0 when it is accepted. */
static int use(const unsigned char *file, size_t length, struct error *err) {
    struct tensor_table table = {0};
    struct model_config config;
    struct gguf g;
    char *json = NULL, *settings = NULL;
    int rc = gguf_parse(file, length, "x", &g, &table, err);

    if (rc == 0)
        rc = gguf_translate(&g, &table, err);
    if (rc == 0)
        rc = table_index(&table, "x", err);
    for (size_t i = 0; rc == 0 && i < table.count; i++)
        ck_assert(table.entries[i].data >= file &&
                  table.entries[i].data + table.entries[i].info.bytes <= file + length);
    if (rc == 0) {
        json_t *metadata = gguf_metadata(&g);
        ck_assert_ptr_nonnull(metadata);
        json_decref(metadata);
        rc = gguf_config(&g, &table, &config, err);
    }
    if (rc == 0)
        rc = gguf_tokenizer(&g, &json, &settings, err);
    if (rc == 0) {
        json_t *root = json_loads(json, JSON_REJECT_DUPLICATES, NULL),
               *other = json_loads(settings, JSON_REJECT_DUPLICATES, NULL);
        ck_assert_ptr_nonnull(root);
        ck_assert_ptr_nonnull(other);
        json_decref(root);
        json_decref(other);
    }
    free(json);
    free(settings);
    table_free(&table);
    gguf_free(&g);
    return rc;
}

/* ---- mistakes, by name ------------------------------------------------------------------------------------------ */

/* clang-format off */
enum mistake {
    FINE, VERSION_2, MAGIC, VERSION_1, VERSION_4, OTHER_ENDIAN, MANY_KEYS, MANY_TENSORS, KEY_LENGTH, KEY_EMPTY, KEY_NUL,
    KEY_TWICE, VALUE_TYPE, STRING_LENGTH, ARRAY_TYPE, ARRAY_OF_ARRAYS, ARRAY_COUNT, ARRAY_OVERFLOW, ARRAY_STRINGS,
    BOOLEAN,
    ALIGNMENT_ZERO, ALIGNMENT_ODD, ALIGNMENT_TYPE, NAME_LENGTH, NAME_LONG, NAME_EMPTY, NAME_TWICE,
    NAME_TWICE_TRANSLATED,
    RANK_ZERO, RANK_FIVE, DIM_ZERO, DIM_HUGE, SHAPE_OVERFLOW, TYPE_UNKNOWN, TYPE_GONE, BLOCKS, OFFSET_ODD, OFFSET_FAR,
    OFFSET_WRAPS, OVERLAP, HOLE, TRAILING, NO_DATA, ARCHITECTURE, NO_LAYERS, HEADS_ZERO, HEADS_ODD, HEADS_TYPE,
    VOCABULARY_SHORT,
    EOS_FAR, TOKENS_TYPE, TOKENS_TWICE, TOKEN_TYPES_SHORT, TOKEN_TYPE_UNKNOWN, TOKEN_NOT_UTF8, MODEL_UNKNOWN,
    PRE_UNKNOWN,
    MERGES_MISSING, BIAS_ALONE, ROPE_YARN, ROPE_PARTIAL, EXPERTS, EPSILON_NAN, MISTAKES
};
static const char *const says[MISTAKES] = {
    [MAGIC] = "not a GGUF", [VERSION_1] = "version 1", [VERSION_4] = "version 4", [OTHER_ENDIAN] = "big-endian",
    [MANY_KEYS] = "metadata keys do not fit", [MANY_TENSORS] = "tensors do not fit", [KEY_LENGTH] = "left in the file",
    [KEY_EMPTY] = "key is empty", [KEY_NUL] = "key is empty", [KEY_TWICE] = "is there twice", [VALUE_TYPE] = "type 13",
    [STRING_LENGTH] = "left in the file", [ARRAY_TYPE] = "type 99", [ARRAY_OF_ARRAYS] = "arrays of arrays",
    [ARRAY_COUNT] = "items do not fit", [ARRAY_OVERFLOW] = "items do not fit", [ARRAY_STRINGS] = "strings do not fit",
    [BOOLEAN] = "boolean of 2", [ALIGNMENT_ZERO] = "not between", [ALIGNMENT_ODD] = "power of two",
    [ALIGNMENT_TYPE] = "whole number", [NAME_LENGTH] = "left in the file", [NAME_LONG] = "512 bytes",
    [NAME_EMPTY] = "is empty", [NAME_TWICE] = "is there twice", [NAME_TWICE_TRANSLATED] = "is there twice",
    [RANK_ZERO] = "0 dimensions", [RANK_FIVE] = "5 dimensions", [DIM_ZERO] = "dimension 0 is 0",
    [DIM_HUGE] = "dimension 1 is", [SHAPE_OVERFLOW] = "too large", [TYPE_UNKNOWN] = "type 4 is not known",
    [TYPE_GONE] = "type 4294967295", [BLOCKS] = "whole blocks", [OFFSET_ODD] = "multiple of 32",
    [OFFSET_FAR] = "do not lie",
    [OFFSET_WRAPS] = "do not lie", [OVERLAP] = "overlaps", [HOLE] = "hole", [TRAILING] = "after the last tensor",
    [NO_DATA] = "do not lie", [ARCHITECTURE] = "'mamba' is not supported; supported are llama",
    [NO_LAYERS] = "block_count",
    [HEADS_ZERO] = "not between", [HEADS_ODD] = "cannot be shared", [HEADS_TYPE] = "whole number",
    [VOCABULARY_SHORT] = "does not have a row", [EOS_FAR] = "not between", [TOKENS_TYPE] = "list of tokens",
    [TOKENS_TWICE] = "tokens 2 and 6 are the same", [TOKEN_TYPES_SHORT] = "each of the 6",
    [TOKEN_TYPE_UNKNOWN] = "unknown type 7",
    [TOKEN_NOT_UTF8] = "not valid UTF-8", [MODEL_UNKNOWN] = "'bert' is not supported",
    [PRE_UNKNOWN] = "'falcon' is not supported",
    [MERGES_MISSING] = "merges", [BIAS_ALONE] = "biases", [ROPE_YARN] = "'yarn' is not supported",
    [ROPE_PARTIAL] = "of a head's", [EXPERTS] = "experts", [EPSILON_NAN] = "not between",
};

static void wrong_values(struct gguf_build *g, enum mistake m) {
    struct buffer *b = &g->values;

    switch (m) {
    case KEY_LENGTH: g->nvalues++; put_u64(b, UINT64_MAX); put_text(b, "0123456789012345"); break;
    case KEY_EMPTY: build_u32(g, "", 1); break;
    case KEY_NUL: g->nvalues++; put_u64(b, 3); buffer_add(b, "a\0b", 3); put_u32(b, GGUF_U8); buffer_byte(b, 1); break;
    case KEY_TWICE: build_u32(g, "llama.block_count", 1); break;
    case VALUE_TYPE: put_u32(build_key(g, "x", 13), 1); break;
    case STRING_LENGTH: put_u64(build_key(g, "x", GGUF_STRING), (uint64_t)1 << 40); break;
    case ARRAY_TYPE: put_u64(build_array(g, "x", 99, 1), 0); break;
    case ARRAY_OF_ARRAYS: put_u64(build_array(g, "x", GGUF_ARRAY, 1), 0); break;
    case ARRAY_COUNT: put_u64(build_array(g, "x", GGUF_U32, 1 << 30), 0); break;
    case ARRAY_OVERFLOW: put_u64(build_array(g, "x", GGUF_U64, ((uint64_t)1 << 61) + 1), 0); break;
    case ARRAY_STRINGS: put_u64(build_array(g, "x", GGUF_STRING, UINT64_MAX), 0); break;
    case BOOLEAN: build_bool(g, "x", 2); break;
    case ALIGNMENT_ZERO: build_u32(g, "general.alignment", 0); break;
    case ALIGNMENT_ODD: build_u32(g, "general.alignment", 48); break;
    case ALIGNMENT_TYPE: build_f32(g, "general.alignment", 32.0f); break;
    case ROPE_YARN: build_text(g, "llama.rope.scaling.type", "yarn"); break;
    case ROPE_PARTIAL: build_u32(g, "llama.rope.dimension_count", 2); break;
    case EXPERTS: build_u32(g, "llama.expert_count", 8); break;
    default: break;
    }
}

static void wrong_tensors(struct gguf_build *g, enum mistake m) {
    const uint64_t at = g->data.length;
    const uint64_t one[5] = {1, 1, 1, 1, 1}, zero[1] = {0}, huge[2] = {1, ((uint64_t)1 << 40) + 1};
    const uint64_t wide[4] = {(uint64_t)1 << 40, (uint64_t)1 << 40, 1, 1}, odd[1] = {33};
    const float x[64] = {0};
    char name[600];

    switch (m) {
    case NAME_LENGTH:
        g->ntensors++;
        put_u64(&g->infos, (uint64_t)1 << 60);
        put_text(&g->infos, "012345678901234567890");
        break;
    case NAME_LONG:
        memset(name, 'n', sizeof(name));
        name[513] = '\0';
        build_tensor(g, name, 1, one, 0, at);
        break;
    case NAME_EMPTY: build_tensor(g, "", 1, one, 0, at); break;
    case NAME_TWICE: build_tensor(g, "output_norm.weight", 1, one, 0, at); break;
    case NAME_TWICE_TRANSLATED: build_tensor(g, "model.norm.weight", 1, one, 0, at); break;
    case RANK_ZERO: build_tensor(g, "t", 0, one, 0, at); break;
    case RANK_FIVE: build_tensor(g, "t", 5, one, 0, at); break;
    case DIM_ZERO: build_tensor(g, "t", 1, zero, 0, at); break;
    case DIM_HUGE: build_tensor(g, "t", 2, huge, 0, at); break;
    case SHAPE_OVERFLOW: build_tensor(g, "t", 2, wide, 0, at); break;
    case TYPE_UNKNOWN: build_tensor(g, "t", 1, one, 4, at); break;
    case TYPE_GONE: build_tensor(g, "t", 1, one, UINT32_MAX, at); break;
    case BLOCKS: build_tensor(g, "t", 1, odd, 8, at); break;
    case OFFSET_ODD: build_tensor(g, "t", 1, one, 0, at + 4); break;
    case OFFSET_FAR: build_tensor(g, "t", 1, one, 0, at + 4096); break;
    case OFFSET_WRAPS: build_tensor(g, "t", 1, one, 0, UINT64_MAX - 31); break;
    case OVERLAP: build_tensor(g, "t", 1, one, 0, 0); break;
    case HOLE:
        build_data(g, x, 32);
        build_tensor(g, "t", 1, one, 0, at + 32);
        break;
    case BIAS_ALONE: add_rows(g, "blk.0.attn_q.bias", 32, 1, 0); break;
    default: break;
    }
    if (m >= NAME_LENGTH && m < TRAILING)
        build_data(g, x, 4);
    if (m == TRAILING)
        build_data(g, x, 64);
}

/* Mistakes that replace an entry: the file's bytes are changed where the entry's text is found. */
static void replace(unsigned char *file, size_t length, const char *find, size_t offset, const void *by, size_t n) {
    const size_t size = strlen(find);

    for (size_t i = 0; i + size <= length; i++)
        if (memcmp(file + i, find, size) == 0) {
            ck_assert_uint_le(i + offset + n, length);
            memcpy(file + i + offset, by, n);
            return;
        }
    ck_abort_msg("'%s' is not in the file", find);
}

static void wrong_bytes(unsigned char *file, size_t *length, enum mistake m) {
    static const unsigned char le[6][4] = {{0, 0, 0, 0}, {1, 0, 0, 0}, {3, 0, 0, 0},
                                           {4, 0, 0, 0}, {0, 0, 0, 3}, {9, 0, 0, 0}};
    const float nan_value = NAN;
#define KEY(text, value, by, n) replace(file, *length, text, sizeof(text) - 1 + (value), by, n)

    switch (m) {
    case MAGIC: file[0] = 'g'; break;
    case VERSION_1: memcpy(file + 4, le[1], 4); break;
    case VERSION_4: memcpy(file + 4, le[3], 4); break;
    case OTHER_ENDIAN: memcpy(file + 4, le[4], 4); break;
    case MANY_TENSORS: memset(file + 8, 0xff, 8); break;
    case MANY_KEYS: memset(file + 16, 0xff, 8); break;
    case NO_DATA: *length -= 4096; break;
    case ARCHITECTURE: KEY("general.architecture", 12, "mamba", 5); break;
    case NO_LAYERS: KEY("llama.block_coun", 0, "x", 1); break;
    case HEADS_ZERO: KEY("llama.attention.head_count", 4, le[0], 4); break;
    case HEADS_ODD: KEY("llama.attention.head_count_kv", 4, le[2], 4); break;
    case HEADS_TYPE: KEY("llama.attention.head_count", 0, "\6\0\0\0", 4); break;
    case EOS_FAR: KEY("tokenizer.ggml.eos_token_id", 4, "\6\0\0\0", 4); break;
    case TOKENS_TYPE: KEY("tokenizer.ggml.token", 0, "z", 1); break;
    case TOKEN_TYPE_UNKNOWN: KEY("tokenizer.ggml.token_type", 16, "\7\0\0\0", 4); break;
    case TOKEN_NOT_UTF8: KEY("tokenizer.ggml.tokens", 16 + 8, "\xff", 1); break;
    case MODEL_UNKNOWN: KEY("tokenizer.ggml.model", 12, "bert", 4); break;
    case PRE_UNKNOWN: KEY("tokenizer.ggml.pre", 12, "falcon", 6); break;
    case MERGES_MISSING: KEY("tokenizer.ggml.merge", 0, "z", 1); break;
    case EPSILON_NAN: KEY("layer_norm_rms_epsilon", 4, &nan_value, 4); break;
    default: break;
    }
}

/* clang-format on */
static void add_odd_tokens(struct gguf_build *g, enum mistake m) {
    static const char *const tokens[7] = {"<s>", "</s>", "a", "b", "ab", "c", "a"};
    const uint64_t count = m == TOKENS_TWICE ? 7 : m == VOCABULARY_SHORT ? 5 : 6;
    struct buffer *b = build_array(g, "tokenizer.ggml.tokens", GGUF_STRING, count);

    for (uint64_t i = 0; i < count; i++)
        put_text(b, tokens[i]);
    b = build_array(g, "tokenizer.ggml.token_type", GGUF_I32, m == TOKEN_TYPES_SHORT ? 5 : count);
    for (uint64_t i = 0; i < (m == TOKEN_TYPES_SHORT ? 5 : count); i++)
        put_u32(b, 1);
    build_text(g, "tokenizer.ggml.model", "gpt2");
    build_array(g, "tokenizer.ggml.merges", GGUF_STRING, 0);
}

static unsigned char *make(enum mistake m, size_t *length) {
    struct gguf_build g = {.version = m == VERSION_2 ? 2 : 3};
    unsigned char *file;

    add_sizes(&g);
    if (m == TOKENS_TWICE || m == VOCABULARY_SHORT || m == TOKEN_TYPES_SHORT)
        add_odd_tokens(&g, m);
    else
        add_tokens(&g);
    wrong_values(&g, m);
    if (m == TOKENS_TWICE) {
        add_rows(&g, "token_embd.weight", HIDDEN, 7, 0);
        add_rows(&g, "blk.0.ffn_down.weight", HIDDEN, 32, 0);
    } else {
        add_tensors(&g);
    }
    wrong_tensors(&g, m);
    file = build_finish(&g, length);
    wrong_bytes(file, length, m);
    return file;
}

START_TEST(mistakes) {
    struct error err = {0};
    size_t length;
    unsigned char *file = make((enum mistake)_i, &length);
    const int rc = use(file, length, &err);

    free(file);
    if (says[_i] == NULL) {
        ck_assert_msg(rc == 0, "%d: %s", _i, err.text);
        return;
    }
    ck_assert_msg(rc == -1, "accepted, should say '%s'", says[_i]);
    ck_assert_int_eq(err.kind, ERROR_INPUT);
    ck_assert_msg(strstr(err.text, says[_i]) != NULL, "'%s' does not say '%s'", err.text, says[_i]);
}
END_TEST

/* Every cut and every flipped bit of a file of 2 KB. */
START_TEST(cuts_and_flips) {
    struct gguf_build g = {0};
    size_t length, accepted = 0;
    unsigned char *file;

    add_sizes(&g);
    add_tokens(&g);
    add_rows(&g, "token_embd.weight", HIDDEN, VOCABULARY, 1);
    add_rows(&g, "blk.0.attn_k.weight", HIDDEN, QROWS, 1);
    file = build_finish(&g, &length);
    ck_assert_int_eq(use(file, length, NULL), 0);
    for (size_t cut = 0; cut < length; cut++) {
        unsigned char *part = malloc(cut + !cut);
        memcpy(part, file, cut);
        accepted += use(part, cut, NULL) == 0;
        free(part);
    }
    ck_assert_uint_eq(accepted, 0); /* the data ends without padding */
    for (size_t at = 0; at < length; at++) {
        const unsigned char was = file[at];
        for (int bit = 0; bit < 8; bit++) {
            file[at] = (unsigned char)(was ^ 1 << bit);
            accepted += use(file, length, NULL) == 0;
        }
        file[at] = 0xff;
        accepted += use(file, length, NULL) == 0;
        file[at] = was;
    }
    ck_assert_uint_gt(accepted, 0);
    free(file);
}
END_TEST

/* ---- values ----------------------------------------------------------------------------------------------------- */

static struct tensors *open_built(struct gguf_build *g, struct error *err) {
    char path[] = "/tmp/rein-gguf-XXXXXX";
    const int fd = mkstemp(path);
    struct tensors *t;
    size_t length;
    unsigned char *file = build_finish(g, &length);

    ck_assert(fd >= 0 && file_write_all(fd, file, length) == 0);
    close(fd);
    free(file);
    ck_assert_msg(tensors_open(path, &t, err) == 0, "%s", err->text);
    unlink(path);
    return t;
}

START_TEST(names_config_and_rows) {
    struct gguf_build g = {0};
    struct error err = {0};
    struct model_config c;
    struct tensors *t;
    const struct tensor_info *info;
    float x[32 * HIDDEN];
    uint16_t h[3];

    add_sizes(&g);
    add_tokens(&g);
    add_tensors(&g);
    add_rows(&g, "extra.thing", 4, 1, 0);
    t = open_built(&g, &err);
    ck_assert(tensors_is_gguf(t));
    ck_assert_uint_eq(tensors_count(t), NTENSORS + 1);
    ck_assert_ptr_nonnull(tensors_find(t, "extra.thing"));
    ck_assert_ptr_nonnull(tensors_find(t, "model.layers.0.mlp.down_proj.weight"));
    ck_assert_msg(tensors_config(t, &c, &err) == 0, "%s", err.text);
    ck_assert(c.heads == 8 && c.kv_heads == 2 && c.head_dim == 4 && c.hidden == HIDDEN && c.vocabulary == VOCABULARY);
    ck_assert(c.bos == 0 && c.neos == 1 && c.eos[0] == 1 && c.pad == -1 && !c.tied && c.norm_eps == 1e-5f);
    ck_assert(c.rope_theta == 5000.0f && c.dtype == REIN_F32 && c.json == NULL);

    /* 8 heads of 4 rows: row 0 1 2 3 of a head is stored at 0 2 1 3 */
    info = tensors_find(t, "model.layers.0.self_attn.q_proj.weight");
    ck_assert(info->rank == 2 && info->shape[0] == 32 && info->shape[1] == HIDDEN && info->dtype == REIN_F16);
    ck_assert_ptr_null(tensors_data(t, info));
    ck_assert_int_eq(tensors_read(t, info, 0, 32 * HIDDEN, REIN_F32, x, &err), 0);
    for (int r = 0; r < 32; r++)
        for (int k = 0; k < HIDDEN; k++) {
            static const int stored[4] = {0, 2, 1, 3};
            const float want = (float)(r / 4 * 4 + stored[r % 4]) + (float)k / 64.0f;
            ck_assert_msg(x[r * HIDDEN + k] == rein_from_f16(rein_to_f16(want)), "row %d: %g", r,
                          (double)x[r * HIDDEN + k]);
        }
    /* across the end of a row */
    ck_assert_int_eq(tensors_read(t, info, HIDDEN - 1, 3, REIN_F16, h, &err), 0);
    ck_assert(rein_from_f16(h[0]) == 31.0f / 64 && rein_from_f16(h[1]) == 2.0f &&
              rein_from_f16(h[2]) == 2.0f + 1.0f / 64);
    info = tensors_find(t, "lm_head.weight");
    ck_assert_int_eq(tensors_read(t, info, HIDDEN, 1, REIN_F32, x, &err), 0);
    ck_assert(x[0] == 1.0f && info->dtype == REIN_BF16);
    ck_assert_ptr_nonnull(tensors_data(t, info));
    tensors_close(t);
}
END_TEST

START_TEST(blocks) {
    enum { ROWS = 2, WIDTH = 64 };
    const uint64_t ne[2] = {WIDTH, ROWS};
    static const struct { uint32_t type, bytes; } kinds[] = {{2, 18}, {3, 20}, {8, 34}};
    uint64_t random = 1;

    for (size_t k = 0; k < 3; k++) {
        struct gguf_build g = {0};
        struct error err = {0};
        struct buffer b = {0};
        struct tensors *t;
        float want[ROWS * WIDTH], got[ROWS * WIDTH];
        uint16_t half[ROWS * WIDTH];
        for (int block = 0; block < 4; block++) {
            const float d = rein_from_f16(rein_to_f16(0.37f * (float)(block - 1))),
                        m = rein_from_f16(rein_to_f16(1.7f - (float)block));
            unsigned char bytes[32];
            uint16_t hd = rein_to_f16(d), hm = rein_to_f16(m);
            for (int i = 0; i < 32; i++) {
                random = random * 6364136223846793005u + 1442695040888963407u;
                bytes[i] = (unsigned char)(random >> 56);
            }
            buffer_add(&b, &hd, 2);
            if (kinds[k].type == 3)
                buffer_add(&b, &hm, 2);
            buffer_add(&b, bytes, kinds[k].bytes == 34 ? 32 : 16);
            for (int i = 0; i < 32; i++) {
                const int nibble = i < 16 ? bytes[i] & 15 : bytes[i - 16] >> 4;
                want[block * 32 + i] = kinds[k].type == 2   ? d * (float)(nibble - 8)
                                       : kinds[k].type == 3 ? d * (float)nibble + m
                                                            : d * (float)(signed char)bytes[i];
            }
        }
        ck_assert_uint_eq(b.length, 4 * kinds[k].bytes);
        build_tensor(&g, "t", 2, ne, kinds[k].type, 0);
        build_data(&g, b.data, b.length);
        buffer_free(&b);
        t = open_built(&g, &err);
        ck_assert_int_eq(tensors_read(t, tensors_at(t, 0), 0, ROWS * WIDTH, REIN_F32, got, &err), 0);
        ck_assert_mem_eq(got, want, sizeof(want));
        for (uint64_t first = 0; first < ROWS * WIDTH; first += 7)
            for (uint64_t count = 0; count <= ROWS * WIDTH - first; count += 5) {
                ck_assert_int_eq(tensors_read(t, tensors_at(t, 0), first, count, REIN_F32, got, &err), 0);
                ck_assert(memcmp(got, want + first, count * sizeof(float)) == 0);
            }
        ck_assert_int_eq(tensors_read(t, tensors_at(t, 0), 3, 100, REIN_BF16, half, &err), 0);
        for (int i = 0; i < 100; i++)
            ck_assert_uint_eq(half[i], rein_to_bf16(want[3 + i]));
        ck_assert_ptr_null(tensors_data(t, tensors_at(t, 0)));
        ck_assert_int_eq(tensors_config(t, &(struct model_config){0}, &err), -1);
        tensors_close(t);
    }
}
END_TEST

START_TEST(other_blocks_are_listed_but_not_read) {
    const uint64_t ne[1] = {256};
    struct gguf_build g = {0};
    struct error err = {0};
    struct tensors *t;
    const char bytes[144] = {0};
    float x;

    build_tensor(&g, "t", 1, ne, 12, 0);
    build_data(&g, bytes, sizeof(bytes));
    t = open_built(&g, &err);
    ck_assert_str_eq(tensors_at(t, 0)->type, "Q4_K");
    ck_assert_int_eq(tensors_read(t, tensors_at(t, 0), 0, 1, REIN_F32, &x, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.text, "Q4_K, which cannot be read"));
    tensors_close(t);
}
END_TEST

/* Llama 3's divisors are recognised, others refused. */
START_TEST(rope_factors) {
    for (int wrong = 0; wrong < 2; wrong++) {
        struct gguf_build g = {0};
        struct error err = {0};
        struct model_config c = {.head_dim = 128, .rope_theta = 500000.0f}, scaled = c, read;
        struct tensors *t;
        float with[64], without[64], factors[64], scale;
        const uint64_t ne[1] = {64};
        static const char *const tokens[2] = {"a", "b"};
        struct buffer *b;
        int rc;

        scaled.rope = ROPE_LLAMA3;
        scaled.rope_factor = 8.0f;
        scaled.rope_low = 1.0f;
        scaled.rope_high = 4.0f;
        scaled.rope_original = 8192;
        config_rope(&c, without, &scale);
        config_rope(&scaled, with, &scale);
        for (int i = 0; i < 64; i++)
            factors[i] = without[i] / with[i];
        if (wrong)
            factors[30] *= 1.01f;
        build_text(&g, "general.architecture", "llama");
        build_u32(&g, "llama.embedding_length", 128);
        build_u32(&g, "llama.block_count", 1);
        build_u32(&g, "llama.feed_forward_length", 32);
        build_u32(&g, "llama.context_length", 64);
        build_u32(&g, "llama.attention.head_count", 1);
        build_f32(&g, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
        build_f32(&g, "llama.rope.freq_base", 500000.0f);
        b = build_array(&g, "tokenizer.ggml.tokens", GGUF_STRING, 2);
        for (int i = 0; i < 2; i++)
            put_text(b, tokens[i]);
        add_rows(&g, "token_embd.weight", 128, 2, 0);
        build_tensor(&g, "rope_freqs.weight", 1, ne, 0, g.data.length);
        build_data(&g, factors, sizeof(factors));
        t = open_built(&g, &err);
        rc = tensors_config(t, &read, &err);
        if (wrong)
            ck_assert_msg(rc == -1 && strstr(err.text, "not a known one") != NULL, "%s", err.text);
        else
            ck_assert_msg(rc == 0 && read.rope == ROPE_LLAMA3 && read.rope_factor == 8.0f && read.tied, "%s", err.text);
        tensors_close(t);
    }
}
END_TEST

int main(void) {
    Suite *s = suite_create("gguf");
    TCase *t = tcase_create("gguf");

    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, mistakes, 0, MISTAKES);
    tcase_add_test(t, cuts_and_flips);
    tcase_add_test(t, names_config_and_rows);
    tcase_add_test(t, blocks);
    tcase_add_test(t, other_blocks_are_listed_but_not_read);
    tcase_add_test(t, rope_factors);
    suite_add_tcase(s, t);
    return tap_run(s);
}
