/* SPDX-License-Identifier: MIT
 * A stream's queue, for the files that put work into it.
 */
#ifndef EMU_STREAM_H
#define EMU_STREAM_H

#include "emu.h"

#include <deque>
#include <functional>
#include <memory>
#include <mutex>

namespace emu {

/* Host memory that waiting work is going to read or write. */
struct host_range {
    const char *begin;
    size_t bytes;
    bool reads;
};
struct work {
    std::function<void()> run;
    host_range host;
};
/* How far an event has come: it is recorded several times. */
struct mark {
    uint64_t recorded, done;
    cudaStream_t stream;
};

/* All calls of the host take it. */
extern std::recursive_mutex mutex;
#define LOCK const std::lock_guard<std::recursive_mutex> lock_(emu::mutex)

int current_device();
int stream_device(cudaStream_t stream);
/* An error (noted for cudaGetLastError) when there is no such stream, or its device is lost. */
cudaError_t stream_check(cudaStream_t stream);
void stream_push(cudaStream_t stream, std::function<void()> run, host_range host = {NULL, 0, false});
void stream_drain_all(int device);
/* Whether waiting work uses this host memory. */
bool stream_uses(const void *address, size_t bytes, bool only_reads);
/* Streams and events that are alive. */
size_t stream_objects();

/* Notes an error for cudaGetLastError. */
cudaError_t failed(cudaError_t error);
/* True: this call is the one that was to fail (fail_call, REIN_EMU_FAIL). */
bool fails();
/* The same for device memory: once there is none, a second attempt fails too. */
bool out_of_memory();
/* What happened to the device, for ever: all calls answer it. */
cudaError_t broken(int device);
void break_device(int device, cudaError_t error);

} // namespace emu

struct CUstream_st {
    int device;
    std::deque<emu::work> queue;
};

#endif
