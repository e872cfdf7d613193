/* SPDX-License-Identifier: MIT */
#include "cli/show.h"

#include "base/utf8.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void show_safe(const char *text, size_t most) {
    const size_t length = strlen(text), shown = utf8_valid_prefix(text, length < most ? length : most);

    for (size_t at = 0; at < shown;) {
        uint32_t code;
        const size_t n = utf8_decode(text + at, shown - at, &code);
        if (code < 32 || (code >= 127 && code < 160))
            putchar('?');
        else
            fwrite(text + at, 1, n, stdout);
        at += n;
    }
    if (shown < length)
        fputs("...", stdout);
}

void show_tensors(const struct tensors *t) {
    int width = 4;

    for (size_t i = 0; i < tensors_count(t); i++) {
        const size_t n = strlen(tensors_at(t, i)->name);
        if (n > (size_t)width)
            width = n < 60 ? (int)n : 60;
    }
    for (size_t i = 0; i < tensors_count(t); i++) {
        const struct tensor_info *info = tensors_at(t, i);
        fputs("  ", stdout);
        show_safe(info->name, TENSOR_MAX_RANK * 64);
        printf("%*s  %-5s [", strlen(info->name) < (size_t)width ? width - (int)strlen(info->name) : 0, "", info->type);
        for (uint32_t d = 0; d < info->rank; d++)
            printf("%s%" PRId64, d ? ", " : "", info->shape[d]);
        printf("]\n");
    }
}

static json_t *tensor_json(const struct tensor_info *t) {
    json_t *shape = json_array();

    for (uint32_t i = 0; i < t->rank; i++)
        json_array_append_new(shape, json_integer(t->shape[i]));
    return json_pack("{s:s, s:s, s:o, s:I, s:I}", "name", t->name, "dtype", t->type, "shape", shape, "elements",
                     (json_int_t)t->elements, "bytes", (json_int_t)t->bytes);
}

json_t *show_tensors_json(const struct tensors *t) {
    json_t *list = json_array();

    for (size_t i = 0; t != NULL && i < tensors_count(t); i++)
        if (json_array_append_new(list, tensor_json(tensors_at(t, i))) != 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

uint64_t show_elements(const struct tensors *t) {
    uint64_t sum = 0;

    for (size_t i = 0; t != NULL && i < tensors_count(t); i++)
        sum += tensors_at(t, i)->elements;
    return sum;
}
