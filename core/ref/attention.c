/* SPDX-License-Identifier: MIT */
#include "ref/kernels.h"

#include <math.h>
#include <stdlib.h>

/* A query's keys are numbered prefix first: position p < prefix_rows is row prefix_begin + p, the rest
 * lie at kv_begin. Query i stands at position prefix_rows + kv_rows - q_rows + i. */
static int64_t key_row(const struct rein_segment *s, int64_t p) {
    return p < s->prefix_rows ? s->prefix_begin + p : s->kv_begin + p - s->prefix_rows;
}

static void key_range(const struct rein_segment *s, int64_t window, int64_t i, int64_t *first, int64_t *end) {
    *end = (int64_t)s->prefix_rows + s->kv_rows - s->q_rows + i + 1;
    *first = window > 0 && *end > window ? *end - window : 0;
}

static rein_status check_segments(const struct rein_segment *s, uint32_t count, int64_t heads, int64_t kv_heads,
                                  int64_t *most_keys, int64_t *rows) {
    *most_keys = *rows = 0;
    if (kv_heads <= 0 || heads % kv_heads != 0)
        return REIN_ERR_ARG;
    for (uint32_t i = 0; i < count; i++) {
        int64_t keys = (int64_t)s[i].prefix_rows + s[i].kv_rows;
        int64_t kv_end = (int64_t)s[i].kv_begin + s[i].kv_rows;
        int64_t prefix_end = (int64_t)s[i].prefix_begin + s[i].prefix_rows;
        if (s[i].kv_rows < s[i].q_rows)
            return REIN_ERR_ARG;
        if (keys > *most_keys)
            *most_keys = keys;
        if (s[i].kv_rows && kv_end > *rows)
            *rows = kv_end;
        if (s[i].prefix_rows && prefix_end > *rows)
            *rows = prefix_end;
    }
    return REIN_OK;
}

/* Each query row belongs to one segment. */
static rein_status check_queries(const struct rein_segment *s, uint32_t count) {
    int64_t rows = 0;
    unsigned char *taken;
    rein_status rc = REIN_OK;

    for (uint32_t i = 0; i < count; i++)
        if ((int64_t)s[i].q_begin + s[i].q_rows > rows)
            rows = (int64_t)s[i].q_begin + s[i].q_rows;
    taken = calloc((size_t)rows + 1, 1);
    if (!taken)
        return REIN_ERR_NOMEM;
    for (uint32_t i = 0; i < count; i++)
        for (int32_t q = 0; q < s[i].q_rows; q++) {
            if (taken[s[i].q_begin + q])
                rc = REIN_ERR_ARG;
            taken[s[i].q_begin + q] = 1;
        }
    free(taken);
    return rc;
}

static double dot(const float *a, const float *b, int64_t n) {
    double sum = 0;

    for (int64_t i = 0; i < n; i++)
        sum += (double)a[i] * b[i];
    return sum;
}

static void attend_query(const struct rein_attention *a, const struct rein_segment *s, int64_t i, int64_t h, double *p,
                         double *sum) {
    int64_t row = s->q_begin + i, d = a->head_dim, kv = h / (a->heads / a->kv_heads), first, end;
    const float *q = a->q + row * a->ldq + h * d;
    double most = -INFINITY, total = 0;

    key_range(s, a->window, i, &first, &end);
    for (int64_t j = first; j < end; j++) {
        p[j] = a->scale * dot(q, a->k + key_row(s, j) * a->ldk + kv * d, d);
        if (p[j] > most)
            most = p[j];
    }
    for (int64_t c = 0; c < d; c++)
        sum[c] = 0;
    for (int64_t j = first; j < end; j++) {
        const float *v = a->v + key_row(s, j) * a->ldv + kv * d;
        double e = exp(p[j] - most);
        total += e;
        for (int64_t c = 0; c < d; c++)
            sum[c] += e * v[c];
    }
    for (int64_t c = 0; c < d; c++)
        a->out[row * a->ldout + h * d + c] = (float)(sum[c] / total);
    if (a->lse)
        a->lse[row * a->heads + h] = (float)(most + log(total));
}

rein_status ref_attention(void *dev, const struct rein_attention *a) {
    int64_t keys, rows;
    rein_status rc;
    double *p;

    (void)dev;
    if (a->nsegments == 0 || a->heads == 0)
        return REIN_OK;
    rc = check_segments(a->segments, a->nsegments, a->heads, a->kv_heads, &keys, &rows);
    if (rc == REIN_OK)
        rc = check_queries(a->segments, a->nsegments);
    if (rc)
        return rc;
    p = ref_doubles(keys + a->head_dim);
    if (!p)
        return REIN_ERR_NOMEM;
    for (uint32_t s = 0; s < a->nsegments; s++)
        for (int64_t i = 0; i < a->segments[s].q_rows; i++)
            for (int64_t h = 0; h < a->heads; h++)
                attend_query(a, &a->segments[s], i, h, p, p + keys);
    free(p);
    return REIN_OK;
}

/* With p = softmax and D = dout . out: dv += p dout; ds = p (dout . v - D); dq += scale ds k; dk += scale ds q. */
static void attend_query_dx(const struct rein_attention_dx *a, const struct rein_segment *s, int64_t i, int64_t h,
                            double *dk, double *dv, double *dq) {
    int64_t row = s->q_begin + i, d = a->head_dim, kv = h / (a->heads / a->kv_heads), first, end;
    const float *q = a->q + row * a->ldq + h * d, *dout = a->dout + row * a->ldout + h * d;
    double total = dot(dout, a->out + row * a->ldout + h * d, d), lse = a->lse[row * a->heads + h];

    for (int64_t c = 0; c < d; c++)
        dq[c] = 0;
    key_range(s, a->window, i, &first, &end);
    for (int64_t j = first; j < end; j++) {
        int64_t r = key_row(s, j);
        const float *k = a->k + r * a->ldk + kv * d, *v = a->v + r * a->ldv + kv * d;
        double p = exp(a->scale * dot(q, k, d) - lse);
        double ds = p * (dot(dout, v, d) - total) * a->scale;
        for (int64_t c = 0; c < d; c++) {
            dv[r * d + c] += p * dout[c];
            dk[r * d + c] += ds * q[c];
            dq[c] += ds * k[c];
        }
    }
    for (int64_t c = 0; c < d; c++) {
        float *out = a->dq + row * a->lddq + h * d + c;
        *out = (float)(*out + dq[c]);
    }
}

rein_status ref_attention_dx(void *dev, const struct rein_attention_dx *a) {
    int64_t keys, rows, d = a->head_dim, group;
    double *dk, *dv;
    rein_status rc;

    (void)dev;
    if (a->nsegments == 0 || a->heads == 0)
        return REIN_OK;
    rc = check_segments(a->segments, a->nsegments, a->heads, a->kv_heads, &keys, &rows);
    if (rc == REIN_OK)
        rc = check_queries(a->segments, a->nsegments);
    if (rc)
        return rc;
    dk = ref_doubles((2 * rows + 1) * d);
    if (!dk)
        return REIN_ERR_NOMEM;
    dv = dk + rows * d;
    group = a->heads / a->kv_heads;
    for (int64_t kv = 0; kv < a->kv_heads; kv++) {
        for (int64_t i = 0; i < 2 * rows * d; i++)
            dk[i] = 0;
        for (uint32_t s = 0; s < a->nsegments; s++)
            for (int64_t i = 0; i < a->segments[s].q_rows; i++)
                for (int64_t h = kv * group; h < (kv + 1) * group; h++)
                    attend_query_dx(a, &a->segments[s], i, h, dk, dv, dv + rows * d);
        for (int64_t r = 0; r < rows; r++)
            for (int64_t c = 0; c < d; c++) {
                /* rows that no segment names stay untouched: their sums are 0 */
                if (dk[r * d + c] != 0)
                    a->dk[r * a->lddk + kv * d + c] = (float)(a->dk[r * a->lddk + kv * d + c] + dk[r * d + c]);
                if (dv[r * d + c] != 0)
                    a->dv[r * a->lddv + kv * d + c] = (float)(a->dv[r * a->lddv + kv * d + c] + dv[r * d + c]);
            }
    }
    free(dk);
    return REIN_OK;
}
