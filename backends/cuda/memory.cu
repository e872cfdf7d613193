/* SPDX-License-Identifier: MIT
 * Memory of the device, copies, and the way of small host arrays there.
 */
#include "device.h"

#include <cstring>

enum { HALF_BYTES = 1 << 20, ALIGN = 64 };

/* Copies up to this size go through pinned memory: a pageable copy waits for the stream. */
enum { STAGED_COPY = 64 << 10 };

static void ring_free(struct staging *s, cudaStream_t stream) {
    if (s->device)
        cudaFreeAsync(s->device, stream);
    if (s->host)
        cudaFreeHost(s->host);
    s->host = s->device = NULL;
    s->half = s->used = 0;
}

static rein_status ring_alloc(struct device *d, size_t room) {
    struct staging *s = &d->staging;
    void *memory = NULL;
    rein_status rc = device_check(d, cudaMallocHost(&memory, 2 * room), "pinned memory");

    if (rc)
        return rc;
    s->host = static_cast<unsigned char *>(memory);
    rc = device_memory(d, 2 * room, "staging", &memory);
    if (rc)
        return rc;
    s->device = static_cast<unsigned char *>(memory);
    s->half = room;
    s->used = 0;
    s->current = 0;
    s->pending[0] = s->pending[1] = false;
    return REIN_OK;
}

rein_status staging_open(struct device *d) {
    for (int i = 0; i < 2; i++) {
        rein_status rc =
            device_check(d, cudaEventCreateWithFlags(&d->staging.copied[i], cudaEventDisableTiming), "event");
        if (rc) {
            d->staging.copied[i] = NULL;
            return rc;
        }
    }
    return ring_alloc(d, HALF_BYTES);
}

void staging_close(struct device *d) {
    ring_free(&d->staging, d->stream);
    for (int i = 0; i < 2; i++)
        if (d->staging.copied[i])
            cudaEventDestroy(d->staging.copied[i]);
}

/* The other room, once its copies are done. The device's room is overwritten in the order of the stream. */
static rein_status turn(struct device *d) {
    struct staging *s = &d->staging;
    const int other = s->current ^ 1;
    rein_status rc = device_check(d, cudaEventRecord(s->copied[s->current], d->stream), "event");

    if (rc)
        return rc;
    s->pending[s->current] = true;
    if (s->pending[other])
        rc = device_check(d, cudaEventSynchronize(s->copied[other]), "event");
    if (rc)
        return rc;
    s->pending[other] = false;
    s->current = other;
    s->used = 0;
    return REIN_OK;
}

rein_status staging_room(struct device *d, size_t bytes) {
    struct staging *s = &d->staging;
    size_t room = s->half ? s->half : (size_t)HALF_BYTES;
    rein_status rc;

    bytes += STAGED_ARRAYS * ALIGN;
    if (s->half >= bytes)
        return s->used + bytes <= s->half ? REIN_OK : turn(d);
    while (room < bytes) {
        if (room > SIZE_MAX / 4)
            return device_nomem(d);
        room *= 2;
    }
    rc = device_check(d, cudaStreamSynchronize(d->stream), "staging");
    if (rc)
        return rc;
    ring_free(s, d->stream);
    return ring_alloc(d, room);
}

void *staging_take(struct device *d, size_t bytes) {
    struct staging *s = &d->staging;
    void *at = s->host + s->current * s->half + s->used;

    s->used += (bytes + ALIGN - 1) / ALIGN * ALIGN;
    return at;
}

rein_status staging_send(struct device *d, const void *host, size_t bytes, const void **device_at) {
    struct staging *s = &d->staging;
    void *at = s->device + (static_cast<const unsigned char *>(host) - s->host);

    *device_at = at;
    return bytes ? device_check(d, cudaMemcpyAsync(at, host, bytes, cudaMemcpyHostToDevice, d->stream), "staging")
                 : REIN_OK;
}

extern "C" rein_status cuda_alloc(void *dev, size_t bytes, void **ptr) {
    return device_memory(device_enter(dev), bytes ? bytes : 1, "alloc", ptr);
}

extern "C" void cuda_release(void *dev, void *ptr) {
    struct device *d = device_enter(dev);

    if (ptr)
        cudaFreeAsync(ptr, d->stream);
}

extern "C" rein_status cuda_copy(void *dev, void *dst, const void *src, size_t bytes, uint32_t direction) {
    struct device *d = device_enter(dev);
    const cudaMemcpyKind kind = direction == REIN_COPY_TO_DEVICE     ? cudaMemcpyHostToDevice
                                : direction == REIN_COPY_FROM_DEVICE ? cudaMemcpyDeviceToHost
                                                                     : cudaMemcpyDeviceToDevice;

    if (bytes == 0)
        return REIN_OK;
    if (direction == REIN_COPY_TO_DEVICE && bytes <= STAGED_COPY) {
        rein_status rc = staging_room(d, bytes);
        if (rc)
            return rc;
        void *host = staging_take(d, bytes);
        memcpy(host, src, bytes);
        src = host;
    }
    return device_check(d, cudaMemcpyAsync(dst, src, bytes, kind, d->stream), "copy");
}

extern "C" rein_status cuda_fill(void *dev, void *ptr, uint8_t byte, size_t bytes) {
    struct device *d = device_enter(dev);

    return bytes ? device_check(d, cudaMemsetAsync(ptr, byte, bytes, d->stream), "fill") : REIN_OK;
}

extern "C" rein_status cuda_sync(void *dev) {
    struct device *d = device_enter(dev);
    const int n = d->nresults;
    rein_status rc = device_check(d, cudaStreamSynchronize(d->stream), "a kernel or copy since the last sync");

    d->nresults = 0;
    for (int i = 0; i < n && rc == REIN_OK; i++)
        *d->wanted[i] = d->results[i];
    return rc;
}

/* Where a kernel leaves a number that sync() hands to *out; the n-th since the last one. */
rein_status result_slot(struct device *d, double *out, double **device_at) {
    rein_status rc = d->nresults == MOST_RESULTS ? cuda_sync(d) : REIN_OK;

    if (rc)
        return rc;
    d->wanted[d->nresults] = out;
    *device_at = d->device_results + d->nresults;
    return REIN_OK;
}

rein_status result_fetch(struct device *d) {
    const int i = d->nresults;
    rein_status rc = device_check(
        d, cudaMemcpyAsync(d->results + i, d->device_results + i, sizeof(double), cudaMemcpyDeviceToHost, d->stream),
        "result");

    d->nresults += rc == REIN_OK;
    return rc;
}
