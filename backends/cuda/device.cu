/* SPDX-License-Identifier: MIT
 * Finding, opening and closing a GPU.
 */
#include "blas.h"

#include <cstdio>
#include <cstring>

/* The least compute capability that there is code for, times 10; configure knows. */
#ifndef REIN_CUDA_LEAST
#define REIN_CUDA_LEAST 80
#endif

static int capability(const cudaDeviceProp *p) {
    return p->major * 10 + p->minor;
}

extern "C" rein_status cuda_probe(struct rein_probe *out) {
    int devices = 0, runtime = 0, driver = 0, fit = 0;
    cudaDeviceProp first = {};
    cudaError_t e = cudaGetDeviceCount(&devices);

    cudaRuntimeGetVersion(&runtime);
    cudaDriverGetVersion(&driver);
    out->score = out->devices = 0;
    for (int i = 0; e == cudaSuccess && i < devices; i++) {
        cudaDeviceProp p = {};
        e = cudaGetDeviceProperties(&p, i);
        fit += e == cudaSuccess && capability(&p) >= REIN_CUDA_LEAST;
        if (i == 0)
            first = p;
    }
    if (e == cudaSuccess && fit > 0) {
        out->score = 100;
        out->devices = (uint32_t)devices;
        snprintf(out->reason, sizeof(out->reason), "%d device%s, the first: %.80s (compute capability %d.%d, %llu MiB)",
                 devices, devices == 1 ? "" : "s", first.name, first.major, first.minor,
                 (unsigned long long)(first.totalGlobalMem >> 20));
    } else if (e == cudaSuccess && devices > 0) {
        snprintf(out->reason, sizeof(out->reason),
                 "%.80s has compute capability %d.%d; this build is for %d.%d and later", first.name, first.major,
                 first.minor, REIN_CUDA_LEAST / 10, REIN_CUDA_LEAST % 10);
    } else {
        char found[40] = "no NVIDIA driver";
        if (driver > 0)
            snprintf(found, sizeof(found), "driver %d.%d", driver / 1000, driver % 1000 / 10);
        snprintf(out->reason, sizeof(out->reason),
                 "CUDA runtime %d.%d, %s: %.60s%s%.90s (no GPU has run this backend yet)", runtime / 1000,
                 runtime % 1000 / 10, found, e == cudaSuccess ? "" : cudaGetErrorName(e), e == cudaSuccess ? "" : ": ",
                 e == cudaSuccess ? "there is no device" : cudaGetErrorString(e));
        cudaGetLastError(); /* the machine's state, not a failure of a later call */
    }
    return REIN_OK;
}

struct device *device_enter(void *dev) {
    struct device *d = static_cast<struct device *>(dev);

    cudaSetDevice(d->index); /* cheap when it is; a failure shows in what follows */
    return d;
}

rein_status device_check(struct device *d, cudaError_t e, const char *what) {
    char text[250];

    if (e == cudaSuccess)
        return REIN_OK;
    cudaGetLastError(); /* what is told is not told again, unless the device is lost */
    snprintf(text, sizeof(text), "cuda: %.80s: %.60s: %.90s", what, cudaGetErrorName(e), cudaGetErrorString(e));
    return d->host->fail(d->host->ctx, e == cudaErrorMemoryAllocation ? REIN_ERR_NOMEM : REIN_ERR_DEVICE, text);
}

rein_status device_nomem(struct device *d) {
    return d->host->fail(d->host->ctx, REIN_ERR_NOMEM, "cuda: out of memory");
}

/* What was freed may lie in the pool in pieces that are too small, or be freed only when the stream gets there: the
 * pool gives back what it can before memory is said to be out. */
rein_status device_memory(struct device *d, size_t bytes, const char *what, void **out) {
    cudaError_t e = cudaMallocAsync(out, bytes, d->stream);
    cudaMemPool_t pool;
    char text[80];

    if (e == cudaErrorMemoryAllocation) {
        const cudaError_t fault = cudaStreamSynchronize(d->stream);

        if (fault != cudaSuccess) /* of an earlier kernel: no lack of memory */
            e = fault;
        else if (cudaDeviceGetDefaultMemPool(&pool, d->index) == cudaSuccess && cudaMemPoolTrimTo(pool, 0) == cudaSuccess)
            e = cudaMallocAsync(out, bytes, d->stream);
    }
    if (e == cudaSuccess) {
        cudaGetLastError(); /* the first attempt's */
        return REIN_OK;
    }
    *out = NULL;
    snprintf(text, sizeof(text), "%s, %.1f MiB", what, (double)bytes / (1 << 20));
    /* what no address space holds is called an invalid value */
    return device_check(d, e == cudaErrorInvalidValue ? cudaErrorMemoryAllocation : e, text);
}

void *device_work(struct device *d, int slot, int64_t count, size_t size) {
    size_t bytes;
    void *memory = NULL;

    if (count < 0 || __builtin_mul_overflow((size_t)count, size, &bytes)) {
        device_nomem(d);
        return NULL;
    }
    if (bytes <= d->work[slot].bytes && d->work[slot].memory)
        return d->work[slot].memory;
    if (d->work[slot].memory)
        cudaFreeAsync(d->work[slot].memory, d->stream); /* after the kernels that use it */
    d->work[slot].memory = NULL;
    d->work[slot].bytes = 0;
    bytes = bytes ? bytes : 1;
    if (device_memory(d, bytes, "workspace", &memory))
        return NULL;
    d->work[slot].memory = memory;
    d->work[slot].bytes = bytes;
    return memory;
}

int32_t *device_counters(struct device *d, int64_t n) {
    const struct rein_host *host = d->host;

    if ((size_t)n > d->counters.count || !d->counters.memory) {
        size_t count = n > 0 ? (size_t)n : 1;
        if (d->counters.memory)
            host->free(host->ctx, d->counters.memory);
        d->counters.count = 0;
        d->counters.memory = static_cast<int32_t *>(host->alloc(host->ctx, count * sizeof(int32_t)));
        if (!d->counters.memory) {
            device_nomem(d);
            return NULL;
        }
        d->counters.count = count;
    }
    memset(d->counters.memory, 0, (size_t)n * sizeof(int32_t));
    return d->counters.memory;
}

extern "C" void cuda_close(void *dev) {
    struct device *d = device_enter(dev);
    const struct rein_host *host = d->host;
    cudaMemPool_t pool;

    if (d->stream)
        cudaStreamSynchronize(d->stream);
    blas_close(d);
    staging_close(d);
    for (int i = 0; i < WORK_COUNT; i++)
        if (d->work[i].memory)
            cudaFreeAsync(d->work[i].memory, d->stream);
    if (d->device_results)
        cudaFreeAsync(d->device_results, d->stream);
    if (d->results)
        cudaFreeHost(d->results);
    if (d->stream) {
        cudaStreamSynchronize(d->stream);
        if (cudaDeviceGetDefaultMemPool(&pool, d->index) == cudaSuccess)
            cudaMemPoolTrimTo(pool, 0);
        cudaStreamDestroy(d->stream);
    }
    if (d->counters.memory)
        host->free(host->ctx, d->counters.memory);
    cudaGetLastError();
    host->free(host->ctx, d);
}

/* The pool keeps what is freed, so that the next allocation costs nothing. */
static rein_status set_up(struct device *d) {
    uint64_t all = UINT64_MAX;
    cudaMemPool_t pool;
    void *memory = NULL;
    rein_status rc = device_check(d, cudaStreamCreateWithFlags(&d->stream, cudaStreamNonBlocking), "stream");

    if (rc == REIN_OK)
        rc = device_check(d, cudaDeviceGetDefaultMemPool(&pool, d->index), "memory pool");
    if (rc == REIN_OK)
        rc = device_check(d, cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &all), "memory pool");
    if (rc == REIN_OK) {
        rc = device_memory(d, MOST_RESULTS * sizeof(double), "results", &memory);
        d->device_results = static_cast<double *>(memory);
    }
    if (rc == REIN_OK) {
        rc = device_check(d, cudaMallocHost(&memory, MOST_RESULTS * sizeof(double)), "pinned memory");
        d->results = rc == REIN_OK ? static_cast<double *>(memory) : NULL;
    }
    if (rc == REIN_OK)
        rc = staging_open(d);
    return rc == REIN_OK ? blas_open(d) : rc;
}

extern "C" rein_status cuda_open(const struct rein_host *host, const void *config, const struct rein_open *how,
                                 void **dev) {
    cudaDeviceProp p = {};
    struct device *d;
    char text[200];
    int devices = 0;
    rein_status rc;
    cudaError_t e = cudaGetDeviceCount(&devices);

    if (e != cudaSuccess || how->device >= (uint32_t)devices) {
        cudaGetLastError();
        snprintf(text, sizeof(text), "cuda: there is no device %u: %.60s%.100s", (unsigned)how->device,
                 e == cudaSuccess ? "there are fewer" : cudaGetErrorName(e), e == cudaSuccess ? "" : " counting them");
        return host->fail(host->ctx, e == cudaSuccess ? REIN_ERR_ARG : REIN_ERR_DEVICE, text);
    }
    d = static_cast<struct device *>(host->alloc(host->ctx, sizeof(*d)));
    if (!d)
        return host->fail(host->ctx, REIN_ERR_NOMEM, "cuda: out of memory");
    memset(d, 0, sizeof(*d));
    d->host = host;
    d->config = *static_cast<const struct config *>(config);
    d->index = (int)how->device;
    rc = device_check(d, cudaSetDevice(d->index), "opening the device");
    if (rc == REIN_OK)
        rc = device_check(d, cudaGetDeviceProperties(&p, d->index), "opening the device");
    if (rc == REIN_OK && capability(&p) < REIN_CUDA_LEAST)
        rc = host->fail(host->ctx, REIN_ERR_UNSUPPORTED, "cuda: the device is older than this build is for");
    if (rc == REIN_OK)
        rc = set_up(d);
    if (rc) {
        cuda_close(d);
        return rc;
    }
    d->multiprocessors = p.multiProcessorCount;
    snprintf(d->text, sizeof(d->text), "device %d: %.80s, compute capability %d.%d, %llu MiB, %s products", d->index,
             p.name, p.major, p.minor, (unsigned long long)(p.totalGlobalMem >> 20),
             d->config.tf32 ? "TF32" : "float32");
    *dev = d;
    return REIN_OK;
}

extern "C" const char *cuda_describe(void *dev) {
    return static_cast<struct device *>(dev)->text;
}
