/* SPDX-License-Identifier: MIT
 *
 * A backend made of the reference kernels that breaks one promise at a time: rein-conform must find each.
 */
#include "ref/kernels.h"
#include "ref/ref.h"

#include <float.h>
#include <math.h>
#include <rein/host.h>
#include <rein/plugin.h>
#include <stdlib.h>

enum { NONE, ACCURACY, BETA, GENERATION, OUTSIDE, INPUT, RANDOM, WINDOW, PREFIX, ENTROPY, ROUNDING, BANNED, THREADS,
       ORDER, ALIAS, UNSUPPORTED, LEAK, CLEARS, SWALLOWS, WRAPS, SULKS, LIES, STUCK, STATUS, MASK, SHARE, PLACE, NOISE };
static const char *const choices[] = {"none",   "accuracy", "beta",     "generation", "outside", "input",
                                      "random", "window",   "prefix",   "entropy",    "rounding", "banned",
                                      "threads", "order",   "alias",    "unsupported", "leak",   "clears",
                                      "swallows", "wraps",  "sulks",    "lies",       "stuck",   "status",
                                      "mask",   "share",    "place",    "noise",      NULL};

struct config {
    int64_t wrong;
};

struct device {
    const struct rein_host *host;
    int64_t wrong;
    uint32_t threads, calls;
    void *work; /* of LIES, STUCK and STATUS */
    int refused;
};

static const struct rein_param params[] = {
    {.name = "wrong", .type = REIN_PARAM_CHOICE, .offset = offsetof(struct config, wrong), .dflt = "none",
     .choices = choices, .min = 1, .max = 0, .doc = "What to get wrong."},
    {.name = NULL},
};

static const struct rein_backend_ops *ref_ops(void) {
    return ref_plugin.ops;
}

static rein_status wrong_open(const struct rein_host *host, const void *config, const struct rein_open *how,
                              void **dev) {
    struct device *d;

    if (how->device != 0)
        return host->fail(host->ctx, REIN_ERR_ARG, "there is only device 0");
    d = host->alloc(host->ctx, sizeof(*d));
    if (!d)
        return host->fail(host->ctx, REIN_ERR_NOMEM, "out of memory");
    *d = (struct device){.host = host, .wrong = ((const struct config *)config)->wrong, .threads = how->threads};
    *dev = d;
    return REIN_OK;
}

static void wrong_close(void *dev) {
    struct device *d = dev;

    d->host->free(d->host->ctx, d->work);
    if (d->wrong != LEAK)
        d->host->free(d->host->ctx, d);
}

static rein_status wrong_alloc(void *dev, size_t bytes, void **ptr) {
    struct device *d = dev;

    if (d->wrong == WRAPS)
        bytes = (bytes + 63) / 64 * 64;
    if (d->wrong == SULKS && bytes > SIZE_MAX / 4)
        d->refused = 1;
    if (d->refused)
        return REIN_ERR_NOMEM;
    return ref_ops()->alloc((void *)(uintptr_t)((struct device *)dev)->host, bytes, ptr);
}
static void wrong_free(void *dev, void *ptr) {
    ref_ops()->free((void *)(uintptr_t)((struct device *)dev)->host, ptr);
}
static rein_status wrong_copy(void *dev, void *dst, const void *src, size_t bytes, uint32_t direction) {
    return ref_ops()->copy(dev, dst, src, bytes, direction);
}
static rein_status wrong_fill(void *dev, void *ptr, uint8_t byte, size_t bytes) {
    return ref_ops()->fill(dev, ptr, byte, bytes);
}
static rein_status wrong_sync(void *dev) {
    (void)dev;
    return REIN_OK;
}
static const char *wrong_describe(void *dev) {
    return choices[((struct device *)dev)->wrong];
}

/* Keeps the values of the first generation it sees. */
static rein_status stale_linear(struct device *d, const struct rein_linear *a) {
    struct rein_weight *w = a->w, old = *w;
    struct rein_linear b = *a;
    size_t bytes = (size_t)(w->rows * w->ld) * (w->dtype == REIN_F32 ? 4 : 2);

    if (bytes == 0 || w->rows == 0)
        return ref_linear(d, a);
    if (!w->backend_cache) {
        bytes -= (size_t)(w->ld - w->cols) * (w->dtype == REIN_F32 ? 4 : 2);
        w->backend_cache = d->host->alloc(d->host->ctx, bytes);
        if (!w->backend_cache)
            return REIN_ERR_NOMEM;
        memcpy(w->backend_cache, w->data, bytes);
    }
    old.data = w->backend_cache;
    b.w = &old;
    return ref_linear(d, &b);
}

static void wrong_release(void *dev, struct rein_weight *w) {
    wrong_free(dev, w->backend_cache);
    w->backend_cache = NULL;
}

static rein_status wrong_linear(void *dev, const struct rein_linear *a) {
    struct device *d = dev;
    struct rein_linear b = *a;
    rein_status rc;

    if (d->wrong == GENERATION)
        return stale_linear(d, a);
    if (d->wrong == LIES || d->wrong == STUCK || d->wrong == STATUS) {
        if (!d->work && !d->refused)
            d->work = d->host->alloc(d->host->ctx, 64);
        d->refused = d->wrong == STUCK && !d->work;
        if (!d->work)
            return d->wrong == LIES ? REIN_OK : d->wrong == STUCK ? REIN_ERR_NOMEM : REIN_ERR_INTERNAL;
    }
    if (d->wrong == BETA)
        b.beta = 1;
    rc = ref_linear(dev, &b);
    if (d->wrong == ACCURACY)
        for (int64_t i = 0; i < a->m; i++)
            for (int64_t j = 0; j < a->w->rows; j++)
                a->y[i * a->ldy + j] *= 1.0001f;
    if (d->wrong == THREADS && d->threads == 2 && a->m > 1 && a->w->rows > 0)
        a->y[a->ldy] += 0.5f;
    return rc;
}

static rein_status wrong_norm(void *dev, const struct rein_norm *a) {
    struct device *d = dev;

    if (d->wrong == ALIAS && a->y == a->x) /* writes y before it has read all of x */
        for (int64_t i = 0; i < a->n; i++)
            a->y[i * a->ldy] = 0;
    return ref_norm(dev, a);
}

static rein_status wrong_axpy(void *dev, const struct rein_axpy *a) {
    struct device *d = dev;
    rein_status rc = ref_axpy(dev, a);

    for (int64_t i = 0; i < a->n * a->cols && (d->wrong == CLEARS || d->wrong == SWALLOWS); i++) {
        float *y = &a->y[i / a->cols * a->ldy + i % a->cols];
        if (isnan(*y) || (isinf(*y) && d->wrong == CLEARS))
            *y = d->wrong == CLEARS ? 0 : FLT_MAX;
    }
    if (d->wrong == OUTSIDE && a->n > 0)
        a->y[(a->n - 1) * a->ldy + a->cols] = 0;
    if (d->wrong == INPUT && a->x && a->n > 0)
        ((float *)(uintptr_t)a->x)[0] = 0;
    if (d->wrong == RANDOM && a->n > 0)
        a->y[0] += (float)(d->calls++ % 2) * 1e-7f;
    return rc;
}

static rein_status wrong_attention(void *dev, const struct rein_attention *a) {
    struct device *d = dev;
    struct rein_attention b = *a;
    struct rein_segment *s;
    rein_status rc;

    if (d->wrong == WINDOW)
        b.window = 0;
    if (d->wrong != PREFIX || a->nsegments == 0)
        return ref_attention(dev, &b);
    s = malloc(a->nsegments * sizeof(*s));
    if (!s)
        return REIN_ERR_NOMEM;
    for (uint32_t i = 0; i < a->nsegments; i++) {
        s[i] = a->segments[i];
        s[i].prefix_rows = 0;
    }
    b.segments = s;
    rc = ref_attention(dev, &b);
    free(s);
    return rc;
}

static rein_status wrong_head_dx(void *dev, const struct rein_head_dx *a) {
    struct rein_head_dx b = *a;

    if (((struct device *)dev)->wrong == ENTROPY)
        b.d_entropy = NULL;
    return ref_head_dx(dev, &b);
}

static rein_status wrong_sample(void *dev, const struct rein_sample *a) {
    struct rein_sample b = *a;

    if (((struct device *)dev)->wrong == BANNED)
        b.banned = NULL;
    return ref_sample(dev, &b);
}

static rein_status wrong_gather(void *dev, const struct rein_gather *a) {
    struct device *d = dev;

    if (d->wrong == UNSUPPORTED)
        return REIN_ERR_UNSUPPORTED;
    if (d->wrong == ORDER && !a->scatter)
        for (int64_t i = 0; i < a->n; i++)
            for (int64_t c = 0; c < a->cols; c++)
                a->out[i * a->ldout + c] = a->x[a->rows[a->n - 1 - i] * a->ldx + c];
    else
        return ref_gather(dev, a);
    return REIN_OK;
}

static rein_status wrong_cast(void *dev, const struct rein_cast *a) {
    struct device *d = dev;

    if (d->wrong != ROUNDING || a->from != REIN_F32 || a->to != REIN_BF16)
        return ref_cast(dev, a);
    for (int64_t i = 0; i < a->n; i++)
        ((uint16_t *)a->y)[i] = (uint16_t)(rein_float_bits(((const float *)a->x)[i]) >> 16);
    return REIN_OK;
}

static rein_status wrong_perturb(void *dev, const struct rein_perturb *a) {
    struct device *d = dev;
    struct rein_perturb b = *a;
    int32_t *zeroes;
    rein_status rc;

    if (d->wrong == MASK) /* another mask each time */
        b.site += d->calls++;
    if (d->wrong == SHARE)
        b.rate *= 0.9;
    if (d->wrong == NOISE)
        b.rate *= a->kind == REIN_PERTURB_NOISE ? 1.2 : 1;
    if (d->wrong != PLACE)
        return ref_perturb(dev, &b);
    zeroes = calloc((size_t)a->n + 1, sizeof(*zeroes));
    if (!zeroes)
        return REIN_ERR_NOMEM;
    b.positions = zeroes;
    rc = ref_perturb(dev, &b);
    free(zeroes);
    return rc;
}

/* The slots left empty are the reference's. */
static const struct rein_kernels kernels = {
    .size = sizeof(kernels),
    .linear = wrong_linear,
    .norm = wrong_norm,
    .attention = wrong_attention,
    .head_dx = wrong_head_dx,
    .sample = wrong_sample,
    .axpy = wrong_axpy,
    .gather = wrong_gather,
    .cast = wrong_cast,
    .perturb = wrong_perturb,
};

static rein_status wrong_probe(struct rein_probe *out) {
    return ref_ops()->probe(out);
}

static const struct rein_backend_ops ops = {
    .size = sizeof(ops), .flags = REIN_MEMORY_HOST, .probe = wrong_probe, .open = wrong_open, .close = wrong_close,
    .alloc = wrong_alloc, .free = wrong_free, .copy = wrong_copy, .fill = wrong_fill, .sync = wrong_sync,
    .weight_release = wrong_release, .kernels = &kernels, .describe = wrong_describe,
};

static const struct rein_plugin plugin = {
    .size = sizeof(plugin), .abi = REIN_ABI_VERSION, .kind = REIN_KIND_BACKEND, .name = "wrong", .version = "0.1.0",
    .license = "MIT", .summary = "Breaks one promise at a time.", .params = params,
    .param_stride = sizeof(struct rein_param), .config_size = sizeof(struct config), .ops = &ops,
};

const struct rein_plugin *rein_plugin_entry(uint32_t index) {
    return index == 0 ? &plugin : NULL;
}
