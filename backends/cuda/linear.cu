/* SPDX-License-Identifier: MIT
 * Products with weights of every dtype, their biases, and sums of columns.
 */
#include "blas.h"
#include "columns.h"

/* Tensor cores cut sums off where float32 rounds: TERMS at a time, or what is lost grows with the length of sums. */
enum { BLOCK = 256, SKINNY_ROWS = 8, PARTS = 3, TERMS = 1024 };

/* y[rows][cols] = x as float32; a row of a block's threads for each gridDim.y */
template <class T> static __global__ void expand(const T *x, int64_t rows, int64_t cols, int64_t ld, float *y) {
    for (int64_t i = blockIdx.y; i < rows; i += gridDim.y)
        for (int64_t c = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; c < cols; c += (int64_t)gridDim.x * blockDim.x)
            y[i * cols + c] = widen(x[i * ld + c]);
}

/* y[part][rows][cols]: x rounded, then what is left of it rounded, and so on; their sum is x but for rounding at 2^-24.
 */
template <class T>
static __global__ void split(const float *x, int64_t rows, int64_t cols, int64_t ld, int parts, T *y) {
    for (int64_t i = blockIdx.y; i < rows; i += gridDim.y)
        for (int64_t c = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; c < cols;
             c += (int64_t)gridDim.x * blockDim.x) {
            float left = x[i * ld + c];
            for (int part = 0; part < parts; part++) {
                const T t = narrow<T>(left);
                y[(part * rows + i) * cols + c] = t;
                left -= widen(t);
            }
        }
}

/* c[m][rows] (+)= a W^T for few rows of a: a warp for each row of W, which is read once, 8 elements at a time (VECTOR).
 */
template <class T, int M, bool VECTOR>
static __global__ void skinny(const T *w, int64_t rows, int64_t cols, int64_t ldw, const float *a, int64_t lda,
                              int accumulate, float *c, int64_t ldc) {
    constexpr int N = VECTOR ? 8 : 1;
    const int lane = threadIdx.x % WARP;

    for (int64_t r = (int64_t)blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP; r < rows;
         r += (int64_t)gridDim.x * (blockDim.x / WARP)) {
        float sum[M] = {};
        for (int64_t k = lane * N; k < cols; k += WARP * N) {
            const pack<T, N> x = load<T, N>(w + r * ldw + k);
            for (int j = 0; j < N; j++) {
                const float f = widen(x.v[j]);
                UNROLL
                for (int i = 0; i < M; i++)
                    sum[i] = fmaf(f, a[i * lda + k + j], sum[i]);
            }
        }
        for (int i = 0; i < M; i++) {
            sum[i] = warp_sum(sum[i]);
            if (lane == 0)
                c[i * ldc + r] = accumulate ? c[i * ldc + r] + sum[i] : sum[i];
        }
    }
}

template <class T, int M>
static rein_status run_skinny(struct device *d, const struct weight_product *p, const float *a, float *c) {
    const struct rein_weight *w = p->w;
    const T *data = static_cast<const T *>(w->data);
    const bool vector = w->cols % 8 == 0 && w->ld % 8 == 0 && (uintptr_t)w->data % 16 == 0;
    const auto skinny_product = vector ? skinny<T, M, true> : skinny<T, M, false>;
    const unsigned blocks = (unsigned)least(blocks_of(w->rows, BLOCK / WARP), 16 * (int64_t)d->multiprocessors);

    return RUN(d, skinny_product, blocks, BLOCK, 0, data, w->rows, w->cols, w->ld, a, p->lda, (int)p->accumulate, c,
               p->ldc);
}

/* By 4 rows, 2 and 1: the bits of a row do not depend on how many there are. */
template <class T> static rein_status skinny_rows(struct device *d, const struct weight_product *p) {
    rein_status rc = REIN_OK;
    int64_t i = 0;

    if (p->w->rows == 0)
        return REIN_OK;
    for (; rc == REIN_OK && p->m - i >= 4; i += 4)
        rc = run_skinny<T, 4>(d, p, p->a + i * p->lda, p->c + i * p->ldc);
    for (; rc == REIN_OK && p->m - i >= 2; i += 2)
        rc = run_skinny<T, 2>(d, p, p->a + i * p->lda, p->c + i * p->ldc);
    for (; rc == REIN_OK && p->m - i >= 1; i += 1)
        rc = run_skinny<T, 1>(d, p, p->a + i * p->lda, p->c + i * p->ldc);
    return rc;
}

static rein_status expand_rows(struct device *d, const struct rein_weight *w, int64_t r, int64_t rows, float *out) {
    const dim3 grid = plane(rows, w->cols, BLOCK);

    if (w->cols == 0)
        return REIN_OK;
    if (w->dtype == REIN_BF16)
        return RUN(d, expand<bf16>, grid, BLOCK, 0, static_cast<const bf16 *>(w->data) + r * w->ld, rows, w->cols,
                   w->ld, out);
    return RUN(d, expand<f16>, grid, BLOCK, 0, static_cast<const f16 *>(w->data) + r * w->ld, rows, w->cols, w->ld,
               out);
}

/* Pieces of W as float32, each as large as the workspace allows. */
static rein_status expanded_product(struct device *d, const struct weight_product *p) {
    const struct rein_weight *w = p->w;
    int64_t step = most((d->config.workspace << 20) / (int64_t)sizeof(float) / most(w->cols, 1), 1);
    rein_status rc;
    float *piece;

    step = least(step, w->rows);
    rc = device_array(d, WORK_NARROW, step * w->cols, &piece);
    for (int64_t r = 0; r < w->rows && rc == REIN_OK; r += step) {
        const int64_t rows = least(step, w->rows - r);
        struct product q = {};
        q.m = p->m;
        q.n = p->transposed ? rows : w->cols;
        q.k = p->transposed ? w->cols : rows;
        q.lda = p->lda;
        q.ldb = w->cols;
        q.ldc = p->ldc;
        q.a = p->transposed ? p->a : p->a + r;
        q.b = piece;
        q.dtype = REIN_F32;
        q.b_t = p->transposed;
        q.accumulate = p->accumulate || (!p->transposed && r > 0);
        q.c = p->transposed ? p->c + r : p->c;
        rc = expand_rows(d, w, r, rows, piece);
        if (rc == REIN_OK)
            rc = blas_product(d, &q);
    }
    return rc;
}

/* The activations in parts of the weight's type; the smallest parts' products come first. */
static rein_status split_rows(struct device *d, const struct weight_product *p, int parts) {
    const struct rein_weight *w = p->w;
    const int64_t k = p->transposed ? w->cols : w->rows, size = p->m * k;
    const dim3 grid = plane(p->m, k, BLOCK);
    uint16_t *pieces;
    rein_status rc = device_array(d, WORK_NARROW, parts * size, &pieces);

    if (rc == REIN_OK && k > 0 && w->dtype == REIN_BF16)
        rc = RUN(d, split<bf16>, grid, BLOCK, 0, p->a, p->m, k, p->lda, parts, reinterpret_cast<bf16 *>(pieces));
    else if (rc == REIN_OK && k > 0)
        rc = RUN(d, split<f16>, grid, BLOCK, 0, p->a, p->m, k, p->lda, parts, reinterpret_cast<f16 *>(pieces));
    for (int part = parts - 1; part >= 0 && rc == REIN_OK; part--) {
        int64_t first = 0;
        do {
            struct product q = {};
            q.m = p->m;
            q.n = p->transposed ? w->rows : w->cols;
            q.k = least(TERMS, k - first);
            q.lda = k;
            q.ldb = w->ld;
            q.ldc = p->ldc;
            q.a = pieces + part * size + first;
            q.b = static_cast<const uint16_t *>(w->data) + (p->transposed ? first : first * w->ld);
            q.dtype = w->dtype;
            q.b_t = p->transposed;
            q.accumulate = p->accumulate || part < parts - 1 || first > 0;
            q.c = p->c;
            rc = blas_product(d, &q);
            first += q.k;
        } while (rc == REIN_OK && first < k);
    }
    return rc;
}

/* As many rows at a time as the workspace holds parts of. */
static rein_status split_product(struct device *d, const struct weight_product *p, int parts) {
    const int64_t k = p->transposed ? p->w->cols : p->w->rows;
    const int64_t step = most((d->config.workspace << 20) / (int64_t)sizeof(uint16_t) / parts / most(k, 1), 1);
    struct weight_product some = *p;
    rein_status rc = REIN_OK;

    for (int64_t i = 0; i < p->m && rc == REIN_OK; i += step) {
        some.m = least(step, p->m - i);
        some.a = p->a + i * p->lda;
        some.c = p->c + i * p->ldc;
        rc = split_rows(d, &some, parts);
    }
    return rc;
}

rein_status weight_multiply(struct device *d, const struct weight_product *p) {
    const struct rein_weight *w = p->w;
    struct product q = {};

    if (!dtype_known(w->dtype))
        return REIN_ERR_UNSUPPORTED;
    if (p->m == 0)
        return REIN_OK;
    if (w->dtype != REIN_F32) {
        if (p->transposed && p->m <= SKINNY_ROWS)
            return w->dtype == REIN_BF16 ? skinny_rows<bf16>(d, p) : skinny_rows<f16>(d, p);
        if (d->config.narrow == NARROW_ROUND)
            return split_product(d, p, 1);
        if (d->config.narrow == NARROW_SPLIT && w->dtype == REIN_BF16)
            return split_product(d, p, PARTS);
        if (w->rows > 0 && w->cols > 0)
            return expanded_product(d, p);
    }
    q.m = p->m;
    q.n = p->transposed ? w->rows : w->cols;
    q.k = p->transposed ? w->cols : w->rows;
    q.lda = p->lda;
    q.ldb = w->ld;
    q.ldc = p->ldc;
    q.a = p->a;
    q.b = w->data;
    q.dtype = REIN_F32;
    q.b_t = p->transposed;
    q.accumulate = p->accumulate;
    q.c = p->c;
    return blas_product(d, &q);
}

static __global__ void add_bias(float *y, int64_t m, int64_t rows, int64_t ldy, const float *bias) {
    for (int64_t i = blockIdx.y; i < m; i += gridDim.y)
        for (int64_t r = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; r < rows; r += (int64_t)gridDim.x * blockDim.x)
            y[i * ldy + r] += bias[r];
}

extern "C" rein_status cuda_linear(void *dev, const struct rein_linear *a) {
    struct device *d = device_enter(dev);
    struct weight_product p = {};
    rein_status rc;

    p.w = a->w;
    p.transposed = true;
    p.accumulate = a->beta != 0;
    p.m = a->m;
    p.lda = a->ldx;
    p.ldc = a->ldy;
    p.a = a->x;
    p.c = a->y;
    rc = weight_multiply(d, &p);
    if (rc || !a->bias || a->m == 0 || a->w->rows == 0)
        return rc;
    return RUN(d, add_bias, plane(a->m, a->w->rows, BLOCK), BLOCK, 0, a->y, a->m, a->w->rows, a->ldy, a->bias);
}

extern "C" rein_status cuda_linear_dx(void *dev, const struct rein_linear_dx *a) {
    struct weight_product p = {};

    p.w = a->w;
    p.accumulate = a->beta != 0;
    p.m = a->m;
    p.lda = a->lddy;
    p.ldc = a->lddx;
    p.a = a->dy;
    p.c = a->dx;
    return weight_multiply(device_enter(dev), &p);
}

extern "C" rein_status cuda_linear_dw(void *dev, const struct rein_linear_dw *a) {
    struct device *d = device_enter(dev);
    struct product q = {};
    rein_status rc;

    if (a->m == 0)
        return REIN_OK;
    q.m = a->rows;
    q.n = a->cols;
    q.k = a->m;
    q.lda = a->lddy;
    q.ldb = a->ldx;
    q.ldc = a->lddw;
    q.a = a->dy;
    q.b = a->x;
    q.dtype = REIN_F32;
    q.a_t = true;
    q.accumulate = true;
    q.c = a->dw;
    rc = a->dw ? blas_product(d, &q) : REIN_OK;
    return rc || !a->dbias ? rc : column_sums(d, a->dy, a->m, a->rows, a->lddy, a->dbias);
}

/* chunks[blockIdx.y][c] = the sum of column c over one chunk of rows */
static __global__ void sum_chunks(const float *x, int64_t n, int64_t cols, int64_t ld, int64_t chunk, float *chunks) {
    SHARED_ARRAY(float, part, COLUMN_BLOCK);
    const int64_t begin = blockIdx.y * chunk, end = begin + chunk < n ? begin + chunk : n;
    const int64_t c = (int64_t)blockIdx.x * WARP + threadIdx.x % WARP;
    float sum = 0;

    for (int64_t i = begin + threadIdx.x / WARP; i < end && c < cols; i += COLUMN_BLOCK / WARP)
        sum += x[i * ld + c];
    sum = across_warps(sum, part);
    if (threadIdx.x < WARP && c < cols)
        chunks[blockIdx.y * cols + c] = sum;
}

rein_status column_sums(struct device *d, const float *x, int64_t n, int64_t cols, int64_t ld, float *out) {
    const int64_t chunk = column_chunk(n);
    const unsigned nchunks = blocks_of(n, chunk);
    rein_status rc;
    float *chunks;

    if (n == 0 || cols == 0)
        return REIN_OK;
    rc = device_array(d, WORK_SUMS, nchunks * cols, &chunks);
    if (rc == REIN_OK)
        rc = RUN(d, sum_chunks, dim3(blocks_of(cols, WARP), nchunks), COLUMN_BLOCK, 0, x, n, cols, ld, chunk, chunks);
    return rc ? rc
              : RUN(d, add_chunks, blocks_of(cols, COLUMN_BLOCK), COLUMN_BLOCK, 0, chunks, (int)nchunks, cols, out);
}
