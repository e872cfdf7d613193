/* SPDX-License-Identifier: MIT */
#include "base/file.h"
#include "base/mem.h"
#include "model/dtype.h"
#include "model/safetensors.h"
#include "model/tensors.h"
#include "tap.h"

#include <rein/half.h>

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A header and `data` bytes behind it; says: NULL when it must be accepted, else a part of the message.
 * The cases follow the format's README; where the reference reader (0.8.0) is laxer it says so. */
#define F4(name, a, b)             "\"" name "\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[" #a "," #b "]}"
#define ONE(dtype, shape, offsets) "{\"a\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}}"
#define DEEP10                     "[[[[[[[[[["
static const struct {
    const char *header;
    size_t data;
    const char *says;
} cases[] = {
    {"{}", 0, NULL},
    {"{" F4("a", 0, 4) "}", 4, NULL},
    {"{" F4("a", 0, 4) "," F4("b", 4, 8) "}", 8, NULL},
    {"{" F4("b", 4, 8) "," F4("a", 0, 4) "}", 8, NULL},
    {"  {" F4("a", 0, 4) "}", 4, NULL},
    {"{" F4("a", 0, 4) "}   ", 4, NULL},
    {"{" F4("a", 0, 4) "}\t\n\r ", 4, NULL},
    {"{\"__metadata__\":{\"format\":\"pt\"}," F4("a", 0, 4) "}", 4, NULL},
    {"{\"__metadata__\":null," F4("a", 0, 4) "}", 4, NULL},
    {"{\"__metadata__\":{}}", 0, NULL},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"extra\":{\"x\":[1]}}}", 4, NULL},
    {ONE("\"F32\"", "[]", "[0,4]"), 4, NULL},
    {ONE("\"F32\"", "[0]", "[0,0]"), 0, NULL},
    {ONE("\"F32\"", "[0,7]", "[0,0]"), 0, NULL},
    {ONE("\"F32\"", "[1,1,1,1,1,1,1,1]", "[0,4]"), 4, NULL},
    {ONE("\"BF16\"", "[2]", "[0,4]"), 4, NULL},
    {ONE("\"F16\"", "[2]", "[0,4]"), 4, NULL},
    {ONE("\"BOOL\"", "[3]", "[0,3]"), 3, NULL},
    {ONE("\"I64\"", "[1]", "[0,8]"), 8, NULL},
    {ONE("\"F4\"", "[2]", "[0,1]"), 1, NULL},
    {ONE("\"F6_E2M3\"", "[4]", "[0,3]"), 3, NULL},
    {"{\"u\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}," F4("a", 1, 5) "}", 5, NULL}, /* misaligned */
    {"{\"\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, NULL},
    {"{\"../../etc/passwd\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, NULL},
    {"{\"\\ud83d\\ude00\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, NULL},
    {"{\"z\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[4,4]}," F4("a", 0, 4) "," F4("b", 4, 8) "}", 8, NULL},

    {"", 0, "JSON"},
    {"[]", 0, "must be a JSON object"},
    {"null", 0, "JSON"},
    {"{", 0, "JSON"},
    {"{} x", 0, "JSON"},
    {"{" F4("a", 0, 4) ",}", 4, "JSON"},
    {"{/**/}", 0, "JSON"},
    {"\xef\xbb\xbf{}", 0, "JSON"},
    {"{\"\xc0\xaf\":{}}", 0, "JSON"},
    {"{\"\\ud800\":{}}", 0, "JSON"},
    {"{\"a\\u0000b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "JSON"}, /* the reference accepts */
    {"{" F4("a", 0, 4) "," F4("a", 0, 4) "}", 4, "duplicate"},                               /* the reference accepts */
    {"{" F4("a", 0, 4) "," F4("\\u0061", 0, 4) "}", 4, "duplicate"},                         /* the reference accepts */
    {"{" F4("a", 0, 4) "," F4("a", 4, 8) "}", 8, "duplicate"},
    {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, "duplicate"},
    {"{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "duplicate"},
    {"{\"__metadata__\":{\"n\":1}}", 0, "must be a string"},
    {"{\"__metadata__\":[]}", 0, "must be an object"},
    {"{\"a\":[\"F32\",[1],[0,4]]}", 4, "described by an object"}, /* the reference accepts */
    {"{\"a\":null}", 0, "described by an object"},
    {"{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "'dtype'"},
    {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, "'shape'"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "'data_offsets'"},
    {ONE("\"F33\"", "[1]", "[0,4]"), 4, "unknown dtype"},
    {ONE("\"f32\"", "[1]", "[0,4]"), 4, "unknown dtype"},
    {ONE("32", "[1]", "[0,4]"), 4, "'dtype'"},
    {ONE("\"F32\"", "1", "[0,4]"), 4, "'shape'"},
    {ONE("\"F32\"", "[-1]", "[0,4]"), 4, "dimension 0"},
    {ONE("\"F32\"", "[1.0]", "[0,4]"), 4, "dimension 0"},
    {ONE("\"F32\"", "[1,\"1\"]", "[0,4]"), 4, "dimension 1"},
    {ONE("\"F32\"", "[18446744073709551616]", "[0,4]"), 4, "JSON"},
    {ONE("\"F32\"", "[0,18446744073709551615]", "[0,0]"), 0, "JSON"}, /* the reference accepts, 0 first */
    {ONE("\"F32\"", "[0,1099511627777]", "[0,0]"), 0, "dimension 1"},
    {ONE("\"F32\"", "[1099511627776,1099511627776]", "[0,4]"), 4, "too large"},
    {ONE("\"F32\"", "[4611686018427387904,4]", "[0,0]"), 0, "dimension 0"},
    {ONE("\"F32\"", "[1099511627776,1099511627776,0]", "[0,0]"), 0, "too large"},
    {ONE("\"F32\"", "[1,1,1,1,1,1,1,1,1]", "[0,4]"), 4, "9 dimensions"},
    {ONE("\"F32\"", "[1]", "[0]"), 4, "two whole numbers"},
    {ONE("\"F32\"", "[1]", "[0,4,8]"), 4, "two whole numbers"},
    {ONE("\"F32\"", "[1]", "[0,4.0]"), 4, "two whole numbers"},
    {ONE("\"F32\"", "[1]", "[0,4e0]"), 4, "two whole numbers"},
    {ONE("\"F32\"", "[1]", "[0,+4]"), 4, "JSON"},
    {ONE("\"F32\"", "[1]", "[0,04]"), 4, "JSON"},
    {ONE("\"F32\"", "[1]", "[0,NaN]"), 4, "JSON"},
    {ONE("\"F32\"", "[1]", "[-4,0]"), 4, "do not lie"},
    {ONE("\"F32\"", "[1]", "[4,0]"), 4, "do not lie"},
    {ONE("\"F32\"", "[1]", "[0,8]"), 4, "do not lie"},
    {ONE("\"F32\"", "[1]", "[0,9223372036854775807]"), 4, "do not lie"},
    {ONE("\"F32\"", "[2]", "[0,4]"), 4, "do not fill"},
    {ONE("\"F32\"", "[1]", "[0,3]"), 3, "do not fill"},
    {ONE("\"F4\"", "[3]", "[0,1]"), 1, "do not fill"},
    {"{" F4("a", 4, 8) "}", 8, "hole"},
    {"{" F4("a", 0, 4) "," F4("b", 8, 12) "}", 12, "hole"},
    {"{" F4("a", 0, 4) "," F4("b", 2, 6) "}", 6, "overlaps"},
    {"{" F4("a", 0, 4) "," F4("b", 0, 4) "}", 4, "overlaps"},
    {"{" F4("a", 0, 4) "}", 5, "1 bytes after"},
    {"{}", 1, "1 bytes after"},
};

static unsigned char *build(const char *header, size_t n, size_t data, size_t *length) {
    unsigned char *file = malloc(8 + n + data);

    ck_assert_ptr_nonnull(file);
    for (unsigned i = 0; i < 8; i++)
        file[i] = (unsigned char)((uint64_t)n >> 8 * i);
    memcpy(file + 8, header, n);
    memset(file + 8 + n, 1, data);
    *length = 8 + n + data;
    return file;
}

static int parse(const unsigned char *file, size_t length, struct error *err) {
    struct tensor_table table = {0};
    json_t *metadata;
    int rc = safetensors_parse(file, length, "x", &table, &metadata, err);

    if (rc == 0)
        rc = table_index(&table, "x", err);
    if (rc == 0) { /* what was accepted lies in the file */
        for (size_t i = 0; i < table.count; i++) {
            ck_assert(table.entries[i].data >= file &&
                      table.entries[i].data + table.entries[i].info.bytes <= file + length);
            ck_assert_ptr_eq(table_find(&table, table.entries[i].info.name), &table.entries[i]);
        }
    }
    json_decref(metadata);
    table_free(&table);
    return rc;
}

START_TEST(headers) {
    struct error err = {0};
    size_t length;
    unsigned char *file = build(cases[_i].header, strlen(cases[_i].header), cases[_i].data, &length);
    const int rc = parse(file, length, &err);

    free(file);
    if (cases[_i].says == NULL) {
        ck_assert_msg(rc == 0, "refused: %s: %s", cases[_i].header, err.text);
        return;
    }
    ck_assert_msg(rc != 0, "accepted: %s", cases[_i].header);
    ck_assert_msg(err.kind == ERROR_INPUT && strstr(err.text, cases[_i].says) != NULL, "%s: '%s' does not say '%s'",
                  cases[_i].header, err.text, cases[_i].says);
}
END_TEST

START_TEST(lengths_that_lie) {
    static const struct {
        uint64_t n;
        size_t length;
        const char *says;
    } lies[] = {
        {0, 0, "too few"},
        {0, 7, "too few"},
        {2, 9, "cut short"},
        {100000001, 4096, "limit is"},
        {UINT64_MAX, 64, "limit is"},
        {1ull << 63, 64, "limit is"},
        {100000000, 64, "cut short"},
        {0, 8, "JSON"},
    };

    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        struct error err = {0};
        unsigned char *file = malloc(lies[i].length + !lies[i].length);
        memset(file, '{', lies[i].length);
        for (unsigned k = 0; k < 8 && k < lies[i].length; k++)
            file[k] = (unsigned char)(lies[i].n >> 8 * k);
        ck_assert_int_eq(parse(file, lies[i].length, &err), -1);
        ck_assert_msg(strstr(err.text, lies[i].says) != NULL, "%s", err.text);
        free(file);
    }
}
END_TEST

/* jansson alone would drop a NUL behind a number. */
START_TEST(a_nul_is_no_json) {
    static const char after_number[] = "{\"a\":{\"dtype\":\"F32\",\"shape\":[1\0],\"data_offsets\":[0,4]}}";
    static const char after_end[] = "{" F4("a", 0, 4) "}\0";
    struct error err = {0};
    size_t length;
    unsigned char *file = build(after_number, sizeof(after_number) - 1, 4, &length);

    ck_assert_int_eq(parse(file, length, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.text, "NUL"));
    free(file);
    file = build(after_end, sizeof(after_end) - 1, 4, &length);
    ck_assert_int_eq(parse(file, length, &err), -1);
    free(file);
}
END_TEST

START_TEST(names_and_nesting_are_limited) {
    struct buffer b = {0};
    struct error err = {0};
    size_t length;
    unsigned char *file;

    buffer_text(&b, "{\"");
    for (int i = 0; i < TENSOR_NAME_LIMIT; i++)
        buffer_byte(&b, 'n');
    buffer_text(&b, "\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}");
    file = build(b.data, b.length, 4, &length);
    ck_assert_msg(parse(file, length, &err) == 0, "%s", err.text);
    free(file);
    buffer_free(&b);

    buffer_text(&b, "{\"n");
    for (int i = 0; i < TENSOR_NAME_LIMIT; i++)
        buffer_byte(&b, 'n');
    buffer_text(&b, "\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}");
    file = build(b.data, b.length, 4, &length);
    ck_assert_int_eq(parse(file, length, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.text, "513 bytes"));
    free(file);
    buffer_free(&b);

    buffer_text(&b, "{\"a\":");
    for (int i = 0; i < 20000; i++)
        buffer_text(&b, DEEP10);
    file = build(b.data, b.length, 0, &length);
    ck_assert_int_eq(parse(file, length, &err), -1);
    free(file);
    buffer_free(&b);
}
END_TEST

/* Every cut and every changed byte of a small valid file: no crash, and what is accepted is in bounds. */
START_TEST(cuts_and_flips) {
    static const char header[] =
        "{\"__metadata__\":{\"format\":\"pt\"},"
        "\"model.embed_tokens.weight\":{\"dtype\":\"F32\",\"shape\":[4,8],\"data_offsets\":[0,128]},"
        "\"model.norm.weight\":{\"dtype\":\"BF16\",\"shape\":[8],\"data_offsets\":[128,144]},"
        "\"score.weight\":{\"dtype\":\"F16\",\"shape\":[1,8],\"data_offsets\":[144,160]}}";
    size_t length, accepted = 0;
    unsigned char *file = build(header, sizeof(header) - 1, 160, &length);

    for (size_t cut = 0; cut < length; cut++) {
        unsigned char *part = malloc(cut + !cut);
        memcpy(part, file, cut);
        ck_assert_msg(parse(part, cut, NULL) == -1, "accepted when cut to %zu", cut);
        free(part);
    }
    for (size_t at = 0; at < length - 160; at++) {
        const unsigned char was = file[at];
        for (int value = 0; value < 256; value++) {
            file[at] = (unsigned char)value;
            accepted += parse(file, length, NULL) == 0;
        }
        file[at] = was;
    }
    ck_assert_uint_gt(accepted, length - 160); /* letters of names may change */
    free(file);
}
END_TEST

static char *folder(void) {
    static char path[64];
    snprintf(path, sizeof(path), "/tmp/rein-tensors-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(path));
    return path;
}

static void write_pair(const char *path, const char *first, const char *second) {
    struct tensor_out list[2] = {{first, REIN_F32, 1, {2}}, {second, REIN_F32, 2, {1, 2}}};
    const float x[4] = {1, 2, 3, 4};
    struct tensors_writer *w;

    ck_assert_int_eq(tensors_create(path, list, 2, &w, NULL), 0);
    ck_assert_int_eq(tensors_put(w, x, 2, REIN_F32, NULL), 0);
    ck_assert_int_eq(tensors_put(w, x + 2, 2, REIN_F32, NULL), 0);
    ck_assert_int_eq(tensors_finish(w, NULL, NULL), 0);
}

START_TEST(what_is_written_is_read) {
    enum { N = 70000 };
    struct tensor_out list[4] = {{"a.\"q\\", REIN_F32, 2, {7, N / 7}},
                                 {"b", REIN_BF16, 1, {N}},
                                 {"none", REIN_F16, 2, {3, 0}},
                                 {"c", REIN_F16, 1, {N}}};
    float *x = mem_array(N, sizeof(float)), *y = mem_array(N, sizeof(float));
    struct tensors_writer *w;
    struct tensors *t;
    struct error err = {0};
    const struct tensor_info *info;
    char *dir = folder(), *path = file_join(dir, "model.safetensors");
    struct file_map map;
    uint16_t h;
    uint32_t crc;

    for (int i = 0; i < N; i++)
        x[i] = (float)sin(i * 0.37) * ldexpf(1.0f, i % 40 - 20);
    ck_assert_msg(tensors_create(path, list, 4, &w, &err) == 0, "%s", err.text);
    ck_assert_int_eq(tensors_put(w, x, 1000, REIN_F32, &err), 0);
    ck_assert_int_eq(tensors_put(w, x + 1000, N - 1000, REIN_F32, &err), 0);
    ck_assert_int_eq(tensors_put(w, x, N, REIN_F32, &err), 0);
    ck_assert_int_eq(tensors_put(w, x, N - 1, REIN_F32, &err), 0);
    h = rein_to_f16(x[N - 1]);
    ck_assert_int_eq(tensors_put(w, &h, 1, REIN_F16, &err), 0);
    ck_assert_msg(tensors_finish(w, &crc, &err) == 0, "%s", err.text);

    ck_assert_int_eq(file_map_open(path, &map, &err), 0);
    ck_assert_uint_eq((map.data[0] | (unsigned)map.data[1] << 8) % 8, 0);
    file_map_close(&map);
    ck_assert_msg(tensors_open(dir, &t, &err) == 0, "%s", err.text);
    ck_assert_uint_eq(tensors_count(t), 4);
    ck_assert_str_eq(tensors_path(t), path);
    info = tensors_find(t, "a.\"q\\");
    ck_assert_ptr_nonnull(info);
    ck_assert(info->rank == 2 && info->shape[0] == 7 && info->elements == N && info->dtype == REIN_F32);
    ck_assert_mem_eq(tensors_data(t, info), x, N * sizeof(float));
    info = tensors_find(t, "b");
    ck_assert_int_eq(tensors_read(t, info, 5, N - 5, REIN_F32, y, &err), 0);
    for (int i = 5; i < N; i++)
        ck_assert(y[i - 5] == rein_from_bf16(rein_to_bf16(x[i])));
    info = tensors_find(t, "c");
    ck_assert_int_eq(tensors_read(t, info, N - 3, 3, REIN_F32, y, &err), 0);
    for (int i = 0; i < 3; i++)
        ck_assert(y[i] == rein_from_f16(rein_to_f16(x[N - 3 + i])));
    ck_assert_int_eq(tensors_read(t, info, N - 1, 1, REIN_F16, &h, &err), 0);
    ck_assert_uint_eq(h, rein_to_f16(x[N - 1]));
    ck_assert_int_eq(tensors_read(t, info, N - 3, 4, REIN_F32, y, &err), -1);
    ck_assert_int_eq(tensors_read(t, info, UINT64_MAX, 2, REIN_F32, y, &err), -1);
    ck_assert_ptr_null(tensors_find(t, "d"));
    tensors_close(t);
    file_remove_tree(dir, NULL);
    free(path);
    free(x);
    free(y);
}
END_TEST

START_TEST(an_incomplete_file_never_appears) {
    struct tensor_out list[2] = {{"a", REIN_F32, 1, {4}}, {"b", REIN_F32, 1, {1}}};
    const float x[8] = {0};
    struct tensors_writer *w;
    struct error err = {0};
    char *dir = folder(), *path = file_join(dir, "m.safetensors");

    ck_assert_int_eq(tensors_create(path, list, 2, &w, &err), 0);
    ck_assert_int_eq(tensors_put(w, x, 5, REIN_F32, &err), -1);
    ck_assert_int_eq(tensors_put(w, x, 4, REIN_F32, &err), 0);
    ck_assert_int_eq(tensors_finish(w, NULL, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.text, "incomplete"));
    ck_assert(file_folder_is_empty(dir));
    ck_assert_int_eq(tensors_create(path, list, 2, &w, &err), 0);
    tensors_abandon(w);
    ck_assert(file_folder_is_empty(dir));
    list[0].rank = 3;
    list[0].shape[1] = list[0].shape[2] = (int64_t)1 << 40;
    ck_assert_int_eq(tensors_create(path, list, 2, &w, &err), -1);
    file_remove_tree(dir, NULL);
    free(path);
}
END_TEST

START_TEST(other_types_are_listed_but_not_read) {
    static const char header[] = "{\"i\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[0,8]},"
                                 "\"u\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[8,9]},"
                                 "\"f\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[9,13]}}";
    struct error err = {0};
    struct tensors *t;
    size_t length;
    unsigned char *file = build(header, sizeof(header) - 1, 13, &length);
    char *dir = folder(), *path = file_join(dir, "x.safetensors");
    float x;
    uint32_t ones = 0x01010101u;

    ck_assert_int_eq(file_write(path, file, length, NULL), 0);
    ck_assert_msg(tensors_open(path, &t, &err) == 0, "%s", err.text);
    ck_assert_int_eq(tensors_read(t, tensors_find(t, "i"), 0, 1, REIN_F32, &x, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.text, "I64"));
    ck_assert_ptr_null(tensors_data(t, tensors_find(t, "i")));
    ck_assert_ptr_null(tensors_data(t, tensors_find(t, "f"))); /* not aligned */
    ck_assert_int_eq(tensors_read(t, tensors_find(t, "f"), 0, 1, REIN_F32, &x, &err), 0);
    ck_assert_mem_eq(&x, &ones, 4);
    tensors_close(t);
    file_remove_tree(dir, NULL);
    free(file);
    free(path);
}
END_TEST

/* Shards one.safetensors {a, b} and two.safetensors {c, d}. */
static const struct {
    const char *index, *says;
} indexes[] = {
    {"{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"one.safetensors\",\"c\":\"two.safetensors\",\"d\":\"two."
     "safetensors\"}}",
     NULL},
    {"{\"metadata\":{\"total_size\":32},\"weight_map\":{\"d\":\"two.safetensors\",\"a\":\"one.safetensors\","
     "\"b\":\"one.safetensors\",\"c\":\"two.safetensors\"}}",
     NULL},
    {"{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"one.safetensors\"}}", NULL},
    {"", "JSON"},
    {"[]", "'weight_map'"},
    {"{}", "'weight_map'"},
    {"{\"weight_map\":{}}", "'weight_map'"},
    {"{\"weight_map\":[]}", "'weight_map'"},
    {"{\"weight_map\":{\"a\":1}}", "must name a file"},
    {"{\"weight_map\":{\"a\":null}}", "must name a file"},
    {"{\"weight_map\":{\"a\":\"\"}}", "plain file name"},
    {"{\"weight_map\":{\"a\":\".\"}}", "plain file name"},
    {"{\"weight_map\":{\"a\":\"..\"}}", "plain file name"},
    {"{\"weight_map\":{\"a\":\"../one.safetensors\"}}", "plain file name"},
    {"{\"weight_map\":{\"a\":\"/etc/passwd\"}}", "plain file name"},
    {"{\"weight_map\":{\"a\":\"sub/one.safetensors\"}}", "plain file name"},
    {"{\"weight_map\":{\"a\":\"out.safetensors\"}}", "leads out of the folder"},
    {"{\"weight_map\":{\"a\":\"missing.safetensors\"}}", "cannot open"},
    {"{\"weight_map\":{\"a\":\"folder\"}}", "is a folder"},
    {"{\"weight_map\":{\"a\":\"model.safetensors.index.json\"}}", "limit is"},
    {"{\"weight_map\":{\"a\":\"one.safetensors\"}}", "weight_map does not know it"},
    {"{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"two.safetensors\"}}", "weight_map puts it into 'two"},
    {"{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"one.safetensors\",\"e\":\"one.safetensors\"}}",
     "'e' is not in its shard"},
    {"{\"weight_map\":{\"a\":\"one.safetensors\",\"a\":\"one.safetensors\",\"b\":\"one.safetensors\"}}", "duplicate"},
};

START_TEST(sharded_folders) {
    struct error err = {0};
    struct tensors *t;
    char *dir = folder(), *outside, *one = file_join(dir, "one.safetensors"), *two = file_join(dir, "two.safetensors"),
         *link = file_join(dir, "out.safetensors"), *sub = file_join(dir, "folder"),
         *index = file_join(dir, "model.safetensors.index.json");
    char other[] = "/tmp/rein-outside-XXXXXX";
    const int fd = mkstemp(other);
    int rc;

    close(fd);
    outside = other;
    write_pair(outside, "a", "b");
    write_pair(one, "a", "b");
    write_pair(two, "c", "d");
    ck_assert_int_eq(symlink(outside, link), 0);
    ck_assert_int_eq(file_make_folder(sub, NULL), 0);
    ck_assert_int_eq(file_write(index, indexes[_i].index, strlen(indexes[_i].index), NULL), 0);
    rc = tensors_open(dir, &t, &err);
    if (indexes[_i].says == NULL) {
        float x[2];
        ck_assert_msg(rc == 0, "%s: %s", indexes[_i].index, err.text);
        ck_assert_int_eq(tensors_read(t, tensors_find(t, "b"), 0, 2, REIN_F32, x, &err), 0);
        ck_assert(x[0] == 3 && x[1] == 4);
    } else {
        ck_assert_msg(rc == -1, "accepted: %s", indexes[_i].index);
        ck_assert_msg(err.kind == ERROR_INPUT && strstr(err.text, indexes[_i].says) != NULL,
                      "%s: '%s' does not say '%s'", indexes[_i].index, err.text, indexes[_i].says);
    }
    tensors_close(t);
    unlink(outside);
    file_remove_tree(dir, NULL);
    free(one);
    free(two);
    free(link);
    free(sub);
    free(index);
}
END_TEST

/* snapshots/REVISION/x -> ../../blobs/HASH is how the Hugging Face cache looks. */
START_TEST(the_hub_cache_layout_is_read) {
    static const char index_text[] = "{\"weight_map\":{\"a\":\"s.safetensors\",\"b\":\"s.safetensors\"}}";
    struct error err = {0};
    struct tensors *t;
    char *dir = folder(), *snap = file_join(dir, "snapshots/1234"), *blobs = file_join(dir, "blobs"),
         *blob = file_join(dir, "blobs/abcd"), *link = file_join(snap, "s.safetensors"),
         *index = file_join(snap, "model.safetensors.index.json");

    ck_assert_int_eq(file_make_folder(snap, NULL), 0);
    ck_assert_int_eq(file_make_folder(blobs, NULL), 0);
    write_pair(blob, "a", "b");
    ck_assert_int_eq(symlink("../../blobs/abcd", link), 0);
    ck_assert_int_eq(file_write(index, index_text, sizeof(index_text) - 1, NULL), 0);
    ck_assert_msg(tensors_open(snap, &t, &err) == 0, "%s", err.text);
    tensors_close(t);
    file_remove_tree(dir, NULL);
    free(snap);
    free(blobs);
    free(blob);
    free(link);
    free(index);
}
END_TEST

START_TEST(the_real_ones_open) {
    static const char *const names[] = {"tiny-llama", "tiny-llama-rm", "stories260k", "tiny-qwen2-sharded-bf16",
                                        "tiny-llama/ref.safetensors"};
    const char *data = getenv("REIN_TEST_DATA");

    if (data == NULL) {
        printf("# SKIP REIN_TEST_DATA is not set\n");
        return;
    }
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct error err = {0};
        struct tensors *t;
        char path[4096];
        snprintf(path, sizeof(path), "%s/models/%s", data, names[i]);
        ck_assert_msg(tensors_open(path, &t, &err) == 0, "%s", err.text);
        ck_assert_uint_gt(tensors_count(t), 10);
        if (i < 4)
            ck_assert_ptr_nonnull(tensors_find(t, "model.embed_tokens.weight"));
        tensors_close(t);
    }
}
END_TEST

int main(void) {
    Suite *s = suite_create("safetensors");
    TCase *t = tcase_create("safetensors");

    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, headers, 0, (int)(sizeof(cases) / sizeof(cases[0])));
    tcase_add_test(t, lengths_that_lie);
    tcase_add_test(t, a_nul_is_no_json);
    tcase_add_test(t, names_and_nesting_are_limited);
    tcase_add_test(t, cuts_and_flips);
    tcase_add_test(t, what_is_written_is_read);
    tcase_add_test(t, an_incomplete_file_never_appears);
    tcase_add_test(t, other_types_are_listed_but_not_read);
    tcase_add_loop_test(t, sharded_folders, 0, (int)(sizeof(indexes) / sizeof(indexes[0])));
    tcase_add_test(t, the_hub_cache_layout_is_read);
    tcase_add_test(t, the_real_ones_open);
    suite_add_tcase(s, t);
    return tap_run(s);
}
