/* SPDX-License-Identifier: MIT */
#include "text/tokenizer_files.h"

#include "base/file.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

enum { LARGEST_FILE = 256 << 20 };

static const char *const names[TOKENIZER_FILES] = {
    [FILE_TOKENIZER] = "tokenizer.json",        [FILE_CONFIG] = "tokenizer_config.json",
    [FILE_SPECIAL] = "special_tokens_map.json", [FILE_GENERATION] = "generation_config.json",
    [FILE_TEMPLATE] = "chat_template.jinja",
};

int tokenizer_files_read(const char *folder, struct tokenizer_files *out, struct error *err) {
    for (int i = 0; i < TOKENIZER_FILES; i++) {
        out->path[i] = file_join(folder, names[i]);
        if (out->path[i] == NULL)
            return error_nomem(err, names[i]);
        if (i != FILE_TOKENIZER && !file_exists(out->path[i]))
            continue;
        out->text[i] = file_read(out->path[i], LARGEST_FILE, &out->length[i], err);
        if (out->text[i] == NULL)
            return -1;
    }
    return 0;
}

int tokenizer_files_copy(const char *json, size_t length, const char *config, size_t config_length, const char *name,
                         struct tokenizer_files *out, struct error *err) {
    out->text[FILE_TOKENIZER] = mem_strndup(json, length);
    out->length[FILE_TOKENIZER] = length;
    if (config != NULL) {
        out->text[FILE_CONFIG] = mem_strndup(config, config_length);
        out->length[FILE_CONFIG] = config_length;
    }
    for (int i = 0; i < TOKENIZER_FILES; i++)
        if ((out->path[i] = mem_strdup(name)) == NULL)
            return error_nomem(err, "a tokenizer");
    if (out->text[FILE_TOKENIZER] == NULL || (config != NULL && out->text[FILE_CONFIG] == NULL))
        return error_nomem(err, "a tokenizer");
    return 0;
}

void tokenizer_files_free(struct tokenizer_files *f) {
    for (int i = 0; i < TOKENIZER_FILES; i++) {
        free(f->path[i]);
        free(f->text[i]);
    }
    memset(f, 0, sizeof(*f));
}

bool tokenizer_files_same(const struct tokenizer_files *a, const struct tokenizer_files *b) {
    for (int i = 0; i < TOKENIZER_FILES; i++)
        if ((a->text[i] == NULL) != (b->text[i] == NULL) || a->length[i] != b->length[i] ||
            (a->text[i] != NULL && memcmp(a->text[i], b->text[i], a->length[i]) != 0))
            return false;
    return true;
}
