/* core/model/model.h - a model is a view: a reference-counted trunk and a head.
 * SPDX-License-Identifier: MIT
 *
 * Trunk: embedding, decoder layers, final norm, language-model head. Head: the trunk's own language
 * model head, one or several score heads or a value head (hidden -> 1). Actor and critic may share a trunk.
 */
#ifndef REIN_CORE_MODEL_H
#define REIN_CORE_MODEL_H

#include "base/error.h"
#include "model/config.h"
#include "plugin/backend.h"
#include "text/tokenizer.h"

#include <rein/param.h>

enum model_head { MODEL_LM, MODEL_SCORE, MODEL_VALUE };

/* lora: an adapter that trains beside the linear layers of a frozen model. Defaults are PEFT's names' and TRL's values. */
struct lora_options {
    int64_t rank;
    double alpha, dropout;   /* dropout of the layers' inputs on the adapter's side, in training */
    struct rein_list targets; /* names of layers, or their ends after a dot; none: all linear layers of the decoder */
    uint8_t rslora, merge;   /* merge: saved as a whole model */
};

/* Where a model comes from. `path` may be an adapter's folder (peft.h): then that adapter is on its base, frozen or, in a
 * trainable model, all that trains besides the head. */
struct model_source {
    const char *path;        /* Hugging Face folder or .gguf; with `random`: a folder with config.json and tokenizer.json */
    bool random;             /* weights normal(0, initializer_range) by seed; norms 1, biases 0; value head 0 */
    uint64_t seed;
    uint64_t head_seed;      /* of a score head that no file has */
    enum model_head head;    /* SCORE: read from score.weight, else normal(0, 1/sqrt(hidden+1)); VALUE: from value.weight
                                or score.weight, else 0 */
    uint32_t heads;          /* SCORE: how many there must be, or are drawn; 0: as many as the file has, else 1 */
    bool trainable;          /* with gradients */
    bool lodges; /* trainable: those of the trunk get no memory of their own, but lie in a pass's (pass_lodge) */
    uint32_t dtype;          /* of matrices in memory, REIN_*; 0: frozen ones as their file has them, others float32. What
                                trains in REIN_BF16 has float32 masters beside it; nothing trains in REIN_F16 */
    const char *const *freeze; /* trainable: patterns of what does not train, see model_check_freeze */
    size_t nfreeze;
    const struct lora_options *lora; /* trainable: a new adapter, drawn by head_seed, on a frozen trunk; else NULL */
    const char *base;        /* of an adapter's folder: its base, in place of what adapter_config.json says; may be NULL */
};

/* Where a parameter lies in a file: all of a tensor, or one of several that share it (a fused q, k and v). */
struct param_place {
    char *tensor;            /* Hugging Face's name */
    size_t skip;             /* bytes of its prefix that the file which was opened leaves out */
    int64_t first, rows;     /* the first row here, and how many the tensor has; of a vector: elements */
    bool transposed;         /* stored as [cols][rows] */
};

/* A parameter: weights, and what training adds. */
struct model_param {
    char *name;              /* the tensor's; "…attn.c_attn.q.weight" for a part of one */
    struct param_place place;
    struct rein_weight w;    /* vectors: rows = 1 */
    float *grad;             /* device [rows * cols], NULL when it does not train */
    bool stale;              /* what lies there is not to be added to: it counts as zeros, see param_fresh_grad */
    bool lodges;             /* grad lies in memory of a pass, once that has made room (pass_lodge) */
    bool decay;              /* weight decay applies (not to biases and norm weights) */
    float *master;           /* device, float32: what training updates, where w is narrower and follows it; else NULL */
    bool mapped;             /* w.data lies in the mapped file: read only, aligned to its elements alone */
    bool frozen;             /* does not train although its model does */
    int32_t layer;           /* -1: in none */
    uint32_t file_dtype;     /* written back in this dtype */
    const struct lora_pair *adapter; /* what is added to it now, see lora.h; NULL: nothing */
};

struct trunk;
struct model;

/* Finds what model_open would refuse, without a backend and without reading a weight: the config, the tokenizer, and names
 * and shapes of the tensors. The caller frees *config (config_free) and *tokenizer (NULL when there is none). */
int model_check(const struct model_source *source, struct model_config *config, struct tokenizer **tokenizer,
                struct error *err);
/* Do the patterns of source->freeze fit a model of this configuration? A pattern is one of the words
 *   embedding (learned positions too; the language model head when it is tied), lm_head, norms, biases, trunk (all but a
 *   score or value head), layers.N, layers.A-B
 * or a glob (fnmatch) over names of parameters, with or without their "model." or "transformer.". One that names nothing
 * is an error, as is leaving nothing to train. *which: the number of the pattern at fault, nfreeze when it is all. */
int model_check_freeze(const struct model_config *c, const struct model_source *source, size_t *which,
                       struct error *err);
int model_open(struct backend *b, const struct model_source *source, struct model **out, struct error *err);
/* Another view on the same trunk (critic: {share: policy}), with the same adapter; `source` gives the head, may be NULL. */
int model_share(struct model *with, enum model_head head, const struct model_source *source, struct model **out,
                struct error *err);
/* Would `source` have the very trunk of m, which was opened frozen and is as its files say: same folder, or same
 * configuration, tokenizer and bytes of every tensor but the score head's? Then a head on m's trunk is enough. */
int model_same_files(const struct model *m, const struct model_source *source, bool *same, struct error *err);
/* A number that tells whether another model has come to lie where `source` says: of the configuration, and of tensors_sum of
 * its files, an adapter's and its base's. Weights drawn at random count by their configuration alone. */
int model_sum(const struct model_source *source, uint32_t *out, struct error *err);
/* A frozen copy of the current weights, as a reference for a model that is about to be trained. */
int model_clone_frozen(const struct model *m, struct model **out, struct error *err);
void model_close(struct model *m);

const struct model_config *model_config(const struct model *m);
const struct tokenizer *model_tokenizer(const struct model *m); /* owned by the trunk */
enum model_head model_head(const struct model *m);
uint32_t model_heads(const struct model *m); /* score heads; 1 for other models */
/* Where the scores lie: as read with the model, or set at the end of its training; not known for other heads. */
const struct model_standard *model_standard(const struct model *m);
void model_set_standard(struct model *m, const struct model_standard *s);
struct backend *model_backend(const struct model *m);
bool model_same_trunk(const struct model *a, const struct model *b);
bool model_same_adapter(const struct model *a, const struct model *b); /* NULL is one, too: none */
/* Something trains or samples on its trunk: pass_leave does not give its weights back. */
void model_stay(struct model *m);
/* Does anything but its head train? */
bool model_trunk_trains(const struct model *m);

/* Everything a view can train: the trunk's parameters, then its head's. Parameters of a shared trunk appear
 * in each view; the caller counts a pointer once. */
size_t model_params(const struct model *m);
struct model_param *model_param(const struct model *m, size_t index);
/* The float32 weights of a parameter that trains. */
static inline float *param_master(const struct model_param *p) {
    return p->master ? p->master : p->w.data;
}
/* Zeroes a stale gradient; everything that adds to one begins with this. NULL or without a gradient: nothing happens. */
int param_fresh_grad(struct backend *b, struct model_param *p, struct error *err);
/* After the masters changed: the weights become the rounded masters. Nothing happens where there are none. */
int param_round(struct backend *b, struct model_param *p, struct error *err);
/* Call after weights changed, so that backends repack and tied copies follow. */
void model_touch(struct model *m);

/* Writes a folder that transformers loads, or PEFT when it has an adapter. Of a model: config.json, model.safetensors, tokenizer files, generation_config.json.
 * A score head gives …ForSequenceClassification with a pad_token_id not in `avoid` (a bitmap over the
 * vocabulary of ids that occur in the data: bit id % 8 of byte id / 8; may be NULL). Value heads are written as score heads. */
int model_save(const struct model *m, const char *folder, const uint8_t *avoid, struct error *err);
/* The whole model, its adapter added to the weights. */
int model_save_merged(const struct model *m, const char *folder, const uint8_t *avoid, struct error *err);
/* Has the model in these files a score head? `base`: as model_source's. */
int model_has_score(const char *path, const char *base, bool *has, struct error *err);

/* Before anything is loaded: parameters, those that train, and bytes of weights, of what training adds to them (gradients,
 * AdamW's two moments of float32, masters), and of AdamW's moments alone. A head counts as one. */
struct model_memory {
    uint64_t parameters, trained, weights, training, moments;
    uint64_t mapped, passing; /* frozen: weights that lie in the file as they are used, and the most of them that are in
                                 memory at once in a pass that leaves them (pass_leave) */
};
int model_estimate(const struct model_config *c, const struct model_source *source, struct model_memory *out,
                   struct error *err);
/* Bytes that gradients and activations of n rows save by lying over each other (pass_size.over); recompute: as
 * pass_recompute. */
int model_overlaid(const struct model_config *c, const struct model_source *source, uint64_t n, bool recompute,
                   uint64_t *saved, struct error *err);
/* How many score heads model_open would give it. `c`: as model_check found it. */
uint32_t model_source_heads(const struct model_source *source, const struct model_config *c);

#endif
