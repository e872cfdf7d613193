/* SPDX-License-Identifier: MIT
 * Every cut and many changes of a small adapter's files: no crash, and what is accepted can be read. With a FILE: writes the adapter
 * there, as fuzz_adapter takes it.
 */
#include "fuzz/fuzz_adapter.h"
#include "tap.h"

#include <stdio.h>
#include <string.h>

static uint8_t adapter[2048];
static size_t length, tensors; /* where the tensors' file begins */

static void make(void) {
    static const char config[] = "{\"peft_type\": \"LORA\", \"r\": 2, \"lora_alpha\": 4, \"bias\": \"none\", \"use_rslora\": false,"
                                 "\"base_model_name_or_path\": \"base\", \"modules_to_save\": null}";
    static const char *const names[] = {"model.layers.0.self_attn.q_proj.lora_A", "model.layers.0.self_attn.q_proj.lora_B",
                                        "layers.0.mlp.down_proj.lora_A", "layers.0.mlp.down_proj.lora_B"};
    static const int shapes[4][2] = {{2, 4}, {6, 2}, {2, 5}, {4, 2}};
    char header[1024] = "{";
    size_t at = 0, n;

    for (int i = 0; i < 4; i++) {
        const size_t bytes = (size_t)(shapes[i][0] * shapes[i][1]) * 2;

        n = strlen(header);
        snprintf(header + n, sizeof(header) - n,
                 "%s\"base_model.model.%s.weight\":{\"dtype\":\"BF16\",\"shape\":[%d,%d],\"data_offsets\":[%zu,%zu]}",
                 i ? "," : "", names[i], shapes[i][0], shapes[i][1], at, at + bytes);
        at += bytes;
    }
    strcat(header, "}");
    n = strlen(header);
    tensors = sizeof(config);
    memcpy(adapter, config, sizeof(config)); /* its 0 too */
    adapter[tensors] = (uint8_t)n;
    adapter[tensors + 1] = (uint8_t)(n >> 8);
    memcpy(adapter + tensors + 8, header, n);
    length = tensors + 8 + n + at;
}

static bool accepted(const uint8_t *data, size_t size) {
    const unsigned long before = fuzz_adapters_accepted;

    LLVMFuzzerTestOneInput(data, size);
    return fuzz_adapters_accepted > before;
}

START_TEST(whole_or_not_at_all) {
    ck_assert(accepted(adapter, length));
    for (size_t n = 0; n < length; n++)
        ck_assert_msg(!accepted(adapter, n), "the first %zu bytes are an adapter", n);
}
END_TEST

/* Bytes that structure hangs on, at each place, and single bits. */
START_TEST(changed_bytes_do_no_harm) {
    static const uint8_t bytes[] = {0, '"', '{', '}', '[', ',', ':', '-', '0', '9', 'e', 0xff};
    uint8_t changed[sizeof(adapter)];
    const unsigned long before = fuzz_adapters_accepted;

    for (size_t i = 0; i < length; i++)
        for (size_t k = 0; k < sizeof(bytes) + 2; k++) {
            memcpy(changed, adapter, length);
            changed[i] = k < sizeof(bytes) ? bytes[k] : adapter[i] ^ (uint8_t)(1 << (k - sizeof(bytes)));
            LLVMFuzzerTestOneInput(changed, length);
        }
    ck_assert_uint_gt(fuzz_adapters_accepted, before); /* other values of weights, another alpha */
}
END_TEST

int main(int argc, char **argv) {
    Suite *suite = suite_create("adapter files");
    TCase *t = tcase_create("adapter files");
    FILE *f;

    make();
    if (argc > 1)
        return (f = fopen(argv[1], "wb")) == NULL || fwrite(adapter, 1, length, f) != length || fclose(f) != 0;
    tcase_set_timeout(t, 120);
    tcase_add_test(t, whole_or_not_at_all);
    tcase_add_test(t, changed_bytes_do_no_harm);
    suite_add_tcase(suite, t);
    return tap_run(suite);
}
