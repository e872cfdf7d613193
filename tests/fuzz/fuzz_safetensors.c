/* SPDX-License-Identifier: MIT */
#include "model/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is accepted lies in the file and is found by its name. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct tensor_table table = {0};
    json_t *metadata;
    volatile unsigned sum = 0;
    int rc = safetensors_parse(data, size, "input", &table, &metadata, NULL);

    if (rc == 0 && table_index(&table, "input", NULL) == 0)
        for (size_t i = 0; i < table.count; i++) {
            const struct tensor_entry *e = &table.entries[i];
            for (uint64_t k = 0; k < e->info.bytes; k++)
                sum += e->data[k];
            if (table_find(&table, e->info.name) != e)
                __builtin_trap();
        }
    json_decref(metadata);
    table_free(&table);
    return 0;
}
