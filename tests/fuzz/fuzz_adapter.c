/* SPDX-License-Identifier: MIT
 * A PEFT adapter's folder: adapter_config.json, a byte of 0, then adapter_model.safetensors. `check_adapter FILE` writes one to start
 * from.
 */
#include "fuzz/fuzz_adapter.h"

#include "base/file.h"
#include "model/lora.h"
#include "model/peft.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

unsigned long fuzz_adapters_accepted;
static char folder[] = "/tmp/rein-fuzz-XXXXXX";
static bool made; /* its name may end in X for all that */

static void clean(void) {
    file_remove_tree(folder, NULL);
}

static void put(const char *name, const uint8_t *data, size_t size) {
    char path[64];
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    f = fopen(path, "wb");
    if (f == NULL || (size > 0 && fwrite(data, 1, size, f) != size) || fclose(f) != 0)
        abort();
}

/* The layers of a small base. */
static const struct {
    const char *module;
    int64_t in, out;
} layers[] = {{"model.layers.0.self_attn.q_proj", 4, 6}, {"model.layers.0.mlp.down_proj", 5, 4}};

enum { LAYERS = sizeof(layers) / sizeof(*layers) };

/* What an adapter of these layers must have; as lora_plan_file. */
struct plan {
    struct lora lora;
    struct model_param *params[2 * LAYERS], made[2 * LAYERS];
    char names[2 * LAYERS][PEFT_NAME + 32];
};

static void plan_add(struct plan *p, const char *key, const char *leaf, int64_t rows, int64_t cols) {
    const size_t i = p->lora.nparams++;

    snprintf(p->names[i], sizeof(p->names[i]), "%s.%s.weight", key, leaf);
    p->made[i] = (struct model_param){.place = {.tensor = p->names[i], .rows = rows}, .w = {.rows = rows, .cols = cols}};
    p->params[i] = &p->made[i];
}

static void plan_make(struct plan *p, const struct peft *file) {
    char key[PEFT_NAME];

    memset(p, 0, sizeof(*p));
    p->lora.params = p->params;
    for (size_t i = 0; i < LAYERS; i++)
        if (peft_find(file, "model.", layers[i].module, key, sizeof(key))) {
            plan_add(p, key, "lora_A", file->rank, layers[i].in);
            plan_add(p, key, "lora_B", layers[i].out, file->rank);
        }
}

/* Everything that a plan asks for can be read. */
static void read_all(const struct peft *file, const struct plan *p) {
    for (size_t i = 0; i < p->lora.nparams; i++) {
        const struct tensor_info *info = tensors_find(file->tensors, p->names[i]);
        const uint64_t count = (uint64_t)(p->made[i].w.rows * p->made[i].w.cols);
        float *x = malloc(count * sizeof(*x) + 1);

        if (info == NULL || info->elements != count)
            abort();
        if (x != NULL)
            tensors_read(file->tensors, info, 0, count, REIN_F32, x, NULL);
        free(x);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *end = size > 0 ? memchr(data, 0, size) : NULL;
    const size_t config = end ? (size_t)(end - data) : size;
    struct trunk trunk = {.config.family = family_find("llama")};
    struct peft *file;
    char *base = NULL;
    struct plan plan;

    if (!made) {
        if (mkdtemp(folder) == NULL)
            abort();
        atexit(clean);
        made = true;
    }
    put("adapter_config.json", data, config);
    put("adapter_model.safetensors", data + (end ? config + 1 : size), end ? size - config - 1 : 0);
    if (peft_base(folder, NULL, &base, NULL) == 0)
        free(base);
    if (peft_look(folder, &file, NULL) != 0)
        return 0;
    plan_make(&plan, file);
    if (peft_check(file, &plan.lora, &trunk, NULL) == 0) {
        read_all(file, &plan);
        fuzz_adapters_accepted++;
    }
    (void)peft_score(file);
    peft_close(file);
    return 0;
}
