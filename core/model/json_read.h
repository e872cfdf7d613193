/* core/model/json_read.h - JSON from files that may lie, with the place of a mistake.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_JSON_READ_H
#define REIN_CORE_JSON_READ_H

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* Duplicate keys (compared after unescaping), ill-formed UTF-8 and NUL are refused. */
json_t *json_read_text(const char *text, size_t length, const char *name, struct error *err);
/* A file of at most 64 MiB. */
json_t *json_read_file(const char *path, struct error *err);

/* Typed access to the keys of one object. The first mistake is kept in `err` and sets `failed`; later
 * calls then return the default, so that a chain is checked once at its end. */
struct json_reader {
    const json_t *object;
    const char *name;      /* of the file, for messages */
    struct error *err;
    bool failed;
};
#define JSON_REQUIRED INT64_MIN
/* null counts as missing; `missing` JSON_REQUIRED makes that a mistake. */
int64_t json_reader_int(struct json_reader *r, const char *key, int64_t low, int64_t high, int64_t missing);
double json_reader_real(struct json_reader *r, const char *key, double low, double high, double missing);
bool json_reader_bool(struct json_reader *r, const char *key, bool missing);
const char *json_reader_string(struct json_reader *r, const char *key, const char *missing);
int json_reader_fail(struct json_reader *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
