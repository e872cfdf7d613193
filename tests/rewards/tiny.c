/* SPDX-License-Identifier: MIT */
#include "rewards/tiny.h"

#include "base/rng.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 64, WIDE = 32 };

struct pass_of {
    const struct model *m;
    const struct model_config *c;
    enum tiny_what what;
    double rate;
    uint64_t key;
};

static const float *weights(const struct model *m, const char *name) {
    for (size_t i = 0; i < model_params(m); i++)
        if (strcmp(model_param(m, i)->name, name) == 0)
            return model_param(m, i)->w.data;
    fprintf(stderr, "no parameter %s\n", name);
    exit(99);
}

/* out[rows] = W in */
static void multiply(const struct pass_of *p, const char *name, int rows, int cols, const double *in, double *out) {
    const float *w = weights(p->m, name);

    for (int r = 0; r < rows; r++) {
        out[r] = 0;
        for (int c = 0; c < cols; c++)
            out[r] += (double)w[r * cols + c] * in[c];
    }
}

static void norm(const struct pass_of *p, const char *name, const double *in, double *out) {
    const float *w = weights(p->m, name);
    const int h = (int)p->c->hidden;
    double sum = 0;

    for (int c = 0; c < h; c++)
        sum += in[c] * in[c];
    for (int c = 0; c < h; c++)
        out[c] = in[c] / sqrt(sum / h + (double)p->c->norm_eps) * (double)w[c];
}

/* Word `c` of the place: 0 the embedding, 1 attention, 2 MLP, 3 the head's input (one layer). */
static uint32_t word(const struct pass_of *p, uint32_t kind, uint32_t place, int position, int c) {
    uint32_t r[4];

    rng_block(p->key, kind, place, (uint32_t)position, (uint32_t)(c / 4), r);
    return r[c % 4];
}

static void drop(const struct pass_of *p, uint32_t place, int position, double *x) {
    if (p->what != TINY_DROP_ALL && !(p->what == TINY_DROP_HEAD && place == 3))
        return;
    for (int c = 0; c < p->c->hidden; c++)
        x[c] = word(p, 1, place, position, c) / 4294967296.0 < p->rate ? 0 : x[c] / (1 - p->rate);
}

/* A standard normal value: words 0 and 1 of a block give its first two, words 2 and 3 the others. */
static double normal(const struct pass_of *p, uint32_t place, int position, int c) {
    const int pair = c / 2 * 2;
    const double radius = sqrt(-2 * log((word(p, 2, place, position, pair) + 1.0) / 4294967296.0));
    const double angle = 2 * acos(-1) * word(p, 2, place, position, pair + 1) / 4294967296.0;

    return radius * (c % 2 ? sin(angle) : cos(angle));
}

static double rms_of(const double *x, int n) {
    double sum = 0;

    for (int c = 0; c < n; c++)
        sum += x[c] * x[c];
    return sqrt(sum / n);
}

static void rotate(const struct pass_of *p, int heads, int position, double *x) {
    const int d = (int)p->c->head_dim;

    for (int h = 0; h < heads; h++)
        for (int i = 0; i < d / 2; i++) {
            const double angle = position * pow((double)p->c->rope_theta, -2.0 * i / d);
            double *a = &x[h * d + i], *b = &x[h * d + i + d / 2], t = *a;

            *a = t * cos(angle) - *b * sin(angle);
            *b = *b * cos(angle) + t * sin(angle);
        }
}

static void attend(const struct pass_of *p, const double q[WIDE], double k[MOST][WIDE], double v[MOST][WIDE], int last,
                   double *out) {
    const int d = (int)p->c->head_dim, group = (int)(p->c->heads / p->c->kv_heads);

    for (int h = 0; h < p->c->heads; h++) {
        double e[MOST], sum = 0;

        for (int j = 0; j <= last; j++) {
            e[j] = 0;
            for (int c = 0; c < d; c++)
                e[j] += q[h * d + c] * k[j][h / group * d + c];
            e[j] = exp(e[j] / sqrt(d));
            sum += e[j];
        }
        for (int c = 0; c < d; c++) {
            out[h * d + c] = 0;
            for (int j = 0; j <= last; j++)
                out[h * d + c] += e[j] / sum * v[j][h / group * d + c];
        }
    }
}

static double read_head(const struct pass_of *p, const double *x, uint32_t head, int position) {
    const int h = (int)p->c->hidden;
    const float *w = weights(p->m, "score.weight") + head * h;
    double copy[WIDE], score = 0;

    for (int c = 0; c < h; c++)
        copy[c] = (double)w[c];
    if (p->what == TINY_NOISE_HEAD) {
        const double rms = rms_of(copy, h);

        for (int c = 0; c < h; c++)
            copy[c] += p->rate * rms * normal(p, 3 + head, position, c);
    }
    for (int c = 0; c < h; c++)
        score += copy[c] * x[c];
    return score;
}

double tiny_score(const struct model *m, const int32_t *ids, int n, uint32_t head, enum tiny_what what, double rate,
                  uint64_t key) {
    const struct pass_of p = {m, model_config(m), what, rate, key};
    const float *table = weights(m, "model.embed_tokens.weight");
    const int h = (int)p.c->hidden, width = (int)(p.c->heads * p.c->head_dim),
              kv = (int)(p.c->kv_heads * p.c->head_dim);
    static double x[MOST][WIDE], k[MOST][WIDE], v[MOST][WIDE];
    double q[WIDE], xn[WIDE], gate[WIDE], up[WIDE], out[WIDE], rms;

    for (int i = 0; i < n; i++) {
        for (int c = 0; c < h; c++)
            x[i][c] = (double)table[ids[i] * h + c];
        rms = rms_of(x[i], h);
        for (int c = 0; c < h && what == TINY_NOISE_EMBEDDING; c++)
            x[i][c] += rate * rms * normal(&p, 0, i, c);
        drop(&p, 0, i, x[i]);
        norm(&p, "model.layers.0.input_layernorm.weight", x[i], xn);
        multiply(&p, "model.layers.0.self_attn.q_proj.weight", width, h, xn, q);
        multiply(&p, "model.layers.0.self_attn.k_proj.weight", kv, h, xn, k[i]);
        multiply(&p, "model.layers.0.self_attn.v_proj.weight", kv, h, xn, v[i]);
        rotate(&p, (int)p.c->heads, i, q);
        rotate(&p, (int)p.c->kv_heads, i, k[i]);
        attend(&p, q, k, v, i, gate);
        multiply(&p, "model.layers.0.self_attn.o_proj.weight", h, width, gate, out);
        drop(&p, 1, i, out);
        for (int c = 0; c < h; c++)
            x[i][c] += out[c];
        norm(&p, "model.layers.0.post_attention_layernorm.weight", x[i], xn);
        multiply(&p, "model.layers.0.mlp.gate_proj.weight", (int)p.c->intermediate, h, xn, gate);
        multiply(&p, "model.layers.0.mlp.up_proj.weight", (int)p.c->intermediate, h, xn, up);
        for (int c = 0; c < p.c->intermediate; c++)
            gate[c] = gate[c] / (1 + exp(-gate[c])) * up[c];
        multiply(&p, "model.layers.0.mlp.down_proj.weight", h, (int)p.c->intermediate, gate, out);
        drop(&p, 2, i, out);
        for (int c = 0; c < h; c++)
            x[i][c] += out[c];
    }
    norm(&p, "model.norm.weight", x[n - 1], xn);
    drop(&p, 3, n - 1, xn);
    return read_head(&p, xn, head, n - 1);
}
