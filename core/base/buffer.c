/* SPDX-License-Identifier: MIT */
#include "base/buffer.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool reserve(struct buffer *b, size_t more) {
    size_t need;
    void *data = b->data;

    if (b->failed || !size_add(b->length, more, &need) || !size_add(need, 1, &need) ||
        mem_grow(&data, &b->capacity, need, 1) != 0) {
        b->failed = true;
        return false;
    }
    b->data = data;
    return true;
}

void buffer_add(struct buffer *b, const void *bytes, size_t length) {
    if (!reserve(b, length))
        return;
    if (length)
        memcpy(b->data + b->length, bytes, length);
    b->length += length;
    b->data[b->length] = '\0';
}

void buffer_text(struct buffer *b, const char *text) {
    buffer_add(b, text, strlen(text));
}

void buffer_byte(struct buffer *b, unsigned char byte) {
    buffer_add(b, &byte, 1);
}

void buffer_printf(struct buffer *b, const char *fmt, ...) {
    va_list ap, again;
    int n;

    va_start(ap, fmt);
    va_copy(again, ap);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0)
        b->failed = true;
    else if (reserve(b, (size_t)n)) {
        vsnprintf(b->data + b->length, (size_t)n + 1, fmt, again);
        b->length += (size_t)n;
    }
    va_end(again);
}

void buffer_json_string(struct buffer *b, const char *text, size_t length) {
    buffer_byte(b, '"');
    for (size_t i = 0; i < length;) {
        uint32_t code;
        const size_t n = utf8_decode(text + i, length - i, &code);

        if (n == 0) {
            buffer_text(b, "\xef\xbf\xbd");
            i++;
            continue;
        }
        if (code == '"' || code == '\\')
            buffer_printf(b, "\\%c", (char)code);
        else if (code == '\n')
            buffer_text(b, "\\n");
        else if (code < 0x20)
            buffer_printf(b, "\\u%04x", (unsigned)code);
        else
            buffer_add(b, text + i, n);
        i += n;
    }
    buffer_byte(b, '"');
}

void buffer_clear(struct buffer *b) {
    b->length = 0;
    b->failed = false;
    if (b->data)
        b->data[0] = '\0';
}

void buffer_free(struct buffer *b) {
    free(b->data);
    memset(b, 0, sizeof(*b));
}

char *buffer_take(struct buffer *b) {
    char *data;

    if (!b->failed && b->data == NULL)
        buffer_add(b, "", 0);
    if (b->failed) {
        buffer_free(b);
        return NULL;
    }
    data = b->data;
    memset(b, 0, sizeof(*b));
    return data;
}

void buffer_bytes(struct buffer *b, uint64_t bytes) {
    if (bytes >= 1000000000)
        buffer_printf(b, "%.1f GB", (double)bytes / 1e9);
    else
        buffer_printf(b, bytes >= 100000000 ? "%.0f MB" : "%.1f MB", (double)bytes / 1e6);
}
