/* SPDX-License-Identifier: MIT */
#include "base/buffer.h"
#include "base/error.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/pages.h"
#include "base/rng.h"
#include "base/suggest.h"
#include "base/utf8.h"
#include "tap.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

START_TEST(sizes_are_checked) {
    size_t out = 7;

    ck_assert(!size_mul((size_t)1 << 40, (size_t)1 << 40, &out));
    ck_assert_uint_eq(out, 7);
    ck_assert(size_mul(6, 7, &out));
    ck_assert_uint_eq(out, 42);
    ck_assert(!size_add((size_t)-1, 1, &out));
    ck_assert_ptr_null(mem_array((size_t)1 << 62, 8));
}
END_TEST

/* Pieces of all sizes, freed in another order than they came: none touches another, each is where vectors want it. */
START_TEST(pages_stay_apart) {
    enum { PIECES = 60, ROUNDS = 400 };
    static const size_t sizes[] = {1, 1000, 131071, 131072, 700000, 3538944, 20000000};
    struct { unsigned char *at; size_t bytes; } piece[PIECES] = {{0}};

    for (uint32_t round = 0; round < ROUNDS; round++) {
        const uint32_t i = round * 37 % PIECES, mark = i + 1;

        if (piece[i].at) {
            ck_assert_uint_eq(piece[i].at[0], mark);
            ck_assert_uint_eq(piece[i].at[piece[i].bytes / 2], mark);
            ck_assert_uint_eq(piece[i].at[piece[i].bytes - 1], mark);
        }
        pages_free(piece[i].at);
        piece[i].bytes = sizes[round * 13 / 3 % (sizeof(sizes) / sizeof(*sizes))];
        piece[i].at = pages_alloc(piece[i].bytes);
        ck_assert_ptr_nonnull(piece[i].at);
        ck_assert_uint_eq((uintptr_t)piece[i].at % 64, 0);
        piece[i].at[0] = piece[i].at[piece[i].bytes / 2] = piece[i].at[piece[i].bytes - 1] = (unsigned char)mark;
    }
    for (uint32_t i = 0; i < PIECES; i++) {
        ck_assert_uint_eq(piece[i].at[0], i + 1);
        ck_assert_uint_eq(piece[i].at[piece[i].bytes - 1], i + 1);
        pages_free(piece[i].at);
    }
    pages_free(NULL);
    ck_assert_ptr_null(pages_alloc(SIZE_MAX));
}
END_TEST

#if !defined(__SANITIZE_ADDRESS__)
/* What is handed out costs nothing before it is used: its first touch is where threads can share it. */
START_TEST(pages_are_not_touched) {
    enum { PIECES = 8, BYTES = 4 << 20 };
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    unsigned char *piece[PIECES], there[BYTES / 4096];

    for (int i = 0; i < PIECES; i++) {
        const size_t bytes = i % 2 ? BYTES : 5 * BYTES; /* in a region with others, and in one of its own */
        size_t resident = 0;

        piece[i] = pages_alloc(bytes);
        ck_assert_ptr_nonnull(piece[i]);
        ck_assert_int_eq(mincore(piece[i] - (uintptr_t)piece[i] % page, BYTES, there), 0);
        for (size_t k = 0; k < BYTES / page; k++)
            resident += there[k] & 1;
        ck_assert_uint_eq(resident, 0);
    }
    piece[0][0] = 1;
    ck_assert_int_eq(mincore(piece[0] - (uintptr_t)piece[0] % page, page, there), 0);
    ck_assert_uint_eq(there[0] & 1, 1);
    for (int i = 0; i < PIECES; i++)
        pages_free(piece[i]);
}
END_TEST
#endif

START_TEST(errors_carry_place_and_kind) {
    struct error err = {0};

    ck_assert_int_eq(error_at(&err, "a.yaml", 3, 9, "bad %s", "thing"), -1);
    ck_assert_str_eq(err.text, "a.yaml:3:9: bad thing");
    ck_assert_int_eq(error_exit_code(&err), 2);
    error_prefix(&err, "stage '%s'", "sft");
    ck_assert_str_eq(err.text, "stage 'sft': a.yaml:3:9: bad thing");
    error_run(&err, "line\nbreak\x1b[2J");
    ck_assert_str_eq(err.text, "line?break?[2J");
    ck_assert_int_eq(error_exit_code(&err), 1);
}
END_TEST

START_TEST(philox_matches_published_vectors) {
    /* Random123's known answers for philox4x32-10 */
    uint32_t r[4];

    rng_block(0, 0, 0, 0, 0, r);
    ck_assert_uint_eq(r[0], 0x6627e8d5);
    ck_assert_uint_eq(r[1], 0xe169c58d);
    ck_assert_uint_eq(r[2], 0xbc57ac4c);
    ck_assert_uint_eq(r[3], 0x9b00dbd8);
    rng_block(UINT64_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX, r);
    ck_assert_uint_eq(r[0], 0x408f276d);
    ck_assert_uint_eq(r[1], 0x41c83b0e);
    ck_assert_uint_eq(r[2], 0xa20bc7c6);
    ck_assert_uint_eq(r[3], 0x6d5451fd);
    /* counter 243f6a88 85a308d3 13198a2e 03707344, key a4093822 299f31d0 */
    rng_block(0x299f31d0a4093822u, 0x03707344, 0x13198a2e, 0x85a308d3, 0x243f6a88, r);
    ck_assert_uint_eq(r[0], 0xd16cfe09);
    ck_assert_uint_eq(r[1], 0x94fdcceb);
    ck_assert_uint_eq(r[2], 0x5001e420);
    ck_assert_uint_eq(r[3], 0x24126ea1);
}
END_TEST

START_TEST(normal_values_have_their_moments) {
    enum { N = 200001 };
    static float x[N];
    double sum = 0, square = 0;

    rng_normal(7, RNG_INIT, 3, 2.0, x, N);
    for (int i = 0; i < N; i++) {
        sum += x[i];
        square += (double)x[i] * x[i];
    }
    ck_assert_double_eq_tol(sum / N, 0.0, 0.02);
    ck_assert_double_eq_tol(sqrt(square / N), 2.0, 0.02);
}
END_TEST

START_TEST(shuffle_is_a_permutation) {
    uint32_t order[1000], again[1000];
    unsigned char seen[1000] = {0};

    rng_shuffle(7, 0, order, 1000);
    rng_shuffle(7, 0, again, 1000);
    ck_assert_mem_eq(order, again, sizeof(order));
    for (int i = 0; i < 1000; i++)
        seen[order[i]]++;
    for (int i = 0; i < 1000; i++)
        ck_assert_uint_eq(seen[i], 1);
    rng_shuffle(7, 1, again, 1000);
    ck_assert_mem_ne(order, again, sizeof(order));
}
END_TEST

START_TEST(utf8_is_strict) {
    uint32_t c;

    ck_assert_uint_eq(utf8_decode("\xe2\x82\xac", 3, &c), 3);
    ck_assert_uint_eq(c, 0x20ac);
    ck_assert_uint_eq(utf8_decode("\xc0\x80", 2, &c), 0);         /* overlong */
    ck_assert_uint_eq(utf8_decode("\xed\xa0\x80", 3, &c), 0);     /* surrogate */
    ck_assert_uint_eq(utf8_decode("\xf4\x90\x80\x80", 4, &c), 0); /* past U+10FFFF */
    ck_assert_uint_eq(utf8_decode("\xe2\x82", 2, &c), 0);         /* cut short */
    ck_assert_uint_eq(utf8_valid_prefix("ab\xe2\x82", 4), 2);
}
END_TEST

START_TEST(buffers_build_json) {
    struct buffer b = {0};

    buffer_json_string(&b, "a\"\\\n\x01\xff", 6);
    ck_assert_str_eq(b.data, "\"a\\\"\\\\\\n\\u0001\xef\xbf\xbd\"");
    buffer_free(&b);
}
END_TEST

START_TEST(suggestions_are_near) {
    struct suggestion s = {0};
    char text[80];

    suggest_offer(&s, "clipp", "gamma");
    ck_assert_ptr_null(s.best);
    suggest_offer(&s, "clipp", "clip");
    ck_assert_str_eq(suggest_text(&s, text, sizeof(text)), " (did you mean 'clip'?)");
    memset(&s, 0, sizeof(s));
    suggest_offer(&s, "bacth", "batch");
    ck_assert_str_eq(s.best, "batch");
}
END_TEST

START_TEST(files_are_replaced_whole) {
    char dir[] = "/tmp/rein-base-XXXXXX", *path, *text;
    struct error err = {0};
    size_t length;

    ck_assert_ptr_nonnull(mkdtemp(dir));
    path = file_join(dir, "a/b.txt");
    ck_assert_int_eq(file_write(path, "x", 1, &err), -1); /* no folder yet */
    char *folder = file_dirname(path);
    ck_assert_int_eq(file_make_folder(folder, &err), 0);
    ck_assert_int_eq(file_write(path, "one", 3, &err), 0);
    ck_assert_int_eq(file_write(path, "two!", 4, &err), 0);
    text = file_read(path, 100, &length, &err);
    ck_assert_str_eq(text, "two!");
    ck_assert_uint_eq(length, 4);
    free(text);
    ck_assert_ptr_null(file_read(path, 3, &length, &err)); /* over the limit */
    ck_assert_ptr_null(file_read(folder, 100, &length, &err));
    ck_assert_int_eq(err.kind, ERROR_INPUT);
    ck_assert_int_eq(file_remove_tree(dir, &err), 0);
    ck_assert(!file_exists(dir));
    free(folder);
    free(path);
}
END_TEST

START_TEST(fifos_do_not_hang) {
    char dir[] = "/tmp/rein-base-XXXXXX", *path;
    struct error err = {0};
    struct file_map map;

    ck_assert_ptr_nonnull(mkdtemp(dir));
    path = file_join(dir, "fifo");
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    ck_assert_int_eq(file_map_open(path, &map, &err), -1);
    ck_assert_int_eq(error_exit_code(&err), 2);
    ck_assert_int_eq(file_remove_tree(dir, &err), 0);
    free(path);
}
END_TEST

START_TEST(ways_lead_from_folder_to_folder) {
    static const char *const ways[][3] = {
        {"/r/two/model", "/r/one/model", "../../one/model"}, {"/r/two", "/r/two/base.gguf", "base.gguf"},
        {"/r/two", "/r/two", "."},                           {"/r/two/model", "/r", "../../."},
        {"/r/on/model", "/r/one", "../../one"},              {"/r/one", "/r/on", "../on"},
        {"/r/two", "/s/one", NULL},                          {"/", "/s", NULL},
    };

    for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
        char *way = file_way(ways[i][0], ways[i][1]);

        ck_assert_pstr_eq(way, ways[i][2]);
        free(way);
    }
}
END_TEST

int main(void) {
    Suite *s = suite_create("base");
    TCase *t = tcase_create("base");

    tcase_add_test(t, sizes_are_checked);
    tcase_add_test(t, pages_stay_apart);
#if !defined(__SANITIZE_ADDRESS__)
    tcase_add_test(t, pages_are_not_touched);
#endif
    tcase_add_test(t, errors_carry_place_and_kind);
    tcase_add_test(t, philox_matches_published_vectors);
    tcase_add_test(t, normal_values_have_their_moments);
    tcase_add_test(t, shuffle_is_a_permutation);
    tcase_add_test(t, utf8_is_strict);
    tcase_add_test(t, buffers_build_json);
    tcase_add_test(t, suggestions_are_near);
    tcase_add_test(t, files_are_replaced_whole);
    tcase_add_test(t, fifos_do_not_hang);
    tcase_add_test(t, ways_lead_from_folder_to_folder);
    suite_add_tcase(s, t);
    return tap_run(s);
}
