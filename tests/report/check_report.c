/* What a run leaves for people and tools to read. SPDX-License-Identifier: MIT */
#include "base/file.h"
#include "base/mempeak.h"
#include "report/event.pb-c.h"
#include "report/html.h"
#include "report/record.h"
#include "report/progress.h"
#include "report/report.h"
#include "report/tensorboard.h"
#include "base/log.h"
#include "tap.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static char folder[] = "/tmp/rein-report-XXXXXX";
static char stage[64];

static char *read_file(const char *name) {
    char *path = file_join(stage, name), *text = file_read(path, 1 << 20, NULL, NULL);

    free(path);
    ck_assert_ptr_nonnull(text);
    return text;
}

static void one_step(const struct report_sink *s, uint64_t n, double loss) {
    const struct report_value values[] = {{"loss", loss}, {"num_tokens", 1234567890.0 * (double)n}, {"grad_norm", 1.0 / 3}};
    struct error err = {0};

    ck_assert_msg(s->step(s->ctx, n, 0, values, 3, &err) == 0, "%s", err.text);
}

static void run(int append, uint64_t from, uint64_t to) {
    const struct report_value eval[] = {{"eval_loss", 0.25}};
    const struct report_cost cost = {.seconds = 83.25, .peak_memory = 1250000000};
    struct report *r = NULL;
    const struct report_sink *s;
    struct error err = {0};

    ck_assert_msg(report_create(folder, false, &r, &err) == 0, "%s", err.text);
    s = report_sink(r);
    ck_assert_msg(s->begin(s->ctx, "sft", stage, 10, append, from, &err) == 0, "%s", err.text);
    for (uint64_t n = from + 1; n <= to; n++) {
        const struct report_sample sample = {n, "a \"b\"\n<c>", "<script>\xff</script>", n == 2 ? NAN : 1.5, 0.25};

        one_step(s, n, n == 2 ? NAN : 1.0 / (double)n);
        ck_assert_int_eq(s->sample(s->ctx, &sample, &err), 0);
    }
    ck_assert_int_eq(s->step(s->ctx, to, 1, eval, 1, &err), 0);
    if (to == 3)
        ck_assert_int_eq(s->cost(s->ctx, to, &cost, &err), 0);
    ck_assert_int_eq(s->end(s->ctx, &err), 0);
    report_free(r);
}

START_TEST(metrics_are_lines_of_json) {
    char *text;

    run(0, 0, 3);
    text = read_file("metrics.jsonl");
    ck_assert_str_eq(text, "{\"step\":1,\"loss\":1,\"num_tokens\":1234567890,\"grad_norm\":0.333333333}\n"
                           "{\"step\":2,\"loss\":null,\"num_tokens\":2469135780,\"grad_norm\":0.333333333}\n"
                           "{\"step\":3,\"loss\":0.333333333,\"num_tokens\":3703703670,\"grad_norm\":0.333333333}\n"
                           "{\"step\":3,\"eval_loss\":0.25}\n"
                           "{\"step\":3,\"stage_time\":83.25,\"peak_memory\":1250000000}\n");
    free(text);
    text = read_file("samples.jsonl");
    ck_assert_ptr_nonnull(strstr(text, "{\"step\":2,\"prompt\":\"a \\\"b\\\"\\n<c>\",\"completion\":\"<script>\xef\xbf\xbd"
                                       "</script>\",\"reward\":null,\"kl\":0.25}\n"));
    free(text);
    ck_assert(record_is_time("step_time"));
    ck_assert(record_is_time("peak_memory"));
    ck_assert(!record_is_time("loss"));
}
END_TEST

START_TEST(a_resumed_stage_loses_what_came_after) {
    char *path = file_join(stage, "metrics.jsonl"), *text;
    FILE *f;

    run(0, 0, 6);
    f = fopen(path, "a");
    fputs("{\"step\":2,\"loss\":", f); /* the process was killed here */
    fclose(f);
    free(path);
    run(1, 4, 5);
    text = read_file("metrics.jsonl");
    ck_assert_ptr_nonnull(strstr(text, "{\"step\":4,"));
    ck_assert_ptr_null(strstr(text, "{\"step\":6,"));
    ck_assert_ptr_eq(strstr(strstr(text, "{\"step\":5,\"loss\"") + 1, "{\"step\":5,\"loss\""), NULL);
    free(text);
}
END_TEST

static uint64_t little(const unsigned char *p, size_t n) {
    uint64_t x = 0;

    while (n-- > 0)
        x = x << 8 | p[n];
    return x;
}

START_TEST(tensorboard_can_read_the_events) {
    struct dirent *entry;
    DIR *dir;
    size_t files = 0, events = 0;

    run(0, 0, 6);
    run(1, 4, 5);
    /* RFC 3720, B.4 */
    ck_assert_uint_eq(tensorboard_crc("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 32), 0x8a9136aa);
    ck_assert_uint_eq(tensorboard_crc("123456789", 9), 0xe3069283);
    dir = opendir(stage);
    while ((entry = readdir(dir)) != NULL) {
        struct file_map map;
        char *path;

        if (strncmp(entry->d_name, "events.out.tfevents.", 20) != 0)
            continue;
        files++;
        path = file_join(stage, entry->d_name);
        ck_assert_int_eq(file_map_open(path, &map, NULL), 0);
        free(path);
        for (size_t at = 0; at < map.length; events++) {
            const uint64_t n = little(map.data + at, 8);
            Rein__Event__Event *e;

            ck_assert_uint_eq(little(map.data + at + 8, 4), tensorboard_masked_crc(map.data + at, 8));
            ck_assert_uint_eq(little(map.data + at + 12 + n, 4), tensorboard_masked_crc(map.data + at + 12, n));
            e = rein__event__event__unpack(NULL, n, map.data + at + 12);
            ck_assert_ptr_nonnull(e);
            if (events == 0)
                ck_assert_str_eq(e->file_version, "brain.Event:2");
            else
                ck_assert_int_eq(e->step, events < 5 ? (int64_t)events : 5);
            if (events == 6)
                ck_assert_str_eq(e->summary->value[0]->tag, "eval/loss");
            else if (events == 4)
                ck_assert_float_eq(e->summary->value[0]->simple_value, 0.25f);
            rein__event__event__free_unpacked(e, NULL);
            at += n + 16;
        }
        file_map_close(&map);
    }
    closedir(dir);
    ck_assert_uint_eq(files, 1);
    ck_assert_uint_eq(events, 7); /* version, four steps kept, step 5, its evaluation */
}
END_TEST

START_TEST(the_page_is_whole_and_harmless) {
    char *path = file_join(folder, "report.html"), *text;
    struct error err = {0};

    run(0, 0, 3);
    ck_assert_msg(html_write(folder, &err) == 0, "%s", err.text);
    text = file_read(path, 1 << 24, NULL, &err);
    ck_assert_ptr_nonnull(text);
    ck_assert_ptr_nonnull(strstr(text, "<polyline class=a"));
    ck_assert_ptr_nonnull(strstr(text, "&lt;script&gt;"));
    ck_assert_ptr_nonnull(strstr(text, "3 steps in 1:23, peak memory 1.2 GB."));
    ck_assert_ptr_null(strstr(text, "<figcaption>stage_time"));
    ck_assert_ptr_null(strstr(text, "<script"));
    ck_assert_ptr_null(strstr(text, "nan"));
    ck_assert_ptr_nonnull(strstr(text, "</html>"));
    free(text);
    free(path);
    ck_assert_int_eq(html_write("/tmp/rein-no-such-run", &err), -1);
    ck_assert_int_eq(err.kind, ERROR_INPUT);
}
END_TEST

START_TEST(a_stage_without_samples_leaves_no_file_of_them) {
    char *path = file_join(stage, "samples.jsonl");
    struct report_sink s;
    struct error err = {0};

    run(0, 0, 3);
    ck_assert(file_exists(path));
    ck_assert_int_eq(record_open(&s, &err), 0);
    ck_assert_int_eq(s.begin(s.ctx, "sft", stage, 10, 0, 0, &err), 0);
    one_step(&s, 1, 1);
    ck_assert_int_eq(s.end(s.ctx, &err), 0);
    record_close(&s);
    ck_assert(!file_exists(path)); /* nor an earlier run's */
    free(path);
}
END_TEST

START_TEST(the_peak_is_that_of_the_stage) {
    const size_t size = 64 << 20;
    uint64_t with, after;
    char *block;
    bool anew;

    anew = mempeak_reset();
    block = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(block, MAP_FAILED);
    memset(block, 1, size);
    with = mempeak();
    ck_assert_uint_gt(with, size);
    ck_assert_int_eq(block[size / 2], 1);
    munmap(block, size);
    ck_assert_uint_gt(mempeak(), size); /* a peak does not go down by itself */
    if (!anew || !mempeak_reset())
        return;
    after = mempeak();
    ck_assert_uint_gt(after, 0);
    ck_assert_msg(after + size / 2 < with, "%llu after %llu", (unsigned long long)after, (unsigned long long)with);
}
END_TEST

START_TEST(clocks_read_well) {
    char out[32];

    ck_assert_str_eq(progress_clock(59.6, out), "1:00");
    ck_assert_str_eq(progress_clock(3723, out), "1:02:03");
    ck_assert_str_eq(progress_clock(NAN, out), "-:--");
}
END_TEST

int main(void) {
    Suite *suite = suite_create("report");
    TCase *tc = tcase_create("report");
    int rc;

    log_set_level(LOG_ERROR);
    if (mkdtemp(folder) == NULL)
        return 1;
    snprintf(stage, sizeof(stage), "%s/sft", folder);
    if (file_make_folder(stage, NULL) != 0)
        return 1;
    tcase_add_test(tc, metrics_are_lines_of_json);
    tcase_add_test(tc, a_resumed_stage_loses_what_came_after);
    tcase_add_test(tc, tensorboard_can_read_the_events);
    tcase_add_test(tc, the_page_is_whole_and_harmless);
    tcase_add_test(tc, a_stage_without_samples_leaves_no_file_of_them);
    tcase_add_test(tc, the_peak_is_that_of_the_stage);
    tcase_add_test(tc, clocks_read_well);
    suite_add_tcase(suite, tc);
    rc = tap_run(suite);
    file_remove_tree(folder, NULL);
    return rc;
}
