/* SPDX-License-Identifier: MIT
 * Rows that are looked up, moved, scaled and converted.
 */
#include "blas.h"
#include "reduce.h"

enum { BLOCK = 256, WIDE = 4 };

/* Whether rows of float32 may be read four elements at a time. */
static bool wide(const void *p, int64_t ld) {
    return !p || ((uintptr_t)p % 16 == 0 && ld % WIDE == 0);
}

/* Rows i of this block, and its columns c, N at a time. */
#define FOR_ROWS(i, n) for (int64_t i = blockIdx.y; i < (n); i += gridDim.y)
#define FOR_COLUMNS(c, cols, N)                                                                                        \
    for (int64_t c = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * (N); c < (cols);                               \
         c += (int64_t)gridDim.x * blockDim.x * (N))

template <class T>
static __global__ void embed(const T *w, int64_t ldw, const int32_t *ids, int64_t n, int64_t cols, float scale,
                             float *out, int64_t ldout) {
    FOR_ROWS(i, n) {
        const T *row = w + ids[i] * ldw;
        FOR_COLUMNS(c, cols, 1)
        out[i * ldout + c] = scale * widen(row[c]);
    }
}

extern "C" rein_status cuda_embedding(void *dev, const struct rein_embedding *a) {
    struct device *d = device_enter(dev);
    const struct rein_weight *w = a->w;
    const dim3 grid = plane(a->n, w->cols, BLOCK);
    const int32_t *ids;
    rein_status rc;

    if (!dtype_known(w->dtype))
        return REIN_ERR_UNSUPPORTED;
    if (a->n == 0 || w->cols == 0)
        return REIN_OK;
    rc = staging_room(d, (size_t)a->n * sizeof(*ids));
    if (rc == REIN_OK)
        rc = device_stage(d, a->ids, a->n, &ids);
    if (rc)
        return rc;
    if (w->dtype == REIN_F32)
        return RUN(d, embed<float>, grid, BLOCK, 0, static_cast<const float *>(w->data), w->ld, ids, a->n, w->cols,
                   a->scale, a->out, a->ldout);
    if (w->dtype == REIN_BF16)
        return RUN(d, embed<bf16>, grid, BLOCK, 0, static_cast<const bf16 *>(w->data), w->ld, ids, a->n, w->cols,
                   a->scale, a->out, a->ldout);
    return RUN(d, embed<f16>, grid, BLOCK, 0, static_cast<const f16 *>(w->data), w->ld, ids, a->n, w->cols, a->scale,
               a->out, a->ldout);
}

/* Each named row of dw adds its rows of dout one after the other: order[begin[g] ..] are those of row id[g]. */
static __global__ void embed_dw(const int32_t *id, const int32_t *begin, const int32_t *order, int64_t groups,
                                int64_t cols, float scale, const float *dout, int64_t lddout, float *dw, int64_t lddw) {
    FOR_ROWS(g, groups)
    FOR_COLUMNS(c, cols, 1) {
        float *out = dw + id[g] * lddw + c, sum = *out;
        for (int32_t j = begin[g]; j < begin[g + 1]; j++)
            sum = fmaf(scale, dout[order[j] * lddout + c], sum);
        *out = sum;
    }
}

/* Sorts the places 0 .. n-1 by their ids, keeping their order; returns the number of different ids. */
static int64_t sort_ids(const int32_t *ids, int64_t n, int32_t *count, int32_t *id, int32_t *begin, int32_t *order) {
    int64_t groups = 0;
    int32_t total = 0;

    for (int64_t i = 0; i < n; i++)
        count[ids[i]]++;
    for (int64_t i = 0; i < n; i++) { /* groups in the order in which their ids first occur; count becomes -1 - group */
        const int32_t here = count[ids[i]];
        if (here > 0) {
            id[groups] = ids[i];
            begin[groups] = total;
            total += here;
            count[ids[i]] = -1 - (int32_t)groups;
            groups++;
        }
    }
    for (int64_t i = 0; i < n; i++)
        order[begin[-1 - count[ids[i]]]++] = (int32_t)i;
    for (int64_t g = groups; g > 0; g--) /* each begin has moved on to the next one's */
        begin[g] = begin[g - 1];
    begin[0] = 0;
    return groups;
}

extern "C" rein_status cuda_embedding_dw(void *dev, const struct rein_embedding_dw *a) {
    struct device *d = device_enter(dev);
    const size_t bytes = (size_t)(3 * a->n + 1) * sizeof(int32_t);
    int32_t *count, *host;
    const int32_t *id;
    const void *at;
    int64_t groups;
    rein_status rc;

    if (a->n == 0 || a->cols == 0)
        return REIN_OK;
    if (a->n > INT32_MAX)
        return REIN_ERR_UNSUPPORTED;
    count = device_counters(d, a->vocabulary);
    rc = count ? staging_room(d, bytes) : REIN_ERR_NOMEM;
    if (rc)
        return rc;
    host = static_cast<int32_t *>(staging_take(d, bytes));
    groups = sort_ids(a->ids, a->n, count, host, host + a->n, host + 2 * a->n + 1);
    rc = staging_send(d, host, bytes, &at);
    id = static_cast<const int32_t *>(at);
    return rc ? rc
              : RUN(d, embed_dw, plane(groups, a->cols, BLOCK), BLOCK, 0, id, id + a->n, id + 2 * a->n + 1, groups,
                    a->cols, a->scale, a->dout, a->lddout, a->dw, a->lddw);
}

/* x may be NULL, and y is not read when beta is 0 */
template <int N>
static __global__ void axpy(float alpha, const float *x, int64_t ldx, float beta, float *y, int64_t ldy, int64_t n,
                            int64_t cols) {
    FOR_ROWS(i, n)
    FOR_COLUMNS(c, cols, N) {
        pack<float, N> sum = {};
        if (beta != 0) {
            sum = load<float, N>(y + i * ldy + c);
            for (int j = 0; j < N; j++)
                sum.v[j] *= beta;
        }
        if (x) {
            const pack<float, N> t = load<float, N>(x + i * ldx + c);
            for (int j = 0; j < N; j++)
                sum.v[j] = fmaf(alpha, t.v[j], sum.v[j]);
        }
        store<float, N>(y + i * ldy + c, sum);
    }
}

static rein_status run_axpy(struct device *d, const struct rein_axpy *a) {
    if (a->n == 0 || a->cols == 0)
        return REIN_OK;
    if (a->cols % WIDE == 0 && wide(a->x, a->ldx) && wide(a->y, a->ldy))
        return RUN(d, axpy<WIDE>, plane(a->n, a->cols, BLOCK * WIDE), BLOCK, 0, a->alpha, a->x, a->ldx, a->beta, a->y,
                   a->ldy, a->n, a->cols);
    return RUN(d, axpy<1>, plane(a->n, a->cols, BLOCK), BLOCK, 0, a->alpha, a->x, a->ldx, a->beta, a->y, a->ldy, a->n,
               a->cols);
}

extern "C" rein_status cuda_axpy(void *dev, const struct rein_axpy *a) {
    struct rein_axpy flat = *a;

    /* Rows without gaps are one long row, which wants many blocks along the columns. */
    if (a->n > 1 && a->ldy == a->cols && (!a->x || a->ldx == a->cols) && a->cols < BLOCK) {
        flat.cols = a->n * a->cols;
        flat.n = 1;
    }
    return run_axpy(device_enter(dev), &flat);
}

rein_status rows_clear(struct device *d, float *x, int64_t n, int64_t cols, int64_t ld) {
    struct rein_axpy a = {};

    a.n = n;
    a.cols = cols;
    a.y = x;
    a.ldy = ld;
    return run_axpy(d, &a);
}

template <int N>
static __global__ void gather(const int32_t *rows, int64_t n, int64_t cols, int scatter, const float *x, int64_t ldx,
                              float *out, int64_t ldout) {
    FOR_ROWS(i, n)
    FOR_COLUMNS(c, cols, N) {
        const pack<float, N> t = load<float, N>(x + (scatter ? i : rows[i]) * ldx + c);
        float *to = out + (scatter ? rows[i] : i) * ldout + c;
        if (scatter) {
            pack<float, N> sum = load<float, N>(to);
            for (int j = 0; j < N; j++)
                sum.v[j] += t.v[j];
            store<float, N>(to, sum);
        } else {
            store<float, N>(to, t);
        }
    }
}

extern "C" rein_status cuda_gather(void *dev, const struct rein_gather *a) {
    struct device *d = device_enter(dev);
    const bool four = a->cols % WIDE == 0 && wide(a->x, a->ldx) && wide(a->out, a->ldout);
    const auto gather_rows = four ? gather<WIDE> : gather<1>;
    const int32_t *rows;
    rein_status rc;

    if (a->n == 0 || a->cols == 0)
        return REIN_OK;
    rc = staging_room(d, (size_t)a->n * sizeof(*rows));
    if (rc == REIN_OK)
        rc = device_stage(d, a->rows, a->n, &rows);
    return rc ? rc
              : RUN(d, gather_rows, plane(a->n, a->cols, four ? BLOCK * WIDE : BLOCK), BLOCK, 0, rows, a->n, a->cols,
                    (int)a->scatter, a->x, a->ldx, a->out, a->ldout);
}

template <class From, class To> static __global__ void convert(const From *x, To *y, int64_t n) {
    FOR_COLUMNS(i, n, 1)
    y[i] = narrow<To>(widen(x[i]));
}

template <class From, class To> static rein_status run_cast(struct device *d, const struct rein_cast *a) {
    const auto convert_all = convert<From, To>;

    return RUN(d, convert_all, plane(1, a->n, BLOCK), BLOCK, 0, static_cast<const From *>(a->x),
               static_cast<To *>(a->y), a->n);
}

template <class From> static rein_status cast_to(struct device *d, const struct rein_cast *a) {
    return a->to == REIN_F32    ? run_cast<From, float>(d, a)
           : a->to == REIN_BF16 ? run_cast<From, bf16>(d, a)
                                : run_cast<From, f16>(d, a);
}

extern "C" rein_status cuda_cast(void *dev, const struct rein_cast *a) {
    struct device *d = device_enter(dev);

    if (!dtype_known(a->from) || !dtype_known(a->to))
        return REIN_ERR_UNSUPPORTED;
    if (a->n == 0)
        return REIN_OK;
    return a->from == REIN_F32 ? cast_to<float>(d, a) : a->from == REIN_BF16 ? cast_to<bf16>(d, a) : cast_to<f16>(d, a);
}
