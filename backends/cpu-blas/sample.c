/* SPDX-License-Identifier: MIT */
#include "device.h"

#include <math.h>
#include <string.h>

/* The logits of at most ROWS rows exist at a time. */
enum { ROWS = 64, SUM_BLOCK = 512 };

struct candidate {
    float z, p;
    int32_t id;
};

static bool comes_first(const struct candidate *a, const struct candidate *b) {
    return a->z != b->z ? a->z > b->z : a->id < b->id;
}

static void swap(struct candidate *a, struct candidate *b) {
    struct candidate t = *a;

    *a = *b;
    *b = t;
}

/* Splits c[0..n) around a pivot (the median of three), whose final place is returned. */
static int64_t partition(struct candidate *c, int64_t n) {
    struct candidate *x = &c[0], *y = &c[n / 2], *z = &c[n - 1];
    int64_t place = 0;

    if (comes_first(y, x))
        swap(x, y);
    if (comes_first(z, y))
        swap(y, z);
    if (comes_first(y, x))
        swap(x, y);
    swap(y, z);
    for (int64_t i = 0; i < n - 1; i++)
        if (comes_first(&c[i], &c[n - 1]))
            swap(&c[i], &c[place++]);
    swap(&c[place], &c[n - 1]);
    return place;
}

/* Moves the shortest run of likeliest candidates that reaches `target` to the front and returns its length, at least
 * 1: their count reaches it, or their probability. Quickselect, so linear in n. */
static int64_t keep_likeliest(struct candidate *c, int64_t n, double target, bool by_count) {
    int64_t lo = 0, hi = n;
    double before = 0;

    while (hi - lo > 1) {
        int64_t mid = lo + partition(c + lo, hi - lo);
        double left = 0, pivot = by_count ? 1.0 : c[mid].p;
        if (by_count)
            left = (double)(mid - lo);
        else
            for (int64_t i = lo; i < mid; i++)
                left += c[i].p;
        if (before + left >= target) {
            hi = mid;
        } else if (before + left + pivot >= target) {
            lo = hi = mid + 1;
        } else {
            before += left + pivot;
            lo = mid + 1;
        }
    }
    return hi > 0 ? hi : 1;
}

/* Sets the probability of whatever top_k and top_p leave out to 0. */
static void filter(const struct rein_sample *a, const float *z, float *p, struct candidate *c) {
    int64_t vocabulary = a->w->rows, n = 0;
    double total = 0;

    for (int64_t j = 0; j < vocabulary; j++)
        if (!a->banned || !a->banned[j])
            c[n++] = (struct candidate){z[j], p[j], (int32_t)j};
    if (a->top_k > 0 && a->top_k < n)
        n = keep_likeliest(c, n, (double)a->top_k, true);
    if (a->top_p < 1) {
        for (int64_t i = 0; i < n; i++)
            total += c[i].p;
        n = keep_likeliest(c, n, a->top_p * total, false);
    }
    memset(p, 0, (size_t)vocabulary * sizeof(*p));
    for (int64_t i = 0; i < n; i++)
        p[c[i].id] = c[i].p;
}

static double block_sum(const float *p, int64_t n) {
    double s[4] = {0, 0, 0, 0};
    int64_t i = 0;

    for (; i + 4 <= n; i += 4)
        for (int j = 0; j < 4; j++)
            s[j] += p[i + j];
    for (; i < n; i++)
        s[0] += p[i];
    return (s[0] + s[1]) + (s[2] + s[3]);
}

/* The first index at which the cumulative sum of p exceeds u times its total; found block by block. */
static int32_t invert(const float *p, int64_t n, double u) {
    double total = 0, sum = 0, wanted;
    int64_t first = 0, last = 0;

    for (int64_t j = 0; j < n; j += SUM_BLOCK)
        total += block_sum(p + j, least(SUM_BLOCK, n - j));
    wanted = u * total;
    for (int64_t j = 0; j < n; j += SUM_BLOCK) {
        double block = block_sum(p + j, least(SUM_BLOCK, n - j));
        if (block <= 0)
            continue;
        first = j;
        if (sum + block > wanted)
            break;
        sum += block;
    }
    for (int64_t j = first; j < least(first + SUM_BLOCK, n); j++)
        if (p[j] > 0) {
            last = j;
            sum += p[j];
            if (sum > wanted)
                break;
        }
    return (int32_t)last;
}

struct draw {
    const struct device *d;
    const struct rein_sample *a;
    int64_t row;
    float *z, *p; /* [ROWS][vocabulary], [threads][vocabulary] */
    struct candidate *candidates;
};

static int32_t greedy_choice(const struct rein_sample *a, const float *z, float most) {
    int64_t best = -1;

    for (int64_t j = 0; j < a->w->rows; j++) {
        if (a->banned && a->banned[j])
            continue;
        if (best < 0 || z[j] > z[best])
            best = j;
        if (z[best] == most)
            break;
    }
    return (int32_t)best;
}

static void draw_row(void *ctx, int64_t i, int thread) {
    const struct draw *r = ctx;
    const struct rein_sample *a = r->a;
    int64_t n = a->w->rows, row = r->row + i;
    float *z = r->z + i * n, *p = r->p + thread * n, most;
    double total;
    int32_t id;

    if (a->bias || a->inv_temperature != 1.0f)
        r->d->k->scale_row(z, a->bias, a->inv_temperature, n, z);
    most = r->d->k->most_row(z, n);
    total = r->d->k->exp_row(z, most, n, p);
    if (a->greedy) {
        id = greedy_choice(a, z, most);
    } else {
        bool cut = (a->top_k > 0 && a->top_k < n) || a->top_p < 1;
        if (a->banned) { /* the likeliest may be banned: start from the others, or all of p may be 0 */
            float top = -INFINITY;
            for (int64_t j = 0; j < n; j++)
                if (!a->banned[j] && z[j] > top)
                    top = z[j];
            if (top < most)
                r->d->k->exp_row(z, top, n, p);
            for (int64_t j = 0; j < n; j++)
                if (a->banned[j])
                    p[j] = 0;
        }
        if (cut)
            filter(a, z, p, r->candidates + thread * n);
        id = invert(p, n, a->u[row]);
    }
    a->ids[row] = id;
    a->logp[row] = (float)(z[id] - most - log(total));
}

rein_status cpu_sample(void *dev, const struct rein_sample *a) {
    struct draw r = {.d = dev, .a = a};
    int64_t n = a->w->rows, allowed = n;
    struct device *d = dev;

    if (!dtype_known(a->w->dtype))
        return REIN_ERR_UNSUPPORTED;
    for (int64_t j = 0; a->banned && j < n; j++)
        allowed -= a->banned[j] != 0;
    if (a->n > 0 && allowed <= 0)
        return REIN_ERR_ARG;
    r.z = device_work(d, WORK_A, least(ROWS, a->n) * n, sizeof(float));
    r.p = device_work(d, WORK_B, d->threads * n, sizeof(float));
    r.candidates = device_work(d, WORK_C, a->greedy ? 1 : d->threads * n, sizeof(struct candidate));
    if (!r.z || !r.p || !r.candidates)
        return REIN_ERR_NOMEM;
    for (r.row = 0; r.row < a->n; r.row += ROWS) {
        int64_t rows = least(ROWS, a->n - r.row);
        struct gemm g = {.m = rows, .n = n, .k = a->w->cols, .lda = a->ldh, .ldb = a->w->ld, .ldc = n,
                         .a = a->hidden + r.row * a->ldh, .b = a->w->data, .b_dtype = a->w->dtype, .b_t = true,
                         .c = r.z};
        gemm_run(d, &g);
        parallel_for(d, rows, draw_row, &r);
    }
    return REIN_OK;
}
