/* SPDX-License-Identifier: MIT
 *
 * The backend for CPUs: own kernels for several instruction set levels, a CBLAS library for the large products where it
 * has the better ones, OpenMP threads.
 */
#include "blas.h"
#include "device.h"

#include <rein/plugin.h>
#include <stdio.h>
#include <string.h>
#ifdef HAVE_AMX
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

enum { ISA_AUTO, ISA_BASELINE, ISA_V3, ISA_V4, ISA_AMX };
enum { GEMM_AUTO, GEMM_OWN, GEMM_BLAS };
enum { MOST_THREADS = 512 };

struct config {
    int64_t isa, gemm;
};

static const char *const isa_choices[] = {"auto", "baseline", "v3", "v4", "amx", NULL};
static const char *const gemm_choices[] = {"auto", "own", "blas", NULL};

static const struct rein_param params[] = {
    {.name = "isa", .type = REIN_PARAM_CHOICE, .offset = offsetof(struct config, isa), .dflt = "auto",
     .choices = isa_choices, .flags = REIN_PARAM_ADVANCED, .min = 1, .max = 0,
     .doc = "Instruction set of the kernels: the best this processor has, one of x86-64's levels (v3: AVX2, v4: "
            "AVX-512), or AVX-512 with large products, and rows by bf16 weights, on AMX tiles."},
    {.name = "gemm", .type = REIN_PARAM_CHOICE, .offset = offsetof(struct config, gemm), .dflt = "auto",
     .choices = gemm_choices, .flags = REIN_PARAM_ADVANCED, .min = 1, .max = 0,
     .doc = "Who computes products of more than 32 rows: our kernels, the BLAS library, or whichever is the better on "
            "this kind of processor."},
    {.name = NULL},
};

static bool has_v3(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
    return false;
#endif
}

static bool has_v4(void) {
#if defined(__x86_64__)
    return has_v3() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#else
    return false;
#endif
}

/* Tiles need the system's leave, which is asked once and holds for all threads. */
static bool has_amx(void) {
#ifdef HAVE_AMX
    enum { LEAVE = 0x1023, TILE_DATA = 18 }; /* ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA */
    enum { AMX_BF16 = 1 << 22, AMX_TILE = 1 << 24 };
    unsigned a, b, c, d;

    return has_v4() && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & AMX_BF16) && (d & AMX_TILE) &&
           syscall(SYS_arch_prctl, LEAVE, TILE_DATA) == 0;
#else
    return false;
#endif
}

/* The kernels for a choice of `isa`, or NULL when the processor has not got it. */
static const struct cpu_kernels *pick_kernels(int64_t isa) {
#ifdef HAVE_AMX
    if ((isa == ISA_AUTO || isa == ISA_AMX) && has_amx())
        return &cpu_kernels_amx;
#endif
#if defined(__x86_64__)
    if (has_v4() && (isa == ISA_AUTO || isa == ISA_V4))
        return &cpu_kernels_v4;
    if (has_v3() && (isa == ISA_AUTO || isa == ISA_V3))
        return &cpu_kernels_v3;
#endif
    return isa == ISA_AUTO || isa == ISA_BASELINE ? &cpu_kernels_baseline : NULL;
}

static rein_status cpu_probe(struct rein_probe *out) {
    char library[100];

    blas_describe(library, sizeof(library));
    out->score = 50;
    out->devices = 1;
    snprintf(out->reason, sizeof(out->reason), "%s kernels, %d threads, %s", pick_kernels(ISA_AUTO)->name,
             parallel_default_threads(), library);
    return REIN_OK;
}

static void cpu_close(void *dev) {
    struct device *d = dev;
    const struct rein_host *host = d->host;

    if (d->blas)
        blas_restore(d->blas_threads);
    for (int i = 0; i < WORK_COUNT; i++)
        if (d->work[i].memory)
            host->free(host->ctx, d->work[i].memory);
    if (d->rope.memory)
        host->free(host->ctx, d->rope.memory);
    if (d->scratch)
        host->free(host->ctx, d->scratch);
    host->free(host->ctx, d);
}

/* Our products beat or match OpenBLAS with AVX2, AVX-512 and AMX; without them the library's kernels for this processor
 * are the better, unless it does not know it. */
static rein_status set_up_blas(struct device *d, int64_t choice) {
    const char *why;

    d->blas = choice == GEMM_BLAS || (choice == GEMM_AUTO && d->k == &cpu_kernels_baseline && !blas_is_old());
    if (!d->blas)
        return REIN_OK;
    d->blas_threads = blas_single();
    why = blas_self_test();
    return why ? d->host->fail(d->host->ctx, REIN_ERR_DEVICE, why) : REIN_OK;
}

static rein_status cpu_open(const struct rein_host *host, const void *config, const struct rein_open *how, void **dev) {
    const struct config *c = config;
    const struct cpu_kernels *k = pick_kernels(c->isa);
    char library[100];
    struct device *d;
    rein_status rc;

    if (how->device != 0)
        return host->fail(host->ctx, REIN_ERR_ARG, "cpu-blas: there is only device 0");
    if (!k)
        return host->fail_param(host->ctx, "isa",
                                c->isa == ISA_AMX ? "no tiles here: the processor, the system or the build lacks AMX"
                                                  : "this processor has no such instructions");
    d = host->alloc(host->ctx, sizeof(*d));
    if (!d)
        return host->fail(host->ctx, REIN_ERR_NOMEM, "cpu-blas: out of memory");
    memset(d, 0, sizeof(*d));
    d->host = host;
    d->k = k;
    d->threads = how->threads ? (int)least(how->threads, MOST_THREADS) : parallel_default_threads();
    d->scratch_bytes = k->tiles ? TILE_SCRATCH_BYTES : SCRATCH_BYTES;
    d->scratch = host->alloc(host->ctx, (size_t)d->threads * d->scratch_bytes);
    rc = d->scratch ? set_up_blas(d, c->gemm) : device_nomem(d);
    if (rc) {
        cpu_close(d);
        return rc;
    }
    blas_describe(library, sizeof(library));
    snprintf(d->text, sizeof(d->text), "%d thread%s, %s kernels, products of more than 32 rows by %s", d->threads,
             d->threads == 1 ? "" : "s", k->name, d->blas ? library : "our own");
    *dev = d;
    return REIN_OK;
}

rein_status device_nomem(struct device *d) {
    return d->host->fail(d->host->ctx, REIN_ERR_NOMEM, "cpu-blas: out of memory");
}

void *device_work(struct device *d, int slot, int64_t count, size_t size) {
    size_t bytes;

    if (count < 0 || __builtin_mul_overflow((size_t)count, size, &bytes)) {
        device_nomem(d);
        return NULL;
    }
    bytes = bytes ? bytes : 1;
    if (bytes > d->work[slot].bytes) {
        if (d->work[slot].memory)
            d->host->free(d->host->ctx, d->work[slot].memory);
        d->work[slot].bytes = 0;
        d->work[slot].memory = d->host->alloc(d->host->ctx, bytes);
        if (!d->work[slot].memory) {
            device_nomem(d);
            return NULL;
        }
        d->work[slot].bytes = bytes;
    }
    return d->work[slot].memory;
}

static rein_status cpu_alloc(void *dev, size_t bytes, void **ptr) {
    struct device *d = dev;

    *ptr = d->host->alloc(d->host->ctx, bytes ? bytes : 1);
    if (!*ptr)
        return device_nomem(d);
    return REIN_OK;
}

static void cpu_free(void *dev, void *ptr) {
    struct device *d = dev;

    if (ptr)
        d->host->free(d->host->ctx, ptr);
}

/* Memory that is touched for the first time is cleared by the kernel, a huge page at a time: pieces share that out too.
 * They end where huge pages do, since one that two threads touch at once is cleared twice. */
enum { TRANSFER = 2 << 20 };

struct transfer {
    char *to;
    const char *from; /* NULL: filled with `byte` */
    uint8_t byte;
    size_t before; /* from the beginning of a huge page to `to` */
};

static void run_transfer(void *ctx, int64_t begin, int64_t end) {
    const struct transfer *t = ctx;
    const size_t first = (size_t)begin > t->before ? (size_t)begin - t->before : 0;
    const size_t bytes = (size_t)end - t->before - first;

    if (t->from)
        memcpy(t->to + first, t->from + first, bytes);
    else
        memset(t->to + first, t->byte, bytes);
}

static void transfer(void *dev, struct transfer t, size_t bytes) {
    t.before = (uintptr_t)t.to % TRANSFER;
    if (bytes > 0)
        parallel_ranges(dev, (int64_t)(t.before + bytes), TRANSFER, run_transfer, &t);
}

static rein_status cpu_copy(void *dev, void *dst, const void *src, size_t bytes, uint32_t direction) {
    (void)direction;
    transfer(dev, (struct transfer){.to = dst, .from = src}, bytes);
    return REIN_OK;
}

static rein_status cpu_fill(void *dev, void *ptr, uint8_t byte, size_t bytes) {
    transfer(dev, (struct transfer){.to = ptr, .byte = byte}, bytes);
    return REIN_OK;
}

static rein_status cpu_sync(void *dev) {
    (void)dev;
    return REIN_OK;
}

static const char *cpu_describe(void *dev) {
    return ((struct device *)dev)->text;
}

static const struct rein_kernels kernels = {
    .size = sizeof(kernels),
    .linear = cpu_linear,
    .linear_dx = cpu_linear_dx,
    .linear_dw = cpu_linear_dw,
    .embedding = cpu_embedding,
    .embedding_dw = cpu_embedding_dw,
    .norm = cpu_norm,
    .norm_dx = cpu_norm_dx,
    .rope = cpu_rope,
    .activation = cpu_activation,
    .activation_dx = cpu_activation_dx,
    .attention = cpu_attention,
    .attention_dx = cpu_attention_dx,
    .head = cpu_head,
    .head_dx = cpu_head_dx,
    .sample = cpu_sample,
    .adamw = cpu_adamw,
    .sum_squares = cpu_sum_squares,
    .axpy = cpu_axpy,
    .gather = cpu_gather,
    .cast = cpu_cast,
    .perturb = cpu_perturb,
};

static const struct rein_backend_ops ops = {
    .size = sizeof(ops),
    .flags = REIN_MEMORY_HOST,
    .probe = cpu_probe,
    .open = cpu_open,
    .close = cpu_close,
    .alloc = cpu_alloc,
    .free = cpu_free,
    .copy = cpu_copy,
    .fill = cpu_fill,
    .sync = cpu_sync,
    .kernels = &kernels,
    .describe = cpu_describe,
};

static const struct rein_plugin plugin = {
    .size = sizeof(plugin),
    .abi = REIN_ABI_VERSION,
    .kind = REIN_KIND_BACKEND,
    .name = "cpu-blas",
    .version = "0.1.0",
    .license = "MIT",
    .summary = "The CPU: kernels for AMX, AVX-512, AVX2 and plain C, a BLAS library, and threads.",
    .params = params,
    .param_stride = sizeof(struct rein_param),
    .config_size = sizeof(struct config),
    .ops = &ops,
};

const struct rein_plugin *rein_plugin_entry(uint32_t index) {
    return index == 0 ? &plugin : NULL;
}
