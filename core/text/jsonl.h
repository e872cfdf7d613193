/* core/text/jsonl.h - lines of a text file, plain or gzip.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_TEXT_JSONL_H
#define REIN_CORE_TEXT_JSONL_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

struct jsonl;

int jsonl_open(const char *path, struct jsonl **out, struct error *err);
void jsonl_close(struct jsonl *j);
/* The next line that is not blank, without its end (LF or CR LF), NUL-terminated and valid until the next call;
 * well-formed UTF-8, a byte order mark at the start of the file removed. Returns 1, 0 at the end, -1 (file:line in err). */
int jsonl_next(struct jsonl *j, const char **text, size_t *length, uint64_t *line, struct error *err);

#endif
