/* SPDX-License-Identifier: MIT
 *
 * GFLOP/s of the linked cblas_sgemm at its best, on a large square and on the largest layers of a small model: what training
 * steps are held against. The kind of processor it computes for is chosen by OPENBLAS_CORETYPE.
 *
 *     bench_sgemm [THREADS]
 */
#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

extern void openblas_set_num_threads(int threads) __attribute__((weak));

static double now(void) {
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int main(int argc, char **argv) {
    static const int shapes[][3] = {{1536, 1536, 1536}, {1740, 1536, 576}, {1740, 576, 1536}};
    const int largest = 1740 * 1536;
    float *x = calloc((size_t)largest, sizeof(*x)), *y = calloc((size_t)largest, sizeof(*y));
    float *z = calloc((size_t)largest, sizeof(*z));
    double best = 0;

    if (!x || !y || !z)
        return 1;
    if (openblas_set_num_threads)
        openblas_set_num_threads(argc > 1 ? atoi(argv[1]) : 1);
    for (int i = 0; i < largest; i++) {
        x[i] = (float)(i % 7) - 3;
        y[i] = (float)(i % 5) - 2;
    }
    for (int round = 0; round < 45; round++) {
        const int m = shapes[round % 3][0], n = shapes[round % 3][1], k = shapes[round % 3][2];
        const double began = now();
        double rate;

        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, m, n, k, 1, x, k, y, k, 0, z, n);
        rate = 2e-9 * m * n * k / (now() - began);
        best = rate > best ? rate : best;
    }
    printf("%.1f\n", best);
    free(x);
    free(y);
    free(z);
    return 0;
}
