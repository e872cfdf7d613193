/* SPDX-License-Identifier: MIT */
#include "isa/level.h"

float LEVEL(most_row)(const float *z, int64_t n) {
    vf most_of = splat(-INFINITY);
    int64_t j = 0;
    float most;

    for (; j + VW <= n; j += VW)
        most_of = max_v(load(z + j), most_of);
    most = most_v(most_of);
    for (; j < n; j++)
        most = z[j] > most ? z[j] : most;
    return most;
}

INLINE void part_sums(const float *z, int64_t n, float most, const bool weighted, struct head_part *out) {
    vf sum = {0}, product = {0}, d, e;
    int64_t j = 0;

    for (; j + VW <= n; j += VW) {
        d = load(z + j) - most;
        e = exp_v(d);
        sum += e;
        if (weighted)
            product += select_v(e == 0.0f, (vf){0}, e * d); /* 0 * -inf is 0 here */
    }
    out->sum = sum_v(sum);
    out->weighted = sum_v(product);
    if (j < n) {
        float tail[VW];
        store(tail, exp_v(load_part(z + j, n - j) - most));
        for (int64_t i = j; i < n; i++) {
            out->sum += tail[i - j];
            out->weighted += tail[i - j] == 0 ? 0 : tail[i - j] * (z[i] - most);
        }
    }
}

void LEVEL(head_part)(const float *z, int64_t n, int64_t first, bool weighted, bool best, struct head_part *out) {
    int64_t at = 0;

    out->most = LEVEL(most_row)(z, n); /* a NaN among z makes the sums NaN */
    if (weighted)
        part_sums(z, n, out->most, true, out);
    else
        part_sums(z, n, out->most, false, out);
    while (best && at < n && z[at] != out->most)
        at++;
    out->best = (int32_t)(first + (at < n ? at : 0));
}

void LEVEL(head_dz)(const struct head_row *r) {
    float *z = r->z, d_logp = r->d_logp * r->inv_temperature, d_entropy = r->d_entropy * r->inv_temperature;
    int64_t j = 0, target = r->target - r->first;

    for (; j < r->n; j += VW) {
        int64_t n = r->n - j;
        vf log_p = (n >= VW ? load(z + j) : load_part(z + j, n)) - r->lse, p = exp_v(log_p), g = -d_logp * p;
        if (d_entropy != 0)
            g -= select_v(p == 0.0f, (vf){0}, d_entropy * p * (log_p + r->entropy));
        if (n >= VW)
            store(z + j, g);
        else
            store_part(z + j, g, n);
    }
    if (r->target >= 0 && target >= 0 && target < r->n)
        z[target] += d_logp;
}

void LEVEL(scale_row)(const float *x, const float *bias, float scale, int64_t n, float *y) {
    int64_t j = 0;

    for (; j + VW <= n; j += VW)
        store(y + j, scale * (bias ? load(x + j) + load(bias + j) : load(x + j)));
    for (; j < n; j++)
        y[j] = scale * (bias ? x[j] + bias[j] : x[j]);
}

double LEVEL(exp_row)(const float *z, float most, int64_t n, float *out) {
    double total = 0;

    for (int64_t j = 0; j < n;) { /* float sums of at most 1024 values, those in double */
        int64_t end = n - j > 1024 ? j + 1024 : n;
        vf sum = {0}, e;
        for (; j + VW <= end; j += VW) {
            e = exp_v(load(z + j) - most);
            store(out + j, e);
            sum += e;
        }
        if (j < end) {
            e = exp_v(load_part(z + j, end - j) - most);
            store_part(out + j, e, end - j);
            for (; j < end; j++)
                total += out[j];
        }
        total += sum_v(sum);
    }
    return total;
}
