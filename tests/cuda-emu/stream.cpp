/* SPDX-License-Identifier: MIT
 * Streams and events. Work waits in its stream until something waits for it, as far behind as the rules allow: what forgets that
 * calls are asynchronous is found by that.
 */
#include "stream.h"

#include <algorithm>
#include <cstdlib>
#include <vector>

struct CUevent_st {
    int device;
    std::shared_ptr<emu::mark> mark;
};

namespace emu {

std::recursive_mutex mutex;
static std::vector<CUstream_st *> streams;
static size_t events;
static thread_local int device;
static thread_local cudaError_t last_error;
static cudaError_t broken_devices[DEVICES];
static long countdown = -1; /* -1: not asked yet; 0: off */
static long calls;          /* that could have failed */
static bool fired, memory_is_out;

int current_device() {
    return device;
}

cudaError_t failed(cudaError_t error) {
    if (error != cudaSuccess)
        last_error = error;
    return error;
}

cudaError_t broken(int which) {
    return broken_devices[which];
}

void break_device(int which, cudaError_t error) {
    broken_devices[which] = error;
}

void mend_devices() {
    for (auto &e : broken_devices)
        e = cudaSuccess;
    last_error = cudaSuccess;
}

void fail_call(long n) {
    countdown = n;
    fired = memory_is_out = false;
}

void fail_note() {
    fired = true;
}

bool fail_done() {
    return fired;
}

/* At the end of a process in which a call was to fail: how many there were, and what was not given back. */
struct last_words {
    ~last_words() {
        if (getenv("REIN_EMU_FAIL"))
            complain("%ld calls could fail, %s; %zu things are left", calls, fired ? "one did" : "none did", alive());
    }
};

bool fails() {
    static const last_words at_exit; /* made after all that it asks, so it goes before */

    if (countdown < 0)
        countdown = getenv("REIN_EMU_FAIL") ? atol(getenv("REIN_EMU_FAIL")) : 0;
    calls++;
    if (countdown == 0 || --countdown > 0)
        return false;
    fired = true;
    return true;
}

bool out_of_memory() {
    memory_is_out = fails() || memory_is_out;
    return memory_is_out;
}

/* ---- queues ------------------------------------------------------------------------------------- */

bool stream_known(cudaStream_t stream) {
    return std::find(streams.begin(), streams.end(), stream) != streams.end();
}

int stream_device(cudaStream_t stream) {
    return stream->device;
}

cudaError_t stream_check(cudaStream_t stream) {
    if (!stream_known(stream)) {
        complain("a call with %s", stream ? "a stream that does not exist" : "the default stream, which is not emulated");
        return failed(cudaErrorInvalidResourceHandle);
    }
    return failed(broken(stream->device));
}

/* Runs a stream's work until the mark is reached, or all of it. */
static void drain(cudaStream_t stream, const mark *until, uint64_t generation) {
    device_open();
    while (!stream->queue.empty() && !(until && until->done >= generation)) {
        const work next = std::move(stream->queue.front());
        stream->queue.pop_front();
        next.run();
    }
    device_close();
}

void stream_drain(cudaStream_t stream) {
    drain(stream, NULL, 0);
}

void stream_drain_all(int which) {
    for (size_t i = 0; i < streams.size(); i++)
        if (streams[i]->device == which)
            stream_drain(streams[i]);
}

void stream_push(cudaStream_t stream, std::function<void()> run, host_range host) {
    stream->queue.push_back({std::move(run), host});
    if (set().streams == EAGER || (set().streams == SOMETIMES && random_bits() % 4 == 0))
        stream_drain(stream);
}

bool stream_uses(const void *address, size_t bytes, bool only_reads) {
    const char *begin = (const char *)address;

    for (const CUstream_st *s : streams)
        for (const work &w : s->queue)
            if (w.host.begin && begin < w.host.begin + w.host.bytes && w.host.begin < begin + bytes &&
                (w.host.reads || !only_reads))
                return true;
    return false;
}

size_t stream_objects() {
    return streams.size() + events;
}

} // namespace emu

using namespace emu;

/* ---- devices and errors ------------------------------------------------------------------------------ */

cudaError_t cudaGetDeviceCount(int *count) {
    LOCK;
    if (fails())
        return failed(cudaErrorUnknown);
    *count = DEVICES;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int which) {
    LOCK;
    if (which < 0 || which >= DEVICES)
        return failed(cudaErrorInvalidDevice);
    device = which;
    return cudaSuccess;
}

cudaError_t cudaGetDevice(int *which) {
    *which = device;
    return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize() {
    LOCK;
    if (fails())
        return failed(cudaErrorUnknown);
    stream_drain_all(device);
    return failed(broken(device));
}

cudaError_t cudaGetLastError() {
    const cudaError_t e = last_error;

    last_error = broken(device); /* which stays */
    return e;
}

cudaError_t cudaPeekAtLastError() {
    return last_error;
}

/* ---- streams -------------------------------------------------------------------------------------------- */

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned flags) {
    LOCK;
    if (flags & ~(unsigned)cudaStreamNonBlocking)
        return failed(cudaErrorInvalidValue);
    if (fails())
        return failed(cudaErrorMemoryAllocation);
    if (broken(device))
        return failed(broken(device));
    *out = new CUstream_st{device, {}};
    streams.push_back(*out);
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    LOCK;
    if (!stream_known(stream))
        return stream_check(stream);
    stream_drain(stream);
    streams.erase(std::find(streams.begin(), streams.end(), stream));
    delete stream;
    return cudaSuccess;
}

/* A wait fails for what happened to the device: it is lost, and nothing of it runs any more. */
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    LOCK;
    if (!stream_known(stream))
        return stream_check(stream);
    if (fails())
        break_device(stream->device, cudaErrorLaunchFailure);
    stream_drain(stream);
    return failed(broken(stream->device));
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
    LOCK;
    const cudaError_t e = stream_check(stream);

    return e != cudaSuccess ? e : stream->queue.empty() ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
    LOCK;
    const cudaError_t e = stream_check(stream);

    if (e != cudaSuccess)
        return e;
    if (fails())
        return failed(cudaErrorUnknown);
    const std::shared_ptr<mark> m = event->mark;
    const uint64_t generation = m->recorded;
    stream_push(stream, [m, generation] {
        if (m->done < generation)
            drain(m->stream, m.get(), generation);
    });
    return cudaSuccess;
}

/* ---- events ------------------------------------------------------------------------------------------------ */

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned flags) {
    LOCK;
    if (flags & ~(unsigned)cudaEventDisableTiming)
        return failed(cudaErrorInvalidValue);
    if (fails())
        return failed(cudaErrorMemoryAllocation);
    *out = new CUevent_st{device, std::make_shared<mark>()};
    events++;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    LOCK;
    const cudaError_t e = stream_check(stream);

    if (e != cudaSuccess)
        return e;
    if (!event || event->device != stream->device)
        return failed(cudaErrorInvalidResourceHandle);
    if (fails())
        return failed(cudaErrorUnknown);
    const std::shared_ptr<mark> m = event->mark;
    const uint64_t generation = ++m->recorded;
    m->stream = stream;
    stream_push(stream, [m, generation] { m->done = std::max(m->done, generation); });
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    LOCK;
    if (!event)
        return failed(cudaErrorInvalidResourceHandle);
    if (fails())
        break_device(event->device, cudaErrorLaunchFailure);
    const std::shared_ptr<mark> m = event->mark;
    if (m->done < m->recorded && stream_known(m->stream)) /* a destroyed stream's work is done */
        drain(m->stream, m.get(), m->recorded);
    return failed(broken(event->device));
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
    LOCK;
    return !event ? failed(cudaErrorInvalidResourceHandle)
                  : event->mark->done < event->mark->recorded ? cudaErrorNotReady : cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
    LOCK;
    if (!event)
        return failed(cudaErrorInvalidResourceHandle);
    delete event;
    events--;
    return cudaSuccess;
}
