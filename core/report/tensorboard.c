/* SPDX-License-Identifier: MIT */
#include "report/tensorboard.h"

#include "base/buffer.h"
#include "base/file.h"
#include "base/mem.h"
#include "report/event.pb-c.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { VALUES = 128 };

struct board {
    int fd;
    struct buffer record;
};

uint32_t tensorboard_crc(const void *data, size_t length) {
    const unsigned char *p = data;
    uint32_t crc = 0xffffffffu;

    for (size_t i = 0; i < length; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (0x82f63b78u & (0u - (crc & 1)));
    }
    return ~crc;
}

uint32_t tensorboard_masked_crc(const void *data, size_t length) {
    const uint32_t crc = tensorboard_crc(data, length);

    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

static void put_le(unsigned char *out, uint64_t x, size_t bytes) {
    for (size_t i = 0; i < bytes; i++)
        out[i] = (unsigned char)(x >> 8 * i);
}

static uint64_t get_le(const unsigned char *in, size_t bytes) {
    uint64_t x = 0;

    for (size_t i = 0; i < bytes; i++)
        x |= (uint64_t)in[i] << 8 * i;
    return x;
}

static int put_event(struct board *b, const Rein__Event__Event *event, struct error *err) {
    const size_t length = rein__event__event__get_packed_size(event);
    unsigned char head[12], tail[4], *body = mem_array(length, 1);

    if (body == NULL)
        return error_nomem(err, "a TensorBoard event");
    rein__event__event__pack(event, body);
    put_le(head, length, 8);
    put_le(head + 8, tensorboard_masked_crc(head, 8), 4);
    put_le(tail, tensorboard_masked_crc(body, length), 4);
    buffer_clear(&b->record);
    buffer_add(&b->record, head, sizeof(head));
    buffer_add(&b->record, body, length);
    buffer_add(&b->record, tail, sizeof(tail));
    free(body);
    if (b->record.failed)
        return error_nomem(err, "a TensorBoard event");
    if (file_write_all(b->fd, b->record.data, b->record.length) != 0)
        return error_errno_run(err, "TensorBoard events", "cannot write");
    return 0;
}

static double wall_time(void) {
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The length of the leading records that are whole and of steps up to `step`. */
static size_t good_prefix(const unsigned char *data, size_t length, uint64_t step) {
    size_t at = 0;

    while (length - at >= 16) {
        const uint64_t n = get_le(data + at, 8);
        Rein__Event__Event *event;
        bool later;

        if (n > length - at - 16 || get_le(data + at + 8, 4) != tensorboard_masked_crc(data + at, 8))
            break;
        event = rein__event__event__unpack(NULL, n, data + at + 12);
        later = event == NULL || event->step > (int64_t)step;
        if (event != NULL)
            rein__event__event__free_unpacked(event, NULL);
        if (later)
            break;
        at += n + 16;
    }
    return at;
}

static int cut(const char *path, uint64_t step, struct error *err) {
    struct file_map map;
    size_t keep;
    int rc = 0;

    if (file_map_open(path, &map, err) != 0)
        return -1;
    keep = good_prefix(map.data, map.length, step);
    if (keep < map.length && truncate(path, (off_t)keep) != 0)
        rc = error_errno_run(err, path, "cannot shorten");
    file_map_close(&map);
    return rc;
}

/* The first event file of the folder, if there is one: free() it. With `remove` all of them go. */
static char *existing(const char *folder, bool remove) {
    DIR *dir = opendir(folder);
    struct dirent *entry;
    char *found = NULL;

    if (dir == NULL)
        return NULL;
    while ((entry = readdir(dir)) != NULL) {
        char *path;

        if (strncmp(entry->d_name, "events.out.tfevents.", 20) != 0)
            continue;
        path = file_join(folder, entry->d_name);
        if (path != NULL && remove)
            unlink(path);
        if (found == NULL && !remove)
            found = path;
        else
            free(path);
    }
    closedir(dir);
    return found;
}

static char *fresh_name(const char *folder) {
    struct buffer name = {0};
    char host[128] = "localhost";

    gethostname(host, sizeof(host) - 1);
    buffer_printf(&name, "%s/events.out.tfevents.%lld.%s.%ld.0", folder, (long long)wall_time(), host, (long)getpid());
    return buffer_take(&name);
}

static int begin(void *ctx, const char *stage, const char *folder, uint64_t total_steps, int append, uint64_t step,
                 struct error *err) {
    struct board *b = ctx;
    Rein__Event__Event event = REIN__EVENT__EVENT__INIT;
    char version[] = "brain.Event:2", *path = existing(folder, !append);
    int rc = -1;

    (void)stage;
    (void)total_steps;
    if (b->fd >= 0)
        close(b->fd);
    b->fd = -1;
    if (path != NULL && cut(path, step, err) != 0)
        goto out;
    if (path == NULL)
        path = fresh_name(folder);
    if (path == NULL) {
        error_nomem(err, "TensorBoard events");
        goto out;
    }
    b->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (b->fd < 0) {
        error_errno_run(err, path, "cannot create");
        goto out;
    }
    rc = 0;
    if (lseek(b->fd, 0, SEEK_END) == 0) {
        event.wall_time = wall_time();
        event.what_case = REIN__EVENT__EVENT__WHAT_FILE_VERSION;
        event.file_version = version;
        rc = put_event(b, &event, err);
    }
out:
    free(path);
    return rc;
}

static int step(void *ctx, uint64_t number, int eval, const struct report_value *values, size_t count,
                struct error *err) {
    Rein__Event__Event event = REIN__EVENT__EVENT__INIT;
    Rein__Event__Summary summary = REIN__EVENT__SUMMARY__INIT;
    Rein__Event__Value items[VALUES], *pointers[VALUES];
    char tags[VALUES][96];
    size_t n = 0;

    /* as transformers names them: train/loss, eval/loss */
    for (; n < count && n < VALUES; n++) {
        const bool prefixed = eval && strncmp(values[n].name, "eval_", 5) == 0;

        rein__event__value__init(&items[n]);
        snprintf(tags[n], sizeof(tags[n]), "%s/%s", eval ? "eval" : "train", values[n].name + (prefixed ? 5 : 0));
        items[n].tag = tags[n];
        items[n].simple_value = (float)values[n].value;
        pointers[n] = &items[n];
    }
    summary.n_value = n;
    summary.value = pointers;
    event.wall_time = wall_time();
    event.step = (int64_t)number;
    event.what_case = REIN__EVENT__EVENT__WHAT_SUMMARY;
    event.summary = &summary;
    return put_event(ctx, &event, err);
}

static int end(void *ctx, struct error *err) {
    struct board *b = ctx;
    const int rc = b->fd >= 0 && close(b->fd) != 0 ? error_errno_run(err, "TensorBoard events", "cannot close") : 0;

    b->fd = -1;
    return rc;
}

int tensorboard_open(struct report_sink *sink, struct error *err) {
    struct board *b = mem_zeros(1, sizeof(*b));

    if (b == NULL)
        return error_nomem(err, "TensorBoard events");
    b->fd = -1;
    *sink = (struct report_sink){.ctx = b, .begin = begin, .step = step, .end = end};
    return 0;
}

void tensorboard_close(struct report_sink *sink) {
    struct board *b = sink->ctx;

    if (b == NULL)
        return;
    if (b->fd >= 0)
        close(b->fd);
    buffer_free(&b->record);
    free(b);
    *sink = (struct report_sink){0};
}
