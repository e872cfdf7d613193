/* SPDX-License-Identifier: MIT */
#include "model/config.h"
#include "model/json_read.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is accepted has sizes that can be multiplied out. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct model_config c = {0};
    json_t *root = json_read_text((const char *)data, size, "input", NULL);
    float *frequencies, scale;

    if (root != NULL && config_parse(root, "input", &c, NULL) == 0) {
        frequencies = malloc((size_t)c.head_dim / 2 * sizeof(*frequencies));
        if (frequencies != NULL)
            config_rope(&c, frequencies, &scale);
        free(frequencies);
        if (config_parameters(&c) == 0 || config_parameters(&c) > (uint64_t)1 << 60)
            __builtin_trap();
    }
    config_free(&c);
    json_decref(root);
    return 0;
}
