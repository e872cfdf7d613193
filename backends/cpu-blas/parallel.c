/* SPDX-License-Identifier: MIT */
#include "device.h"

#if defined(_OPENMP)
#include <omp.h>
#endif

int parallel_default_threads(void) {
#if defined(_OPENMP)
    int threads = omp_get_max_threads(), cores = omp_get_num_procs();
    return threads < cores ? threads : cores;
#else
    return 1;
#endif
}

void parallel_for(const struct device *d, int64_t count, void (*run)(void *ctx, int64_t i, int thread), void *ctx) {
#if defined(_OPENMP)
    if (count > 1 && d->threads > 1) {
        int threads = (int)least(d->threads, count);
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
        for (int64_t i = 0; i < count; i++)
            run(ctx, i, omp_get_thread_num());
        return;
    }
#else
    (void)d;
#endif
    for (int64_t i = 0; i < count; i++)
        run(ctx, i, 0);
}

struct ranges {
    int64_t count, grain;
    void (*run)(void *ctx, int64_t begin, int64_t end);
    void *ctx;
};

static void run_range(void *ctx, int64_t i, int thread) {
    const struct ranges *r = ctx;

    (void)thread;
    r->run(r->ctx, i * r->grain, least(r->count, (i + 1) * r->grain));
}

void parallel_ranges(const struct device *d, int64_t count, int64_t grain,
                     void (*run)(void *ctx, int64_t begin, int64_t end), void *ctx) {
    struct ranges r = {count, grain > 0 ? grain : 1, run, ctx};

    parallel_for(d, (count + r.grain - 1) / r.grain, run_range, &r);
}
