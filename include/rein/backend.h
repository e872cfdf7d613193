/* rein/backend.h - memory and kernels of one kind of device.
 * SPDX-License-Identifier: MIT
 *
 * WHERE THINGS LIVE. "Device" arrays come from alloc(). Arrays tagged [host] are in host
 * memory and stay unchanged until the next sync(). On a backend with
 * REIN_MEMORY_HOST the two are the same kind of memory and the host passes either.
 *
 * ORDER. Calls on one instance are executed in the order submitted; sync() waits and
 * reports an error that happened since the last one. Only copy() from the device
 * and the [host] outputs of kernels are complete after sync(). A call that fails
 * leaves those before it under way: their [host] memory stays until sync(), after
 * which nothing more is written there, even if it fails.
 *
 * SHAPES. Matrices are row-major; `ld` is the distance between rows in elements.
 * Rows are tokens: n tokens of all sequences one after the other, no padding.
 * Any count may be 0: then nothing is read or written. Activations, gradients and
 * optimiser state are float32; weights have a dtype.
 *
 * DETERMINISM. The same call on the same instance gives the same bits (no atomics).
 *
 * Every kernel takes (void *dev, const struct rein_<kernel> *args), args->size set by
 * the host, and returns REIN_ERR_UNSUPPORTED for a dtype or shape it does not do.
 */
#ifndef REIN_BACKEND_H
#define REIN_BACKEND_H

#include "host.h"
#include "perturb.h"
#include "plugin.h"

/* Element types. Values are fixed. */
#define REIN_F32  1u
#define REIN_F16  2u
#define REIN_BF16 3u

/* A matrix W [rows][cols] that the host keeps for long: y = x W^T maps cols inputs to rows
 * outputs (the layout of Hugging Face files). `generation` grows whenever the values
 * change, so that a backend can keep a packed copy in `backend_cache` (NULL at first;
 * the backend's own; given back through weight_release). */
struct rein_weight {
    uint32_t size;
    uint32_t dtype;
    int64_t rows, cols, ld;
    void *data;              /* device */
    uint64_t generation;
    void *backend_cache;
};

/* y[m][rows] = beta*y + x[m][cols] W^T + bias */
struct rein_linear {
    uint32_t size, reserved;
    struct rein_weight *w;
    int64_t m, ldx, ldy;
    const float *x;
    const float *bias;       /* [rows] or NULL */
    float *y;
    float beta;              /* 0 or 1; with 0 y is not read */
    uint32_t reserved2;
};
/* dx[m][cols] = beta*dx + dy[m][rows] W */
struct rein_linear_dx {
    uint32_t size, reserved;
    struct rein_weight *w;
    int64_t m, lddy, lddx;
    const float *dy;
    float *dx;
    float beta;
    uint32_t reserved2;
};
/* dw[rows][cols] += dy^T x ; dbias[rows] += column sums of dy; either may be NULL (frozen) */
struct rein_linear_dw {
    uint32_t size, reserved;
    int64_t m, rows, cols, lddy, ldx, lddw;
    const float *dy, *x;
    float *dw, *dbias;       /* with dw NULL, x is not read */
};

/* out[n][cols] = scale * W[ids[i]] */
struct rein_embedding {
    uint32_t size, reserved;
    struct rein_weight *w;   /* [vocabulary][cols] */
    int64_t n, ldout;
    const int32_t *ids;      /* [host] [n], each inside the vocabulary (checked by the host) */
    float *out;
    float scale;
    uint32_t reserved2;
};
/* dw[ids[i]] += scale * dout[i], in the order of i for each row */
struct rein_embedding_dw {
    uint32_t size, reserved;
    int64_t n, cols, vocabulary, lddout, lddw;
    const int32_t *ids;      /* [host] */
    const float *dout;
    float *dw;
    float scale;
    uint32_t reserved2;
};

#define REIN_NORM_RMS   0u   /* y = x / sqrt(mean(x^2) + eps) * (weight + offset) */
#define REIN_NORM_LAYER 1u   /* y = (x - mean) / sqrt(var + eps) * weight + bias */
struct rein_norm {
    uint32_t size, kind;
    int64_t n, cols, ldx, ldy;
    const float *x, *weight, *bias; /* bias: layer norm only, or NULL */
    float *y;                /* may be x */
    float *rstd, *mean;      /* [n] kept for backward; NULL when not wanted; mean: layer norm only */
    float eps, offset;       /* offset: 1 for Gemma, else 0 */
};
/* dx[n][cols] = beta*dx + gradient; dweight, dbias += (either may be NULL) */
struct rein_norm_dx {
    uint32_t size, kind;
    int64_t n, cols, ldx, lddy, lddx;
    const float *x, *weight, *rstd, *mean, *dy;
    float *dx;               /* may be dy when beta == 0 */
    float *dweight, *dbias;
    float beta, offset;
};

/* Rotates each head's halves (x[i], x[i + d/2]) by the angle position * frequency[i], that product rounded
 * to float32; the layout and rounding of Hugging Face. Backward is the same with direction = -1. */
struct rein_rope {
    uint32_t size;
    int32_t direction;       /* +1 or -1 */
    int64_t n, heads, head_dim, ldx;
    const int32_t *positions;  /* [host] [n] */
    const float *frequencies;  /* [host] [head_dim / 2], radians per position */
    float *x;                /* [n][heads * head_dim], in place */
    float scale;             /* multiplies cos and sin (attention factor of scaled ropes), else 1 */
    uint32_t reserved;
};

#define REIN_ACT_SILU      0u
#define REIN_ACT_GELU_TANH 1u
#define REIN_ACT_GELU      2u /* exact, with erf */
/* y = act(gate) * up, or act(gate) when up is NULL */
struct rein_activation {
    uint32_t size, kind;
    int64_t n, cols, ldgate, ldup, ldy;
    const float *gate, *up;
    float *y;
};
struct rein_activation_dx {
    uint32_t size, kind;
    int64_t n, cols, ldgate, ldup, lddy;
    const float *gate, *up, *dy;
    float *dgate, *dup;      /* same ld as gate and up; may be gate and up themselves */
};

/* Query rows q_begin .. +q_rows of one sequence see first all `prefix_rows` rows of k and v that
 * start at prefix_begin (a shared prompt, or none), then, causally, rows kv_begin .. +kv_rows:
 * query i sees kv rows 0 .. kv_rows - q_rows + i (kv_rows >= q_rows). So training is (q_rows == kv_rows), decoding with
 * a cache is (q_rows == 1), a chunk after a cache lies between. The query rows of a call's segments are disjoint, since
 * each has one result; keys may be shared. (The reference refuses others; what a backend computes then is not defined.) */
struct rein_segment {
    int32_t q_begin, q_rows;
    int32_t prefix_begin, prefix_rows;
    int32_t kv_begin, kv_rows;
};
/* out[q][h] = sum_j softmax_j(scale * q[h].k[j][h/(heads/kv_heads)]) v[j] */
struct rein_attention {
    uint32_t size;
    uint32_t nsegments;
    const struct rein_segment *segments; /* [host] */
    int64_t heads, kv_heads, head_dim;
    int64_t window;          /* a query sees at most the last `window` keys, itself included; 0: all */
    int64_t ldq, ldk, ldv, ldout;
    const float *q, *k, *v;  /* rows [heads|kv_heads][head_dim] */
    float *out;
    float *lse;              /* [q rows][heads] log-sum-exp, indexed by q row, for backward; or NULL */
    float scale;
    uint32_t reserved;
};
/* dq, dk, dv += (the caller zeroes them); the prefix gathers from all segments that share it */
struct rein_attention_dx {
    uint32_t size;
    uint32_t nsegments;
    const struct rein_segment *segments; /* [host] */
    int64_t heads, kv_heads, head_dim, window;
    int64_t ldq, ldk, ldv, ldout, lddq, lddk, lddv; /* dout has ldout */
    const float *q, *k, *v, *out, *lse, *dout;
    float *dq, *dk, *dv;
    float scale;
    uint32_t reserved;
};

/* The fused head. z = inv_temperature * (hidden[i] W^T + bias), never held for more than a chunk of rows.
 *   logp[i] = z[targets[i]] - lse[i];  lse[i] = log sum exp z;  entropy[i] = lse - sum softmax(z) z
 *   best[i] = argmax z (lowest index on ties; any index when the largest is not finite)
 * lse, entropy and best may be NULL. */
struct rein_head {
    uint32_t size, reserved;
    struct rein_weight *w;   /* [vocabulary][cols] */
    const float *bias;       /* [vocabulary] or NULL */
    int64_t n, ldh;
    const float *hidden;
    const int32_t *targets;  /* [host] [n]; < 0: this row has none, logp = 0 */
    float inv_temperature;
    uint32_t reserved2;
    float *logp, *lse, *entropy; /* device [n] */
    int32_t *best;               /* device [n] */
};
/* Recomputes z by chunks. With p = softmax(z): dz[j] = d_logp (1{j = target} - p_j)
 *   - d_entropy p_j (log p_j + entropy); times inv_temperature.
 * dhidden = beta*dhidden + dz W; dw += dz^T hidden. */
struct rein_head_dx {
    uint32_t size, reserved;
    struct rein_weight *w;
    const float *bias;
    int64_t n, ldh, lddh, lddw;
    const float *hidden;
    const int32_t *targets;  /* [host]; < 0: d_logp of the row counts as 0 */
    float inv_temperature, beta;
    const float *lse, *entropy;     /* as head wrote them; entropy only with d_entropy */
    const float *d_logp, *d_entropy; /* device [n]; d_entropy may be NULL */
    float *dhidden;          /* may be NULL */
    float *dw, *dbias;       /* may be NULL */
};
/* Draws one token a row: z as above; leaves out what is banned, keeps the top_k largest (0: all), then the smallest
 * set whose share of the rest reaches top_p (1: all; at least one stays; lower index first on ties), renormalises,
 * and inverts the cumulative distribution in index order at u[i] in [0,1). temperature 0 is greedy: pass greedy = 1.
 * logp is that of the full distribution at the temperature, whatever top_k and top_p are. */
struct rein_sample {
    uint32_t size, greedy;
    struct rein_weight *w;
    const float *bias;
    int64_t n, ldh;
    const float *hidden;
    float inv_temperature, top_p;
    int64_t top_k;
    const double *u;         /* [host] [n] */
    const uint8_t *banned;   /* [host] [vocabulary] 1: never drawn (logp unaffected), or NULL */
    int32_t *ids;            /* device [n] */
    float *logp;             /* device [n] */
};

/* Fused AdamW (PyTorch's form). g is multiplied by grad_scale first; then
 * p -= lr*weight_decay*p; m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2;
 * p -= lr * (m / (1 - b1^step)) / (sqrt(v / (1 - b2^step)) + eps).
 * dtype is p's; with `master` (float32 [n]) the update is done there and p gets the rounded copy. */
struct rein_adamw {
    uint32_t size, dtype;
    int64_t n, step;         /* step counts from 1 */
    void *p;
    float *master;           /* NULL when p is float32 */
    const float *g;
    float *m, *v;
    double lr, beta1, beta2, eps, weight_decay, grad_scale;
};
/* *out = sum of squares, accumulated in float64, in an order fixed by n. */
struct rein_sum_squares {
    uint32_t size, reserved;
    int64_t n;
    const float *x;
    double *out;             /* [host], complete after sync() */
};
/* y = alpha*x + beta*y over [n][cols]; x may be NULL (then y = beta*y, beta 0 fills with zeros) */
struct rein_axpy {
    uint32_t size, reserved;
    int64_t n, cols, ldx, ldy;
    const float *x;
    float *y;
    float alpha, beta;
};
/* out[i] = x[rows[i]]; or, with scatter = 1, out[rows[i]] += x[i] (rows distinct) */
struct rein_gather {
    uint32_t size, scatter;
    int64_t n, cols, ldx, ldout;
    const int32_t *rows;     /* [host] [n] */
    const float *x;
    float *out;
};
/* Converts n elements; f32 to bf16/f16 rounds to nearest even. */
struct rein_cast {
    uint32_t size, reserved;
    uint32_t from, to;
    int64_t n;
    const void *x;
    void *y;
};

/* Dropout (inverted) or Gaussian noise on rows of activations. Element c of row i is decided by word c % 4 of
 * rein_philox(keys[i], c / 4, positions[i], site, kind), whatever else is in the call:
 *   dropout  y = 0 where word < rein_dropout_below(rate), else x * rein_dropout_scale(rate)
 *   noise    y = x + rate * rms(x[i]) * z, z from the four words by rein_normals
 * With dy for x it is dropout's backward pass: the mask is drawn again. (rein/perturb.h) */
struct rein_perturb {
    uint32_t size, kind;     /* REIN_PERTURB_DROPOUT or REIN_PERTURB_NOISE */
    int64_t n, cols, ldx, ldy;
    const uint64_t *keys;    /* [host] [n] */
    const int32_t *positions; /* [host] [n] */
    double rate;             /* dropout: in [0, 1); noise: at least 0 */
    uint32_t site, reserved;
    const float *x;
    float *y;                /* may be x */
};

/* A NULL slot, or one past `size`, means "not provided". On host-memory backends the
 * host then runs its reference kernel and says so once; device backends fill all. */
struct rein_kernels {
    uint32_t size, reserved;
    rein_status (*linear)(void *dev, const struct rein_linear *a);
    rein_status (*linear_dx)(void *dev, const struct rein_linear_dx *a);
    rein_status (*linear_dw)(void *dev, const struct rein_linear_dw *a);
    rein_status (*embedding)(void *dev, const struct rein_embedding *a);
    rein_status (*embedding_dw)(void *dev, const struct rein_embedding_dw *a);
    rein_status (*norm)(void *dev, const struct rein_norm *a);
    rein_status (*norm_dx)(void *dev, const struct rein_norm_dx *a);
    rein_status (*rope)(void *dev, const struct rein_rope *a);
    rein_status (*activation)(void *dev, const struct rein_activation *a);
    rein_status (*activation_dx)(void *dev, const struct rein_activation_dx *a);
    rein_status (*attention)(void *dev, const struct rein_attention *a);
    rein_status (*attention_dx)(void *dev, const struct rein_attention_dx *a);
    rein_status (*head)(void *dev, const struct rein_head *a);
    rein_status (*head_dx)(void *dev, const struct rein_head_dx *a);
    rein_status (*sample)(void *dev, const struct rein_sample *a);
    rein_status (*adamw)(void *dev, const struct rein_adamw *a);
    rein_status (*sum_squares)(void *dev, const struct rein_sum_squares *a);
    rein_status (*axpy)(void *dev, const struct rein_axpy *a);
    rein_status (*gather)(void *dev, const struct rein_gather *a);
    rein_status (*cast)(void *dev, const struct rein_cast *a);
    rein_status (*perturb)(void *dev, const struct rein_perturb *a);
};

struct rein_probe {
    uint32_t size;
    uint32_t score;          /* 0 = cannot run here; the highest wins for backend: auto (ref 1, cpu-blas 50, cuda 100) */
    uint32_t devices;
    char reason[252];        /* why the score is what it is, for `rein plugins` */
};

#define REIN_MEMORY_HOST (1u << 0) /* flags: device pointers can be read by the CPU */

/* How a backend is opened, beyond its own options. */
struct rein_open {
    uint32_t size;
    uint32_t device;         /* 0 .. probe.devices - 1 */
    uint32_t threads;        /* CPU threads; 0: the backend decides */
    uint32_t reserved;
};

#define REIN_COPY_TO_DEVICE   1u
#define REIN_COPY_FROM_DEVICE 2u
#define REIN_COPY_ON_DEVICE   3u

struct rein_backend_ops {
    uint32_t size;
    uint32_t flags;          /* REIN_MEMORY_* */
    rein_status (*probe)(struct rein_probe *out); /* must not abort or leak; no host call. [main] */
    rein_status (*open)(const struct rein_host *host, const void *config, const struct rein_open *how, void **dev); /* [main] */
    void (*close)(void *dev);                                                  /* [main] */
    /* 64-byte aligned; at least `bytes`. [instance], like all below */
    rein_status (*alloc)(void *dev, size_t bytes, void **ptr);
    void (*free)(void *dev, void *ptr);
    /* dst and src do not overlap */
    rein_status (*copy)(void *dev, void *dst, const void *src, size_t bytes, uint32_t direction);
    rein_status (*fill)(void *dev, void *ptr, uint8_t byte, size_t bytes);
    rein_status (*sync)(void *dev);
    void (*weight_release)(void *dev, struct rein_weight *w); /* drops backend_cache; may be NULL */
    const struct rein_kernels *kernels;
    /* One line about the instance (threads, ISA level, library) for logs and bench. Instance-owned text. */
    const char *(*describe)(void *dev);
};

#endif
