/* core/base/buffer.h - bytes that grow. Also the one way to build strings.
 * SPDX-License-Identifier: MIT
 *
 * Zero-initialise. `data` is always NUL-terminated once anything was added, so
 * it can be read as a C string when it holds text. A failed allocation sets
 * `failed`; later additions do nothing, so a chain is checked once at its end.
 */
#ifndef REIN_CORE_BUFFER_H
#define REIN_CORE_BUFFER_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buffer {
    char *data;
    size_t length, capacity;
    bool failed;
};

void buffer_add(struct buffer *b, const void *bytes, size_t length);
void buffer_text(struct buffer *b, const char *text);
void buffer_byte(struct buffer *b, unsigned char byte);
void buffer_printf(struct buffer *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buffer_json_string(struct buffer *b, const char *text, size_t length); /* quoted and escaped; bad UTF-8 becomes U+FFFD */
void buffer_clear(struct buffer *b); /* keeps the memory */
void buffer_free(struct buffer *b);
/* Hands over the memory (release with free()), or NULL when an addition failed. */
char *buffer_take(struct buffer *b);
/* "1.4 GB", "120 MB" or "12.0 MB". */
void buffer_bytes(struct buffer *b, uint64_t bytes);

#endif
