/* SPDX-License-Identifier: MIT */
#include "blas.h"

#include <cblas.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Only OpenBLAS has these; with another CBLAS they stay NULL. */
extern char *openblas_get_config(void) __attribute__((weak));
extern char *openblas_get_corename(void) __attribute__((weak));
extern int openblas_get_num_threads(void) __attribute__((weak));
extern void openblas_set_num_threads(int threads) __attribute__((weak));

void blas_describe(char *text, size_t size) {
    if (openblas_get_config && openblas_get_corename) {
        const char *config = openblas_get_config(); /* "OpenBLAS 0.3.21 NO_LAPACKE DYNAMIC_ARCH ..." */
        const char *end = strchr(config, ' ') ? strchr(strchr(config, ' ') + 1, ' ') : NULL;
        snprintf(text, size, "%.*s, %s kernels", (int)(end ? end - config : (long)strlen(config)), config,
                 openblas_get_corename());
    } else {
        snprintf(text, size, "CBLAS");
    }
}

bool blas_is_old(void) {
    static const char *const old[] = {"Katmai", "Coppermine", "Northwood", "Prescott", "Banias", "Core2", "Penryn",
                                      "Dunnington", "Nehalem", "Atom", "Athlon", "Opteron", "Opteron_SSE3", "Nano"};

    if (!openblas_get_corename)
        return false;
    for (size_t i = 0; i < sizeof(old) / sizeof(*old); i++)
        if (!strcmp(openblas_get_corename(), old[i]))
            return true;
    return false;
}

int blas_single(void) {
    int threads = openblas_get_num_threads ? openblas_get_num_threads() : 0;

    if (openblas_set_num_threads && threads != 1)
        openblas_set_num_threads(1);
    return threads;
}

void blas_restore(int threads) {
    if (openblas_set_num_threads && threads > 1)
        openblas_set_num_threads(threads);
}

void blas_gemm(const struct gemm *g) {
    if (g->m == 0 || g->n == 0)
        return;
    if (g->bias)
        for (int64_t i = 0; i < g->m; i++)
            for (int64_t j = 0; j < g->n; j++)
                g->c[i * g->ldc + j] = g->bias[j] + (g->accumulate ? g->c[i * g->ldc + j] : 0.0f);
    cblas_sgemm(CblasRowMajor, g->a_t ? CblasTrans : CblasNoTrans, g->b_t ? CblasTrans : CblasNoTrans, (int)g->m,
                (int)g->n, (int)g->k, 1.0f, g->a, (int)g->lda, g->b, (int)g->ldb,
                g->accumulate || g->bias ? 1.0f : 0.0f, g->c, (int)g->ldc);
}

enum { M = 9, N = 37, K = 67, LD = 71 };

static const char *test_shape(int m, int n, int k, bool a_t, bool b_t, bool accumulate) {
    float a[K * LD], b[K * LD], c[M * LD];
    struct gemm g = {.m = m, .n = n, .k = k, .lda = LD, .ldb = LD, .ldc = LD, .a = a, .b = b, .b_dtype = REIN_F32,
                     .a_t = a_t, .b_t = b_t, .accumulate = accumulate, .c = c};

    for (int i = 0; i < K * LD; i++) {
        a[i] = (float)((i * 37 + 11) % 29 - 14) / 16.0f;
        b[i] = (float)((i * 53 + 5) % 31 - 15) / 16.0f;
    }
    for (int i = 0; i < M * LD; i++)
        c[i] = accumulate ? 0.5f : NAN; /* with beta = 0 a NaN must not survive */
    blas_gemm(&g);
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++) {
            double sum = accumulate ? 0.5 : 0.0;
            for (int l = 0; l < k; l++)
                sum += (double)a[a_t ? l * LD + i : i * LD + l] * b[b_t ? j * LD + l : l * LD + j];
            if (!(fabs(sum - c[i * LD + j]) < 1e-4))
                return "sgemm of the BLAS library computes wrong results on this processor (gemm: own does without)";
        }
    return NULL;
}

const char *blas_self_test(void) {
    static const int shapes[][3] = {{1, 1, 1},    {1, 37, 67}, {9, 1, 67}, {9, 37, 1},
                                    {7, 17, 33}, {9, 37, 67}, {3, 5, 0}};

    for (size_t i = 0; i < sizeof(shapes) / sizeof(*shapes); i++)
        for (int kind = 0; kind < 6; kind++) {
            const int *s = shapes[i];
            const char *why = test_shape(s[0], s[1], s[2], kind % 3 == 2, kind % 3 == 1, kind >= 3);
            if (why)
                return why;
        }
    return NULL;
}
