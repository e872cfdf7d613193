/* SPDX-License-Identifier: MIT */
#include "model/lora.h"

#include "base/mem.h"
#include "base/rng.h"
#include "base/suggest.h"
#include "model/param.h"
#include "model/peft.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const enum tensor_role linear_roles[] = {TENSOR_Q,    TENSOR_K,  TENSOR_V,   TENSOR_O,
                                                TENSOR_GATE, TENSOR_UP, TENSOR_DOWN};
enum { LINEAR_ROLES = sizeof(linear_roles) / sizeof(linear_roles[0]) };

/* PEFT's rule: the whole name, or its end after a dot. */
static bool is_target(const char *module, const char *target) {
    const size_t a = strlen(module), b = strlen(target);

    return b <= a && strcmp(module + a - b, target) == 0 && (a == b || module[a - b - 1] == '.');
}

static bool all_linear(const struct lora_options *o) {
    const char *const *names = o->targets.items;

    return o->targets.count == 0 || (o->targets.count == 1 && strcmp(names[0], "all-linear") == 0);
}

static bool is_wanted(const struct lora_options *o, const char *module) {
    const char *const *names = o->targets.items;

    if (all_linear(o))
        return true;
    for (size_t i = 0; i < o->targets.count; i++)
        if (is_target(module, names[i]))
            return true;
    return false;
}

/* Does a family's decoder have this layer? */
static bool has_role(const struct model_family *f, enum tensor_role role) {
    return role != TENSOR_GATE || f->gated;
}

static void module_name(const struct model_config *c, enum tensor_role role, long layer, char *out, size_t size) {
    char *end;

    family_tensor(c->family, role, layer, "weight", out, size);
    end = strrchr(out, '.');
    if (end)
        *end = '\0';
}

/* Every target must be somebody. */
static int check_target(const char *target, const struct model_config *c, struct error *err) {
    struct suggestion near = {0};
    char name[LINEAR_ROLES][128], hint[128], list[160] = ""; /* names: what is near is pointed at */

    for (size_t r = 0; r < LINEAR_ROLES; r++) {
        const enum tensor_role role = linear_roles[r];
        const char *leaf;

        if (!has_role(c->family, role))
            continue;
        for (long i = 0; i < (long)c->layers; i++) {
            module_name(c, role, i, name[r], sizeof(name[r]));
            if (is_target(name[r], target))
                return 0;
        }
        leaf = strrchr(name[r], '.') + 1;
        suggest_offer(&near, target, leaf);
        if (!strstr(list, leaf))
            snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%s", *list ? ", " : "", leaf);
    }
    if (strcmp(target, "all-linear") == 0)
        return error_input(err, "lora.targets: 'all-linear' stands alone");
    if (near.best)
        return error_input(err, "lora.targets: a %s model has no linear layer '%.60s'%s", c->family->name, target,
                           suggest_text(&near, hint, sizeof(hint)));
    return error_input(err, "lora.targets: '%.60s' is no linear layer of a %s model's decoder: those are %s", target,
                       c->family->name, list);
}

int lora_check(const struct lora_options *o, const struct model_config *c, struct error *err) {
    const int64_t q = c->heads * c->head_dim, most = c->hidden > q ? c->hidden : q;
    const char *const *names = o->targets.items;

    if (o->rank > most)
        return error_input(err, "lora.rank: %lld is more than the model's width of %lld", (long long)o->rank,
                           (long long)most);
    if (o->alpha == 0)
        return error_input(err, "lora.alpha: with 0 the adapter adds nothing and learns nothing");
    for (size_t i = 0; !all_linear(o) && i < o->targets.count; i++)
        if (check_target(names[i], c, err))
            return -1;
    return 0;
}

uint64_t lora_parameters(const struct lora_options *o, const struct model_config *c) {
    const int64_t q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim, h = c->hidden, m = c->intermediate;
    const int64_t in[] = {h, h, h, q, h, h, m}, out[] = {q, kv, kv, h, m, m, h};
    char name[128];
    uint64_t sum = 0;

    for (long i = 0; i < (long)c->layers; i++)
        for (size_t r = 0; r < LINEAR_ROLES; r++) {
            const bool again = c->family->fused_qkv && (linear_roles[r] == TENSOR_K || linear_roles[r] == TENSOR_V);

            if (!has_role(c->family, linear_roles[r]))
                continue;
            module_name(c, linear_roles[r], i, name, sizeof(name));
            if (is_wanted(o, name))
                sum += (uint64_t)o->rank * (uint64_t)((again ? 0 : in[r]) + out[r]);
        }
    return sum;
}

/* ---- which there are ---------------------------------------------------- */

void lora_release(struct lora *l) {
    if (!l || --l->references > 0)
        return;
    for (size_t i = 0; i < l->nparams; i++)
        param_free(l->backend, l->params[i]);
    if (l->backend)
        backend_free(l->backend, l->scratch);
    json_decref(l->config);
    free(l->base);
    free(l->params);
    free(l->pairs);
    free(l);
}

void lora_leave(struct lora *l, struct trunk *t) {
    if (l && l->references == 1 && t->lora == l)
        lora_use(t, NULL, NULL, NULL);
    lora_release(l);
}

static struct lora *create(const struct trunk *t, struct error *err) {
    struct lora *l = mem_zeros(1, sizeof(*l));

    if (l) {
        l->references = 1;
        l->backend = t->backend;
        l->npairs = t->nparams;
        l->lowest = (int64_t)t->nlayers;
        l->pairs = mem_zeros(t->nparams, sizeof(*l->pairs));
        l->base = mem_strdup(t->path);
    }
    if (l && l->pairs && l->base)
        return l;
    lora_release(l);
    error_nomem(err, "adapter");
    return NULL;
}

static void set_scale(struct lora *l) {
    l->scale = (float)(l->alpha / (l->rslora ? sqrt((double)l->rank) : (double)l->rank));
}

/* `name`: in messages and checkpoints; `tensor`: in PEFT's file. */
static struct model_param *add(struct lora *l, const char *name, const char *tensor, int64_t rows, int64_t cols,
                               struct error *err) {
    struct model_param *p;

    if (mem_grow((void **)&l->params, &l->capacity, l->nparams + 1, sizeof(struct model_param *))) {
        error_nomem(err, name);
        return NULL;
    }
    p = param_create(name, rows, cols, true, err);
    if (!p)
        return NULL;
    l->params[l->nparams++] = p;
    free(p->place.tensor);
    p->place.tensor = mem_strdup(tensor);
    if (p->place.tensor)
        return p;
    error_nomem(err, name);
    return NULL;
}

static bool same_tensor(const struct model_param *a, const struct model_param *b) {
    return strcmp(a->place.tensor, b->place.tensor) == 0;
}

/* The pair of parameter `i`. `module`: the layer's name, `key`: as the file begins its tensors' names. */
static int add_pair(struct lora *l, const struct trunk *t, size_t i, const char *module, const char *key,
                    struct error *err) {
    const struct model_param *w = t->params[i], *before = i ? t->params[i - 1] : NULL;
    struct lora_pair *pair = &l->pairs[i];
    char name[PEFT_NAME + 32], tensor[PEFT_NAME + 32];
    const size_t stem = strlen(w->name) - strlen(".weight");

    if (before && same_tensor(before, w))
        pair->a = l->pairs[i - 1].a;
    if (!pair->a) {
        snprintf(name, sizeof(name), "%s.lora_A", module);
        snprintf(tensor, sizeof(tensor), "%s.lora_A.weight", key);
        if ((pair->a = add(l, name, tensor, l->rank, w->w.cols, err)) == NULL)
            return -1;
    }
    snprintf(name, sizeof(name), "%.*s.lora_B", (int)stem, w->name);
    snprintf(tensor, sizeof(tensor), "%s.lora_B.weight", key);
    if ((pair->b = add(l, name, tensor, w->w.rows, l->rank, err)) == NULL)
        return -1;
    pair->b->place.first = w->place.first;
    pair->b->place.rows = w->place.rows;
    l->lowest = w->layer < l->lowest ? w->layer : l->lowest;
    l->widest = w->w.cols > l->widest ? w->w.cols : l->widest;
    return 0;
}

/* A matrix inside a layer. */
static bool is_linear(const struct trunk *t, const struct model_param *p) {
    return p->decay && p != t->embedding && p != t->positions && p != t->lm_head;
}

static void module_of(const struct model_param *p, char *out, size_t size) {
    snprintf(out, size, "%.*s", (int)(strlen(p->place.tensor) - strlen(".weight")), p->place.tensor);
}

int lora_plan(const struct trunk *t, const struct lora_options *o, struct lora **out, struct error *err) {
    struct lora *l;
    char module[PEFT_MODULE], key[PEFT_NAME];

    *out = NULL;
    if (lora_check(o, &t->config, err) || (l = create(t, err)) == NULL)
        return -1;
    l->rank = o->rank;
    l->alpha = o->alpha;
    l->rslora = o->rslora;
    set_scale(l);
    for (size_t i = 0; i < t->nparams; i++) {
        if (!is_linear(t, t->params[i]))
            continue;
        module_of(t->params[i], module, sizeof(module));
        snprintf(key, sizeof(key), PEFT_PREFIX "%s", module);
        if (is_wanted(o, module) && add_pair(l, t, i, module, key, err))
            goto fail;
    }
    l->config = peft_new_config(l, o, t->config.family->transposed);
    if (l->config) {
        *out = l;
        return 0;
    }
    error_nomem(err, "adapter");
fail:
    lora_release(l);
    return -1;
}

int lora_plan_file(const struct trunk *t, struct peft *file, struct lora **out, struct error *err) {
    struct lora *l = create(t, err);
    char module[PEFT_MODULE], key[PEFT_NAME];

    *out = NULL;
    if (!l)
        return -1;
    l->rank = file->rank;
    l->alpha = file->alpha;
    l->rslora = file->rslora;
    l->config = json_incref(file->config);
    set_scale(l);
    for (size_t i = 0; i < t->nparams; i++) {
        if (!is_linear(t, t->params[i]))
            continue;
        module_of(t->params[i], module, sizeof(module));
        if (peft_find(file, t->config.family->names->prefix, module, key, sizeof(key)) &&
            add_pair(l, t, i, module, key, err))
            goto fail;
    }
    if (peft_check(file, l, t, err))
        goto fail;
    *out = l;
    return 0;
fail:
    lora_release(l);
    return -1;
}

/* ---- values ------------------------------------------------------------- */

static bool is_a(const struct lora *l, const struct model_param *p) {
    return p->w.rows == l->rank && strcmp(p->name + strlen(p->name) - 2, "_A") == 0;
}

/* torch's kaiming_uniform_ with a = sqrt(5): within 1 / sqrt(inputs). */
static int draw_a(struct backend *b, struct model_param *p, uint64_t seed, uint32_t number, struct error *err) {
    const size_t count = (size_t)param_count(p);
    const double bound = 1.0 / sqrt((double)p->w.cols);
    float *x = mem_array(count, sizeof(*x));
    int rc;

    if (!x)
        return error_nomem(err, p->name);
    for (size_t i = 0; i < count; i++)
        x[i] = (float)(bound * (2 * rng_uniform(seed, RNG_ADAPTER, number, (uint32_t)(i / (size_t)p->w.cols),
                                                (uint32_t)(i % (size_t)p->w.cols)) - 1));
    rc = backend_upload(b, p->w.data, x, count * sizeof(*x), err) || backend_sync(b, err) ? -1 : 0;
    free(x);
    return rc;
}

int lora_draw(struct lora *l, struct backend *b, uint64_t seed, struct error *err) {
    l->trainable = true;
    for (size_t i = 0; i < l->nparams; i++) {
        struct model_param *p = l->params[i];

        if (param_allocate(b, p, true, err) ||
            (is_a(l, p) ? draw_a(b, p, seed, (uint32_t)i, err)
                        : backend_zero(b, p->w.data, (size_t)param_count(p) * sizeof(float), err)))
            return -1;
    }
    return backend_sync(b, err);
}

int lora_read(struct lora *l, struct backend *b, const struct peft *file, bool trainable, struct error *err) {
    l->trainable = trainable;
    for (size_t i = 0; i < l->nparams; i++) {
        struct model_param *p = l->params[i];

        p->file_dtype = tensors_find(file->tensors, p->place.tensor)->dtype;
        if (param_allocate(b, p, trainable, err) || param_read(b, p, file->tensors, err))
            return -1;
    }
    return backend_sync(b, err);
}

int lora_merge(const struct lora *l, size_t index, float *values, struct error *err) {
    const struct lora_pair *pair = &l->pairs[index];
    float *a, *b;
    double *row;
    int rc = -1;

    if (!pair->a)
        return 0;
    a = param_values(l->backend, pair->a, err);
    b = a ? param_values(l->backend, pair->b, err) : NULL;
    row = mem_array((size_t)pair->a->w.cols, sizeof(*row));
    if (a && b && !row)
        error_nomem(err, pair->b->name);
    else if (a && b) {
        const int64_t cols = pair->a->w.cols;

        for (int64_t r = 0; r < pair->b->w.rows; r++) {
            for (int64_t c = 0; c < cols; c++)
                row[c] = 0;
            for (int64_t k = 0; k < l->rank; k++)
                for (int64_t c = 0; c < cols; c++)
                    row[c] += (double)b[r * l->rank + k] * (double)a[k * cols + c];
            for (int64_t c = 0; c < cols; c++)
                values[r * cols + c] = (float)((double)values[r * cols + c] + (double)l->scale * row[c]);
        }
        rc = 0;
    }
    free(a);
    free(b);
    free(row);
    return rc;
}
