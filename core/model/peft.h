/* core/model/peft.h - adapters in files: folders as Hugging Face's PEFT writes and reads them.
 * SPDX-License-Identifier: MIT
 *
 *   adapter_config.json          rank, alpha, targets, and where the base model lies
 *   adapter_model.safetensors    "base_model.model." NAME ".lora_A.weight" [rank][in], ".lora_B.weight" [out][rank], and
 *                                "base_model.model.score.weight" of a reward model
 *
 * Kinds of adapters that change the mathematics (DoRA, biases, ranks by layer ...) are refused.
 */
#ifndef REIN_CORE_PEFT_H
#define REIN_CORE_PEFT_H

#include "model/model.h"
#include "model/tensors.h"

#define PEFT_PREFIX "base_model.model."
enum { PEFT_MODULE = 512, PEFT_NAME = PEFT_MODULE + 32 };

struct lora;

/* An adapter folder whose config was read and checked; its tensors' shapes wait for the base. */
struct peft {
    char *path;               /* of the folder */
    char *base;               /* a folder or .gguf that is there; NULL when only looked at */
    int64_t rank;
    double alpha;
    bool rslora;
    json_t *config;
    struct tensors *tensors;
};

/* Is it a folder with adapter_config.json? */
bool peft_is_adapter(const char *path);
/* `base` in place of what the config says, unless NULL. A relative path there starts at the adapter, then at the working
 * folder. */
int peft_open(const char *path, const char *base, struct peft **out, struct error *err);
/* The same without its base, which need not be there. */
int peft_look(const char *path, struct peft **out, struct error *err);
void peft_close(struct peft *p);
/* Where the base of an adapter folder lies, or `path` itself for a model; free() it. */
int peft_base(const char *path, const char *base, char **out, struct error *err);

/* How the file begins the names of a layer's tensors, when it has any. */
bool peft_find(const struct peft *p, const char *prefix, const char *module, char *key, size_t size);
/* Nothing is missing, of another shape, or left over. */
int peft_check(const struct peft *p, const struct lora *l, const struct trunk *t, struct error *err);
/* "base_model.model.score.weight", or NULL: it has no score head. */
const char *peft_score(const struct peft *p);

/* adapter_config.json of a new adapter; NULL without memory. */
json_t *peft_new_config(const struct lora *l, const struct lora_options *o, bool transposed);
/* Writes <folder>/adapter_config.json. */
int peft_save_config(const struct lora *l, bool score, const char *folder, struct error *err);

#endif
