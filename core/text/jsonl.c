/* SPDX-License-Identifier: MIT */
#include "text/jsonl.h"

#include "base/buffer.h"
#include "base/mem.h"
#include "base/utf8.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

enum { CHUNK = 1 << 16, LONGEST_LINE = 64 << 20 };

struct jsonl {
    gzFile file;
    char *path;
    uint64_t line;
    struct buffer text; /* the line so far */
    size_t at, filled;  /* in chunk */
    bool end;
    char chunk[CHUNK];
};

int jsonl_open(const char *path, struct jsonl **out, struct error *err) {
    struct jsonl *j;
    struct stat st;

    *out = NULL;
    if (stat(path, &st) != 0)
        return error_errno_input(err, path, "cannot be read");
    if (!S_ISREG(st.st_mode))
        return error_input(err, "%s: is not a regular file", path);
    j = mem_zeros(1, sizeof *j);
    if (j == NULL || (j->path = mem_strdup(path)) == NULL) {
        free(j);
        return error_nomem(err, path);
    }
    errno = 0;
    j->file = gzopen(path, "rb"); /* reads plain files as they are */
    if (j->file == NULL) {
        const int rc = errno == 0 ? error_nomem(err, path) : error_errno_input(err, path, "cannot be read");
        jsonl_close(j);
        return rc;
    }
    *out = j;
    return 0;
}

void jsonl_close(struct jsonl *j) {
    if (j == NULL)
        return;
    if (j->file != NULL)
        gzclose(j->file);
    buffer_free(&j->text);
    free(j->path);
    free(j);
}

/* 1: there is more in the chunk, 0: end of the file */
static int fill(struct jsonl *j, struct error *err) {
    int n, code = Z_OK;
    const char *why;

    if (j->at < j->filled)
        return 1;
    if (j->end)
        return 0;
    n = gzread(j->file, j->chunk, CHUNK);
    why = gzerror(j->file, &code);
    if (n < 0 || (n == 0 && code != Z_OK && code != Z_STREAM_END)) {
        if (code == Z_ERRNO)
            return error_errno_run(err, j->path, "reading failed");
        return error_at(err, j->path, j->line + 1, 0, "the gzip data is damaged or cut short (%s)", why);
    }
    j->at = 0;
    j->filled = (size_t)n;
    j->end = n == 0;
    return n > 0;
}

/* Reads one line into j->text. 1: read, 0: end of the file. */
static int read_line(struct jsonl *j, struct error *err) {
    bool any = false;
    int rc;

    buffer_clear(&j->text);
    while ((rc = fill(j, err)) == 1) {
        const char *from = j->chunk + j->at, *end = memchr(from, '\n', j->filled - j->at);
        const size_t n = end == NULL ? j->filled - j->at : (size_t)(end - from);
        any = true;
        if (n > LONGEST_LINE - j->text.length)
            return error_at(err, j->path, j->line + 1, 0, "the line is longer than %d MiB", LONGEST_LINE >> 20);
        buffer_add(&j->text, from, n);
        if (j->text.failed)
            return error_nomem(err, j->path);
        j->at += n + (end != NULL);
        if (end != NULL)
            break;
    }
    if (rc < 0)
        return rc;
    j->line += any;
    return any;
}

static bool is_blank(const char *text, size_t length) {
    for (size_t i = 0; i < length; i++)
        if (text[i] != ' ' && text[i] != '\t' && text[i] != '\r')
            return false;
    return true;
}

int jsonl_next(struct jsonl *j, const char **text, size_t *length, uint64_t *line, struct error *err) {
    int rc;

    while ((rc = read_line(j, err)) == 1) {
        size_t good;
        *text = j->text.data;
        *length = j->text.length;
        if (j->line == 1 && *length >= 3 && memcmp(*text, "\xef\xbb\xbf", 3) == 0)
            *text += 3, *length -= 3;
        if (*length > 0 && (*text)[*length - 1] == '\r')
            j->text.data[--*length + (size_t)(*text - j->text.data)] = '\0';
        if (is_blank(*text, *length))
            continue;
        good = utf8_valid_prefix(*text, *length);
        if (good != *length)
            return error_at(err, j->path, j->line, good + 1, "not well-formed UTF-8");
        *line = j->line;
        return 1;
    }
    return rc;
}
