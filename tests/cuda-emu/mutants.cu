/* SPDX-License-Identifier: MIT
 * Mistakes that a GPU would punish, or worse, not punish: `mutants NAME` runs the right code, `mutants NAME wrong` the same with
 * one mistake. check_mutants.sh says what must be found. `mutants` lists the names.
 */
#include "emu.h"
#include "launch.h"

#include <cmath>
#include <cstdio>
#include <vector>

static cudaStream_t stream;
static bool wrong;

static float *ones(size_t n) {
    const std::vector<float> values(n, 1);
    void *at = NULL;

    cudaMallocAsync(&at, n * sizeof(float), stream);
    cudaMemcpyAsync(at, values.data(), n * sizeof(float), cudaMemcpyHostToDevice, stream);
    cudaStreamSynchronize(stream);
    return static_cast<float *>(at);
}

static float *unwritten(size_t n) {
    void *at = NULL;

    cudaMallocAsync(&at, n * sizeof(float), stream);
    return static_cast<float *>(at);
}

static void finish() {
    cudaStreamSynchronize(stream);
}

/* ---- device memory ------------------------------------------------------------------------------- */

__global__ void twice(float *y, const float *x, int n) {
    const int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);

    if (i < n)
        y[i] = 2 * x[i];
}

__global__ void left(float *y, const float *x, int n, int from) {
    const int i = (int)threadIdx.x;

    if (i >= from && i < n)
        y[i] = x[i - 1];
}

static void past_the_end() {
    LAUNCH(twice, 1, 128, 0, stream, ones(100), (const float *)ones(wrong ? 99 : 100), 100);
}

static void write_past_the_end() {
    LAUNCH(twice, 1, 128, 0, stream, unwritten(wrong ? 99 : 100), (const float *)ones(100), 100);
}

static void before_the_start() {
    LAUNCH(left, 1, 128, 0, stream, ones(100), (const float *)ones(100), 100, wrong ? 0 : 1);
}

static void after_free() {
    float *x = ones(100);

    if (wrong)
        cudaFreeAsync(x, stream);
    LAUNCH(twice, 1, 128, 0, stream, ones(100), (const float *)x, 100);
    if (!wrong)
        cudaFreeAsync(x, stream);
}

static void free_twice() {
    float *x = ones(100);

    cudaFreeAsync(x, stream);
    if (wrong)
        cudaFreeAsync(x, stream);
}

static void never_written() {
    LAUNCH(twice, 1, 128, 0, stream, ones(100), (const float *)(wrong ? unwritten(100) : ones(100)), 100);
}

static void host_pointer() {
    static std::vector<float> x(100, 1);

    LAUNCH(twice, 1, 128, 0, stream, ones(100), (const float *)(wrong ? x.data() : ones(100)), 100);
}

static void other_device() {
    cudaStream_t other;
    void *x = NULL;

    cudaSetDevice(1);
    cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking);
    cudaMallocAsync(&x, 400, other);
    cudaMemsetAsync(x, 0, 400, other);
    cudaStreamSynchronize(other);
    cudaSetDevice(0);
    LAUNCH(twice, 1, 128, 0, stream, ones(100), (const float *)(wrong ? x : ones(100)), 100);
}

static void product_past_the_end() {
    const float one = 1, zero = 0;
    cublasHandle_t handle;

    cublasCreate(&handle);
    cublasSetStream(handle, stream);
    cublasGemmEx(handle, CUBLAS_OP_N, CUBLAS_OP_N, 4, 4, 4, &one, ones(16), CUDA_R_32F, 4, ones(16), CUDA_R_32F, 4, &zero,
                 unwritten(16), CUDA_R_32F, wrong ? 5 : 4, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);
}

__global__ void fours(float4 *y, const float4 *x) {
    y[threadIdx.x].x = x[threadIdx.x].y;
}

static void unaligned() {
    float *x = ones(256), *y = ones(256);

    LAUNCH(fours, 1, 32, 0, stream, (float4 *)y, (const float4 *)(x + (wrong ? 2 : 4)));
}

__global__ void local_array(float *y, int n) {
    float part[4] = {1, 2, 3, 4};

    for (int i = 0; i < n; i++)
        part[i] += y[threadIdx.x];
    y[threadIdx.x] = part[threadIdx.x % 4];
}

static void beyond_a_local_array() {
    LAUNCH(local_array, 1, 32, 0, stream, ones(32), wrong ? 5 : 4);
}

/* ---- races ------------------------------------------------------------------------------------------ */

/* The neighbour's value through shared memory. */
__global__ void neighbour(float *y, const float *x, bool barrier) {
    SHARED_ARRAY(float, box, 64);
    const unsigned t = threadIdx.x;

    box[t] = x[t];
    if (barrier)
        __syncthreads();
    y[t] = box[63 - t];
}

static void no_barrier() {
    LAUNCH(neighbour, 1, 64, 0, stream, ones(64), (const float *)ones(64), !wrong);
}

/* The second round writes what others may still read. */
__global__ void rounds(float *y, bool barrier) {
    SHARED_ARRAY(float, box, 64);
    const unsigned t = threadIdx.x;

    for (int i = 0; i < 2; i++) {
        box[t] = y[t];
        __syncthreads();
        y[t] = box[63 - t] + 1;
        if (barrier)
            __syncthreads();
    }
}

static void no_barrier_at_the_end_of_a_round() {
    LAUNCH(rounds, 1, 64, 0, stream, ones(64), !wrong);
}

__global__ void relay(float *y, bool barrier) {
    SHARED_ARRAY(float, box, 32);
    const unsigned t = threadIdx.x;

    box[t] = y[t];
    if (barrier)
        __syncwarp();
    y[t] = box[31 - t];
}

static void no_warp_barrier() {
    LAUNCH(relay, 1, 32, 0, stream, ones(32), !wrong);
}

__global__ void largest(float *y, int same) {
    SHARED_ARRAY(float, box, 64);

    box[same ? 0 : threadIdx.x] = 1;
    __syncthreads();
    y[threadIdx.x] = box[0];
}

static void two_write_one_place() {
    LAUNCH(largest, 1, 64, 0, stream, ones(64), (int)wrong);
}

/* A sum over blocks without atomic operations. */
__global__ void total(float *y, const float *x, int atomic) {
    if (atomic)
        atomicAdd(y, x[blockIdx.x]);
    else
        *y += x[blockIdx.x];
}

static void blocks_write_one_place() {
    LAUNCH(total, 4, 1, 0, stream, ones(1), (const float *)ones(4), (int)!wrong);
}

__global__ void shift(float *y, const float *x, int n) {
    const int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);

    if (i + 1 < n)
        y[i] = x[i + 1];
}

static void reads_what_a_neighbour_writes() {
    float *x = ones(256), *y = ones(256);

    LAUNCH(shift, 4, 64, 0, stream, wrong ? x : y, (const float *)x, 256);
}

static void streams_without_event() {
    float *x = unwritten(100), *y = ones(100);
    cudaStream_t other;
    cudaEvent_t event;

    cudaStreamSynchronize(stream);
    cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking);
    cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
    cudaMemsetAsync(x, 0, 400, stream);
    cudaEventRecord(event, stream);
    if (!wrong)
        cudaStreamWaitEvent(other, event);
    LAUNCH(twice, 1, 128, 0, other, y, (const float *)x, 100);
    cudaStreamSynchronize(other);
}

/* ---- shared memory -------------------------------------------------------------------------------------- */

__global__ void prefix(float *y, const float *x, int size, int first) {
    SHARED(float, box);
    const int t = (int)threadIdx.x;

    if (t >= first)
        box[t] = x[t];
    __syncthreads();
    y[t] = t + 1 < size ? box[t + 1] : box[t];
}

static void shared_past_the_end() {
    LAUNCH(prefix, 1, 32, 32 * sizeof(float), stream, ones(32), (const float *)ones(32), wrong ? 33 : 32, 0);
}

static void shared_never_written() {
    LAUNCH(prefix, 1, 32, 32 * sizeof(float), stream, ones(32), (const float *)ones(32), 32, wrong ? 2 : 0);
}

__global__ void leftover(float *y, int all) {
    SHARED_ARRAY(float, box, 32);

    if (all || blockIdx.x == 0)
        box[threadIdx.x] = 1;
    y[blockIdx.x * 32 + threadIdx.x] = box[threadIdx.x];
}

static void shared_of_another_block() {
    LAUNCH(leftover, 2, 32, 0, stream, ones(64), (int)!wrong);
}

__global__ void large(float *y) {
    SHARED_ARRAY(float, box, 8192);

    box[threadIdx.x] = 1;
    y[threadIdx.x] = box[threadIdx.x];
}

static void too_much_shared() {
    LAUNCH(large, 1, 32, wrong ? 20000 : 10000, stream, ones(32));
}

/* ---- barriers and warps ------------------------------------------------------------------------------------ */

__global__ void leaves(float *y, int n) {
    if ((int)threadIdx.x >= n)
        return;
    y[threadIdx.x] = 1;
    __syncthreads();
}

static void returns_before_a_barrier() {
    LAUNCH(leaves, 1, 64, 0, stream, ones(64), wrong ? 60 : 64);
}

__global__ void branches(float *y, int n) {
    if ((int)threadIdx.x < n)
        __syncthreads();
    else
        y[threadIdx.x] = 1;
    y[threadIdx.x] = 2;
}

static void barrier_in_a_branch() {
    LAUNCH(branches, 1, 64, 0, stream, ones(64), wrong ? 32 : 64);
}

__global__ void two_barriers(int n) {
    if ((int)threadIdx.x < n)
        __syncthreads();
    else
        __syncthreads();
}

static void different_barriers() {
    LAUNCH(two_barriers, 1, 64, 0, stream, wrong ? 32 : 64);
}

__global__ void halves(float *y, unsigned mask, unsigned other) {
    const unsigned t = threadIdx.x;

    y[t] = __shfl_xor_sync(t < 16 ? mask : other, y[t], 1);
}

static void masks_that_differ() {
    LAUNCH(halves, 1, 32, 0, stream, ones(32), wrong ? 0x1ffffu : 0xffffu, wrong ? 0xffff8000u : 0xffff0000u);
}

static void mask_without_caller() {
    LAUNCH(halves, 1, 32, 0, stream, ones(32), 0xffffu, wrong ? 0xfffe0000u : 0xffff0000u);
}

__global__ void from_lane(float *y, unsigned mask, int lane) {
    if (mask >> threadIdx.x & 1)
        y[threadIdx.x] = __shfl_sync(mask, y[threadIdx.x], lane);
}

static void shuffle_from_outside() {
    LAUNCH(from_lane, 1, 32, 0, stream, ones(32), 0xffu, wrong ? 8 : 7);
}

__global__ void full_mask(float *y, int n) {
    if ((int)threadIdx.x < n)
        y[threadIdx.x] = __shfl_xor_sync(FULL_WARP, y[threadIdx.x], 1);
}

static void warp_in_a_branch() {
    LAUNCH(full_mask, 1, 32, 0, stream, ones(32), wrong ? 16 : 32);
}

/* ---- the host -------------------------------------------------------------------------------------------------- */

static void host_reads_device_memory() {
    float *x = ones(4);

    printf("%g\n", wrong ? (double)*x : 0.0);
}

static void library_reads_device_memory() {
    float *x = ones(4), value = 0;
    volatile size_t bytes = sizeof(value); /* a call of the library's memcpy */

    if (wrong)
        memcpy(&value, x, bytes);
    printf("%g\n", (double)value);
}

static void source_changed_too_early() {
    std::vector<float> x(100, 1);
    float *at = unwritten(100);

    cudaMemcpyAsync(at, x.data(), 400, cudaMemcpyHostToDevice, stream);
    if (!wrong)
        cudaStreamSynchronize(stream);
    x[3] = 2;
    cudaStreamSynchronize(stream);
}

static void result_read_too_early() {
    std::vector<float> x(100, 1);

    cudaMemcpyAsync(x.data(), ones(100), 400, cudaMemcpyDeviceToHost, stream);
    if (!wrong)
        cudaStreamSynchronize(stream);
    if (std::isnan(x[3]))
        emu::fatal("the result is not a number: the host did not wait for it");
    finish();
}

static void pinned_freed_too_early() {
    void *x = NULL;

    cudaMallocHost(&x, 400);
    cudaMemcpyAsync(x, ones(100), 400, cudaMemcpyDeviceToHost, stream);
    if (!wrong)
        cudaStreamSynchronize(stream);
    cudaFreeHost(x);
}

#define M(name) {#name, name}
static const struct {
    const char *name;
    void (*run)();
} mutants[] = {
    M(past_the_end), M(write_past_the_end), M(before_the_start), M(after_free), M(free_twice), M(never_written),
    M(host_pointer), M(other_device), M(product_past_the_end), M(unaligned), M(beyond_a_local_array), M(no_barrier),
    M(no_barrier_at_the_end_of_a_round), M(no_warp_barrier), M(two_write_one_place), M(blocks_write_one_place),
    M(reads_what_a_neighbour_writes), M(streams_without_event), M(shared_past_the_end), M(shared_never_written),
    M(shared_of_another_block), M(too_much_shared), M(returns_before_a_barrier), M(barrier_in_a_branch),
    M(different_barriers), M(masks_that_differ), M(mask_without_caller), M(shuffle_from_outside), M(warp_in_a_branch),
    M(host_reads_device_memory), M(library_reads_device_memory), M(source_changed_too_early), M(result_read_too_early),
    M(pinned_freed_too_early),
};

int main(int argc, char **argv) {
    for (const auto &m : mutants) {
        if (argc < 2)
            puts(m.name);
        if (argc < 2 || strcmp(argv[1], m.name) != 0)
            continue;
        wrong = argc > 2;
        cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
        m.run();
        finish();
        return 0;
    }
    return argc < 2 ? 0 : 2;
}
