/* SPDX-License-Identifier: MIT
 * NVIDIA GPUs. So far this module only finds out whether there is one: it has no kernels, so that it scores 0 and
 * cannot be opened. It links the CUDA runtime and never libcuda, and therefore loads on any machine.
 */
#include <rein/rein.h>

#include <cuda_runtime_api.h>
#include <stdio.h>

static rein_status probe(struct rein_probe *out) {
    int devices = 0, runtime = 0;
    const cudaError_t e = cudaGetDeviceCount(&devices);

    cudaRuntimeGetVersion(&runtime);
    out->score = 0;
    out->devices = e == cudaSuccess && devices > 0 ? (uint32_t)devices : 0;
    if (e != cudaSuccess)
        snprintf(out->reason, sizeof(out->reason), "CUDA %d.%d: %s", runtime / 1000, runtime % 1000 / 10,
                 cudaGetErrorString(e));
    else
        snprintf(out->reason, sizeof(out->reason), "CUDA %d.%d: %d device%s, but this version has no kernels for them",
                 runtime / 1000, runtime % 1000 / 10, devices, devices == 1 ? "" : "s");
    return REIN_OK;
}

static rein_status cuda_open(const struct rein_host *host, const void *config, const struct rein_open *how, void **dev) {
    (void)config;
    (void)how;
    (void)dev;
    return host->fail(host->ctx, REIN_ERR_UNSUPPORTED, "this version has no CUDA kernels; use another backend");
}

/* The table must be whole; nothing below is called while open() refuses. */
static void cuda_close(void *dev) {
    (void)dev;
}

static rein_status cuda_alloc(void *dev, size_t bytes, void **ptr) {
    (void)dev;
    return cudaMalloc(ptr, bytes) == cudaSuccess ? REIN_OK : REIN_ERR_NOMEM;
}

static void cuda_release(void *dev, void *ptr) {
    (void)dev;
    cudaFree(ptr);
}

static rein_status cuda_copy(void *dev, void *dst, const void *src, size_t bytes, uint32_t direction) {
    const enum cudaMemcpyKind kind = direction == REIN_COPY_TO_DEVICE     ? cudaMemcpyHostToDevice
                                     : direction == REIN_COPY_FROM_DEVICE ? cudaMemcpyDeviceToHost
                                                                          : cudaMemcpyDeviceToDevice;

    (void)dev;
    return cudaMemcpy(dst, src, bytes, kind) == cudaSuccess ? REIN_OK : REIN_ERR_DEVICE;
}

static rein_status cuda_fill(void *dev, void *ptr, uint8_t byte, size_t bytes) {
    (void)dev;
    return cudaMemset(ptr, byte, bytes) == cudaSuccess ? REIN_OK : REIN_ERR_DEVICE;
}

static rein_status cuda_sync(void *dev) {
    (void)dev;
    return cudaDeviceSynchronize() == cudaSuccess ? REIN_OK : REIN_ERR_DEVICE;
}

static const struct rein_kernels kernels = {.size = sizeof(kernels)};
static const struct rein_backend_ops ops = {
    .size = sizeof(ops),
    .probe = probe,
    .open = cuda_open,
    .close = cuda_close,
    .alloc = cuda_alloc,
    .free = cuda_release,
    .copy = cuda_copy,
    .fill = cuda_fill,
    .sync = cuda_sync,
    .kernels = &kernels,
};
static const struct rein_plugin plugin = {
    .size = sizeof(plugin),
    .abi = REIN_ABI_VERSION,
    .kind = REIN_KIND_BACKEND,
    .name = "cuda",
    .version = "0.1.0",
    .license = "MIT",
    .summary = "NVIDIA GPUs, so far only found and not used.",
    .param_stride = sizeof(struct rein_param),
    .ops = &ops,
};

const struct rein_plugin *rein_plugin_entry(uint32_t index) {
    return index == 0 ? &plugin : NULL;
}
