/* SPDX-License-Identifier: MIT */
#include "blas.h"
#include "device.h"

/* Whole column blocks and row blocks of every ISA level (NR divides 32, MR divides 48, nearly); the columns of a block
 * of few rows. */
enum { STEP_N = 32, STEP_M = 48, FEW = 48, FEW_N = 48, SKINNY = 32 };

void gemm_part(const struct device *d, const struct gemm *g, int thread) {
    if (d->blas && g->b_dtype == REIN_F32 && g->m > SKINNY)
        blas_gemm(g);
    else
        d->k->gemm(g, device_scratch(d, thread));
}

struct grid {
    const struct device *d;
    const struct gemm *g;
    int64_t part_m, part_n, columns;
    int64_t k_block, a_step; /* see gemm_run_blocks */
};

static void run_cell(void *ctx, int64_t i, int thread) {
    const struct grid *grid = ctx;
    const struct gemm *g = grid->g;
    int64_t m0 = i / grid->columns * grid->part_m, n0 = i % grid->columns * grid->part_n;
    int64_t size = g->b_dtype == REIN_F32 ? 4 : 2;
    struct gemm part = *g;

    part.m = least(grid->part_m, g->m - m0);
    part.n = least(grid->part_n, g->n - n0);
    part.a += g->a_t ? m0 : m0 * g->lda;
    part.b = (const char *)g->b + (g->b_t ? n0 * g->ldb : n0) * size;
    part.c += m0 * g->ldc + n0;
    part.bias = g->bias ? g->bias + n0 : NULL;
    if (grid->k_block == g->k) {
        gemm_part(grid->d, &part, thread);
        return;
    }
    for (int64_t k = 0; k < g->k; k += grid->k_block) {
        part.k = least(grid->k_block, g->k - k);
        part.accumulate = g->accumulate || k > 0;
        gemm_part(grid->d, &part, thread);
        part.a += grid->a_step;
        part.b = (const char *)part.b + grid->k_block * g->ldb * size;
    }
}

/* The length of a piece of `n`, in units of `step`: about `pieces` of them or more, such that the threads, which
 * take one after the other, end together. */
static int64_t cut(int64_t n, int64_t pieces, int64_t threads, int64_t step) {
    int64_t units = (n + step - 1) / step, most = (units + pieces - 1) / pieces, best = most, least_time = INT64_MAX;

    for (int64_t part = most; part > 0 && part * 4 > most; part--) {
        int64_t count = (units + part - 1) / part, time = (count + threads - 1) / threads * part;
        if (time < least_time) {
            least_time = time;
            best = part;
        }
    }
    return best * step;
}

/* Products on tiles: a piece for each thread, cut so that what the pieces take is the least. Packing a value costs
 * about as much as PACKING products. False when pieces for all threads are too small to gain. */
static bool cut_for_tiles(struct grid *grid) {
    enum { PANEL = 32, PACKING = 96 };
    const struct gemm *g = grid->g;
    const int64_t threads = grid->d->threads, most_down = least(threads, (g->m + PANEL - 1) / PANEL);
    int64_t least_time = INT64_MAX;

    for (int64_t down = 1; down <= most_down; down++) {
        int64_t across = (threads + down - 1) / down;
        struct gemm part = *g;
        part.m = least(g->m, cut(g->m, down, down, PANEL));
        part.n = least(g->n, cut(g->n, across, across, PANEL));
        int64_t pieces = (g->m + part.m - 1) / part.m * ((g->n + part.n - 1) / part.n);
        int64_t time = (pieces + threads - 1) / threads * (part.m * part.n + PACKING * (part.m + part.n));
        if (time < least_time && gemm_gains_from_tiles(&part)) {
            least_time = time;
            grid->part_m = part.m;
            grid->part_n = part.n;
        }
    }
    return least_time < INT64_MAX;
}

/* Cut along the side that needs no packing twice, then along the other while there are too few pieces. Where each piece
 * packs all of one operand (few rows; or A^T, whose smaller operand it is) there are only as many as keep the threads
 * at work. The same shape and number of threads is always cut alike; a piece of few rows may be summed in another order
 * than a large one. */
void gemm_run_blocks(const struct device *d, const struct gemm *g, int64_t k_block, int64_t a_step) {
    struct grid grid = {.d = d, .g = g, .part_m = g->m, .part_n = g->n, .k_block = k_block, .a_step = a_step};
    const bool few = g->b_t && g->m <= FEW;
    const int64_t pieces = g->a_t || few ? d->threads : d->threads * 2;
    int64_t cells;

    if (g->m == 0 || g->n == 0)
        return;
    const bool tiles = d->k->tiles && !d->blas && gemm_gains_from_tiles(g);
    if (d->threads > 1 && (double)g->m * (double)g->n * (double)g->k > 1e5 && !(tiles && cut_for_tiles(&grid))) {
        if (g->a_t && g->m >= g->n) {
            grid.part_m = cut(g->m, pieces, d->threads, STEP_M);
            cells = (g->m + grid.part_m - 1) / grid.part_m;
            grid.part_n = cut(g->n, (pieces + cells - 1) / cells, d->threads, STEP_N);
        } else {
            grid.part_n = cut(g->n, pieces, d->threads, few ? FEW_N : STEP_N);
            cells = (g->n + grid.part_n - 1) / grid.part_n;
            grid.part_m = cut(g->m, (pieces + cells - 1) / cells, d->threads, STEP_M);
        }
    }
    grid.columns = (g->n + grid.part_n - 1) / grid.part_n;
    parallel_for(d, (g->m + grid.part_m - 1) / grid.part_m * grid.columns, run_cell, &grid);
}

void gemm_run(const struct device *d, const struct gemm *g) {
    gemm_run_blocks(d, g, g->k, 0);
}
