/* core/base/utf8.h - strict UTF-8.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_UTF8_H
#define REIN_CORE_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Reads one code point; returns its length in bytes (1..4), or 0 when the bytes
 * are not well-formed UTF-8 (overlong, surrogate, above U+10FFFF, cut short). */
size_t utf8_decode(const char *text, size_t length, uint32_t *code);
/* Writes one code point (must be a scalar value); returns the length, 1..4. */
size_t utf8_encode(uint32_t code, char out[4]);
/* The number of leading bytes of `text` that form complete, well-formed text. */
size_t utf8_valid_prefix(const char *text, size_t length);

#endif
