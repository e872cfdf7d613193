/* SPDX-License-Identifier: MIT */
#include "model/gguf_model.h"
#include "model/gguf_quant.h"
#include "model/gguf_tokenizer.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void touch(const struct tensor_entry *e) {
    volatile float last;
    float x[64];

    if (e->storage == STORED_GGUF)
        for (uint64_t at = 0; at < e->info.elements; at += 64) {
            gguf_quant_read(gguf_quant_find(e->type), e->data, at,
                            e->info.elements - at < 64 ? e->info.elements - at : 64, x);
            last = x[0];
        }
    last = (float)e->data[e->info.bytes - 1];
    (void)last;
}

/* What is accepted lies in the file, and what is made of the tokenizer is JSON. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct tensor_table table = {0};
    struct model_config config;
    struct gguf g;
    char *json = NULL, *settings = NULL;

    if (gguf_parse(data, size, "input", &g, &table, NULL) == 0 && gguf_translate(&g, &table, NULL) == 0 &&
        table_index(&table, "input", NULL) == 0) {
        json_decref(gguf_metadata(&g));
        for (size_t i = 0; i < table.count; i++)
            touch(&table.entries[i]);
        gguf_config(&g, &table, &config, NULL);
        if (gguf_tokenizer(&g, &json, &settings, NULL) == 0) {
            json_t *root = json_loads(json, JSON_REJECT_DUPLICATES, NULL);
            if (root == NULL)
                __builtin_trap();
            json_decref(root);
        }
    }
    free(json);
    free(settings);
    table_free(&table);
    gguf_free(&g);
    return 0;
}
