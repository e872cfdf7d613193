/* SPDX-License-Identifier: MIT
 * The rest of the runtime API: properties, memory, copies, launches.
 */
#include "stream.h"

#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <vector>

struct CUmemPool_st {
    int device;
};

namespace emu {

size_t blas_handles();

static std::map<void *, size_t> pinned;
static CUmemPool_st pools[DEVICES] = {{0}, {1}};
static long doomed; /* kernels until one fails; 0: none */

size_t alive() {
    LOCK;
    return device_blocks() + pinned.size() + stream_objects() + blas_handles();
}

void fail_kernel(long n) {
    fail_call(0);
    doomed = n;
}

/* ---- launches ------------------------------------------------------------------------------------ */

/* What is wrong with the shape of a launch; NULL: nothing. */
static const char *wrong_shape(dim3 grid, dim3 block, size_t shared) {
    static char text[100];

    if (!block.x || !block.y || !block.z || !grid.x || !grid.y || !grid.z)
        return "a dimension of 0";
    if ((uint64_t)block.x * block.y * block.z > MOST_THREADS || block.x > 1024 || block.y > 1024 || block.z > 64)
        return "a block of more than 1024 threads (1024, 1024, 64)";
    if (grid.x > 2147483647u || grid.y > 65535 || grid.z > 65535)
        return "a grid beyond (2147483647, 65535, 65535)";
    if (shared > MOST_SHARED) {
        snprintf(text, sizeof(text), "%zu bytes of dynamic shared memory; there are %d", shared, MOST_SHARED);
        return text;
    }
    return NULL;
}

static void run_kernel(const launch_site &l) {
    if (broken(l.device))
        return;
    if (doomed > 0 && --doomed == 0) {
        break_device(l.device, cudaErrorIllegalAddress);
        fail_note();
        return;
    }
    run_launch(l);
}

cudaError_t enqueue(const char *name, dim3 grid, dim3 block, size_t shared, cudaStream_t stream,
                    const void *call, size_t size, void (*run)(const void *call)) {
    LOCK;
    static char parameters[4096] __attribute__((aligned(16))); /* of the running kernel */
    const cudaError_t e = stream_check(stream);
    const char *wrong = wrong_shape(grid, block, shared);

    if (e != cudaSuccess)
        return e;
    if (stream_device(stream) != current_device()) {
        complain("launch of %s: the stream belongs to device %d, and device %d is current", name, stream_device(stream),
                 current_device());
        return failed(cudaErrorInvalidResourceHandle);
    }
    if (wrong) {
        complain("launch of %s, grid (%u,%u,%u), block (%u,%u,%u): %s", name, grid.x, grid.y, grid.z, block.x, block.y, block.z,
                 wrong);
        return failed(shared > MOST_SHARED ? cudaErrorInvalidValue : cudaErrorInvalidConfiguration);
    }
    if (fails())
        return failed(cudaErrorLaunchOutOfResources);
    const std::vector<char> kept((const char *)call, (const char *)call + size);
    const launch_site l = {name, grid, block, shared, stream_device(stream), parameters, run};
    stream_push(stream, [l, kept] {
        memcpy(parameters, kept.data(), kept.size());
        run_kernel(l);
    });
    return cudaSuccess;
}

/* ---- copies ----------------------------------------------------------------------------------------- */

static uint64_t digest(const void *address, size_t bytes) {
    const unsigned char *p = (const unsigned char *)address;
    uint64_t h = 0xcbf29ce484222325u, word;

    for (; bytes >= 8; bytes -= 8, p += 8) {
        memcpy(&word, p, 8);
        h = (h ^ word) * 0x100000001b3u;
        h ^= h >> 29;
    }
    while (bytes-- > 0)
        h = (h ^ *p++) * 0x100000001b3u;
    return h;
}

struct copy {
    char *to;
    const char *from;
    size_t to_pitch, from_pitch, width, height;
    cudaMemcpyKind kind;
    int device;
    uint64_t digest;
};

static uint64_t source_digest(const copy &c) {
    uint64_t h = 0;

    for (size_t i = 0; i < c.height; i++)
        h = h * 31 + digest(c.from + i * c.from_pitch, c.width);
    return h;
}

static void run_copy(const copy &c) {
    const char *const what = c.kind == cudaMemcpyHostToDevice   ? "copy to the device"
                             : c.kind == cudaMemcpyDeviceToHost ? "copy from the device"
                                                                : "copy on the device";

    if (broken(c.device))
        return;
    if (c.kind == cudaMemcpyHostToDevice && source_digest(c) != c.digest)
        fatal("host memory at %p was changed before its copy to the device ran: the host must wait", (const void *)c.from);
    for (size_t i = 0; i < c.height; i++) {
        char *to = c.to + i * c.to_pitch;
        const char *from = c.from + i * c.from_pitch;
        if (c.kind != cudaMemcpyDeviceToHost)
            check_range(what, c.device, to, c.width, false);
        if (c.kind != cudaMemcpyHostToDevice)
            check_range(what, c.device, from, c.width, false);
        if (c.kind == cudaMemcpyDeviceToDevice && to < from + c.width && from < to + c.width)
            fatal("%s: the ranges overlap", what);
        memcpy(to, from, c.width);
        if (c.kind == cudaMemcpyHostToDevice)
            mark_range(to, c.width, WRITTEN_BY_HOST);
        if (c.kind == cudaMemcpyDeviceToHost)
            blank_unwritten(to, from, c.width);
        if (c.kind == cudaMemcpyDeviceToDevice)
            copy_marks(to, from, c.width);
    }
}

static cudaError_t push_copy(copy c, cudaStream_t stream) {
    const size_t extent = c.height ? (c.height - 1) * (c.kind == cudaMemcpyHostToDevice ? c.from_pitch : c.to_pitch) + c.width : 0;
    const bool to_device = device_of((uintptr_t)c.to) >= 0, from_device = device_of((uintptr_t)c.from) >= 0;
    const cudaError_t e = stream_check(stream);

    if (e != cudaSuccess)
        return e;
    if (c.width > 0 && c.height > 0 &&
        (to_device != (c.kind != cudaMemcpyDeviceToHost) || from_device != (c.kind != cudaMemcpyHostToDevice))) {
        complain("copy from %p to %p: not the kinds of memory that the call names", (const void *)c.from, (void *)c.to);
        return failed(cudaErrorInvalidValue);
    }
    if (c.height > 1 && (c.width > c.to_pitch || c.width > c.from_pitch))
        return failed(cudaErrorInvalidValue);
    if (fails())
        return failed(cudaErrorUnknown);
    c.device = stream_device(stream);
    if (c.kind == cudaMemcpyHostToDevice) {
        c.digest = source_digest(c);
        stream_push(stream, [c] { run_copy(c); }, {c.from, extent, true});
    } else if (c.kind == cudaMemcpyDeviceToHost) {
        /* nothing of use is there until the host waits */
        for (size_t i = 0; i < c.height && !stream_uses(c.to, extent, true); i++)
            memset(c.to + i * c.to_pitch, 0xff, c.width);
        stream_push(stream, [c] { run_copy(c); }, {c.to, extent, false});
    } else {
        stream_push(stream, [c] { run_copy(c); });
    }
    return cudaSuccess;
}

} // namespace emu

using namespace emu;

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
    LOCK;
    return push_copy({(char *)to, (const char *)from, bytes, bytes, bytes, 1, kind, 0, 0}, stream);
}

cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width, size_t height,
                              cudaMemcpyKind kind, cudaStream_t stream) {
    LOCK;
    return push_copy({(char *)to, (const char *)from, to_pitch, from_pitch, width, height, kind, 0, 0}, stream);
}

cudaError_t cudaMemset2DAsync(void *address, size_t pitch, int byte, size_t width, size_t height, cudaStream_t stream) {
    LOCK;
    const cudaError_t e = stream_check(stream);

    if (e != cudaSuccess)
        return e;
    if (height > 1 && width > pitch)
        return failed(cudaErrorInvalidValue);
    if (fails())
        return failed(cudaErrorUnknown);
    const int device = stream_device(stream);
    stream_push(stream, [=] {
        if (broken(device))
            return;
        for (size_t i = 0; i < height; i++) {
            char *row = (char *)address + i * pitch;
            check_range("memset", device, row, width, false);
            memset(row, byte, width);
            mark_range(row, width, WRITTEN_BY_HOST);
        }
    });
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *address, int byte, size_t bytes, cudaStream_t stream) {
    return cudaMemset2DAsync(address, bytes, byte, bytes, 1, stream);
}

/* ---- memory -------------------------------------------------------------------------------------------- */

cudaError_t cudaMallocAsync(void **out, size_t bytes, cudaStream_t stream) {
    LOCK;
    const cudaError_t e = stream_check(stream);

    if (e != cudaSuccess)
        return e;
    if (bytes == 0)
        return failed(cudaErrorInvalidValue);
    *out = out_of_memory() ? NULL : device_alloc(stream_device(stream), bytes);
    if (!*out)
        return failed(cudaErrorMemoryAllocation);
    void *const made = *out;
    stream_push(stream, [made] { device_born(made); });
    return cudaSuccess;
}

static void free_now(void *address) {
    if (!device_block(address))
        fatal("double free of %p", address);
    device_free(address);
}

static cudaError_t not_a_block(void *address) {
    complain("free of %p, which is no block of device memory", address);
    return failed(cudaErrorInvalidValue);
}

cudaError_t cudaFreeAsync(void *address, cudaStream_t stream) {
    LOCK;
    if (stream_check(stream) == cudaErrorInvalidResourceHandle)
        return cudaErrorInvalidResourceHandle;
    if (!device_block(address))
        return not_a_block(address);
    if (device_of((uintptr_t)address) != stream_device(stream))
        fatal("free of %p, which is memory of device %d, on a stream of device %d", address, device_of((uintptr_t)address),
              stream_device(stream));
    stream_push(stream, [address] { free_now(address); });
    return cudaSuccess;
}

cudaError_t cudaMalloc(void **out, size_t bytes) {
    LOCK;
    *out = out_of_memory() || bytes == 0 ? NULL : device_alloc(current_device(), bytes);
    if (!*out)
        return bytes ? failed(cudaErrorMemoryAllocation) : cudaSuccess;
    device_born(*out);
    return cudaSuccess;
}

cudaError_t cudaFree(void *address) {
    LOCK;
    if (!address)
        return cudaSuccess;
    if (!device_block(address))
        return not_a_block(address);
    stream_drain_all(device_of((uintptr_t)address));
    free_now(address);
    return cudaSuccess;
}

cudaError_t cudaMallocHost(void **out, size_t bytes) {
    LOCK;
    *out = fails() ? NULL : aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    if (!*out)
        return failed(cudaErrorMemoryAllocation);
    memset(*out, 0xff, bytes);
    pinned[*out] = bytes;
    return cudaSuccess;
}

cudaError_t cudaFreeHost(void *address) {
    LOCK;
    const auto at = pinned.find(address);

    if (!address)
        return cudaSuccess;
    if (at == pinned.end())
        return failed(cudaErrorInvalidValue);
    if (stream_uses(address, at->second, false))
        fatal("pinned memory at %p is freed while a copy waits for it", address);
    pinned.erase(at);
    free(address);
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *unused, size_t *total) {
    LOCK;
    *total = set().memory;
    *unused = set().memory - device_used(current_device());
    return cudaSuccess;
}

cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t *out, int device) {
    LOCK;
    if (device < 0 || device >= DEVICES)
        return failed(cudaErrorInvalidDevice);
    if (fails())
        return failed(cudaErrorUnknown);
    *out = &pools[device];
    return cudaSuccess;
}

cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr attribute, void *) {
    LOCK;
    return attribute != cudaMemPoolAttrReleaseThreshold ? failed(cudaErrorInvalidValue)
                                                        : fails() ? failed(cudaErrorUnknown) : cudaSuccess;
}

cudaError_t cudaMemPoolTrimTo(cudaMemPool_t pool, size_t) {
    LOCK;
    device_trim(pool->device);
    return cudaSuccess;
}

/* ---- properties and names ------------------------------------------------------------------------------------ */

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *out, int device) {
    LOCK;
    if (device < 0 || device >= DEVICES)
        return failed(cudaErrorInvalidDevice);
    if (fails())
        return failed(cudaErrorUnknown);
    *out = {};
    snprintf(out->name, sizeof(out->name), "emulated GPU %d", device);
    out->totalGlobalMem = set().memory;
    out->major = 8;
    out->minor = 0;
    out->multiProcessorCount = 4;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version) {
    *version = 12000;
    return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int *version) {
    *version = 12000;
    return cudaSuccess;
}

static const struct {
    cudaError_t error;
    const char *name, *text;
} errors[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration", "invalid configuration argument"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorIllegalAddress, "cudaErrorIllegalAddress", "an illegal memory access was encountered"},
    {cudaErrorLaunchOutOfResources, "cudaErrorLaunchOutOfResources", "too many resources requested for launch"},
    {cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "unspecified launch failure"},
    {cudaErrorUnknown, "cudaErrorUnknown", "unknown error"},
};

const char *cudaGetErrorName(cudaError_t error) {
    for (const auto &e : errors)
        if (e.error == error)
            return e.name;
    return "unrecognized error code";
}

const char *cudaGetErrorString(cudaError_t error) {
    for (const auto &e : errors)
        if (e.error == error)
            return e.text;
    return "unrecognized error code";
}
