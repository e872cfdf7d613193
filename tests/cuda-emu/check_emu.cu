/* SPDX-License-Identifier: MIT
 * The emulation itself: that kernels compute what they would on a GPU, in every schedule; streams, events and errors.
 */
#include "emu.h"
#include "launch.h"

#include <cstdio>
#include <vector>

static int tests, wrong;

static void ok(bool good, const char *name) {
    tests++;
    wrong += !good;
    printf("%sok %d - %s\n", good ? "" : "not ", tests, name);
}

static cudaStream_t stream;

template <class T> static T *on_device(const std::vector<T> &values) {
    void *at = NULL;

    cudaMallocAsync(&at, values.size() * sizeof(T), stream);
    cudaMemcpyAsync(at, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice, stream);
    cudaStreamSynchronize(stream);
    return static_cast<T *>(at);
}

/* What is there; the block is freed. */
template <class T> static std::vector<T> fetch(T *at, size_t n) {
    std::vector<T> out(n);

    cudaMemcpyAsync(out.data(), at, n * sizeof(T), cudaMemcpyDeviceToHost, stream);
    cudaFreeAsync(at, stream);
    cudaStreamSynchronize(stream);
    return out;
}

/* ---- kernels ------------------------------------------------------------------------------------- */

__global__ void sum_blocks(const float *x, float *out, int n) {
    SHARED_ARRAY(float, part, 32);
    const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    float sum = 0;

    for (int i = (int)(blockIdx.x * blockDim.x + threadIdx.x); i < n; i += (int)(gridDim.x * blockDim.x))
        sum += x[i];
    for (int by = 16; by > 0; by /= 2)
        sum += __shfl_xor_sync(FULL_WARP, sum, by);
    if (lane == 0)
        part[warp] = sum;
    __syncthreads();
    if (warp == 0) {
        sum = lane < blockDim.x / 32 ? part[lane] : 0;
        for (int by = 16; by > 0; by /= 2)
            sum += __shfl_down_sync(FULL_WARP, sum, (unsigned)by);
        if (lane == 0)
            out[blockIdx.x] = sum;
    }
}

__global__ void shuffles(int *out) {
    const int t = (int)threadIdx.x;

    out[t] = __shfl_sync(FULL_WARP, t, 5);
    out[64 + t] = __shfl_xor_sync(FULL_WARP, t, 3);
    out[128 + t] = __shfl_down_sync(FULL_WARP, t, 4);
    out[192 + t] = __shfl_up_sync(FULL_WARP, t, 4);
    out[256 + t] = __shfl_sync(FULL_WARP, t, 1, 8); /* within groups of 8 lanes */
    out[320 + t] = (int)__ballot_sync(FULL_WARP, t % 3 == 0);
    out[384 + t] = __shfl_xor_sync(FULL_WARP, t * 0x1p-3, 1) * 8; /* 64 bits */
    if (t % 32 < 8)
        out[448 + t] = __shfl_xor_sync(0xffu, t, 7); /* some lanes */
    else
        out[448 + t] = -1;
}

__global__ void places(unsigned *out) {
    const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;

    out[block * blockDim.x * blockDim.y * blockDim.z + thread] =
        threadIdx.x + 10 * threadIdx.y + 100 * threadIdx.z + 1000 * blockIdx.x + 10000 * blockIdx.y + 100000 * blockIdx.z;
}

/* Lane 0 is thread 0, 32, 64... whatever the block's shape. */
__global__ void lanes(unsigned *out) {
    const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;

    out[thread] = __shfl_sync(FULL_WARP, thread, 0);
}

/* Whole blocks beyond the data leave before the barrier. */
__global__ void backwards(float *x, int n) {
    SHARED(float, tile);
    const int first = (int)(blockIdx.x * blockDim.x), t = (int)threadIdx.x;

    if (first >= n)
        return;
    tile[t] = x[first + t];
    __syncthreads();
    x[first + t] = tile[(int)blockDim.x - 1 - t];
}

__global__ void count(int *out, const int *x, int n) {
    const int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);

    if (i < n)
        atomicAdd(&out[x[i] & 3], 1);
    if (i < n)
        atomicMax(&out[4], x[i]);
}

__global__ void add(float *x, float by, int n) {
    const int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);

    if (i < n)
        x[i] = x[i] * 2 + by;
}

__global__ void fours(float4 *x, const float4 *y) {
    const float4 a = y[threadIdx.x];

    x[threadIdx.x] = make_float4(a.w, a.z, a.y, a.x);
}

/* Lanes hand a value on through shared memory: a barrier of the warp is enough. */
__global__ void relay(int *out) {
    SHARED_ARRAY(int, box, 64);
    const unsigned t = threadIdx.x;
    int value = (int)t;

    for (int round = 0; round < 3; round++) {
        box[t] = value;
        __syncwarp();
        value = box[t ^ 1] + 1;
        __syncwarp();
    }
    out[t] = value;
}

/* ---- checks -------------------------------------------------------------------------------------------- */

static void check_reductions() {
    std::vector<float> x(10000);
    double all = 0, sum = 0;

    for (size_t i = 0; i < x.size(); i++)
        all += x[i] = (float)(i % 17) - 3;
    float *in = on_device(x);
    float *out = on_device(std::vector<float>(5));
    ok(LAUNCH(sum_blocks, 5, 256, 0, stream, in, out, (int)x.size()) == cudaSuccess, "a launch");
    for (float part : fetch(out, 5))
        sum += part;
    ok(sum == all, "sums by shuffles and shared memory");
    fetch(in, 1);
}

static void check_shuffles() {
    int *out = on_device(std::vector<int>(512));
    bool good[8] = {true, true, true, true, true, true, true, true};

    LAUNCH(shuffles, 1, 64, 0, stream, out);
    const std::vector<int> got = fetch(out, 512);
    for (int t = 0; t < 64; t++) {
        const int lane = t % 32, warp = t - lane;
        int votes = 0;
        for (int l = 0; l < 32; l++)
            votes |= (int)((unsigned)((warp + l) % 3 == 0) << l);
        const int expected[] = {warp + 5, t ^ 3,  lane + 4 > 31 ? t : t + 4,     lane < 4 ? t : t - 4, t / 8 * 8 + 1,
                                votes,    t ^ 1,  lane < 8 ? warp + (lane ^ 7) : -1};
        for (int k = 0; k < 8; k++)
            good[k] = good[k] && got[(size_t)(64 * k + t)] == expected[k];
    }
    ok(good[0] && good[1] && good[2] && good[3], "shuffles");
    ok(good[4], "shuffles within a part of the warp");
    ok(good[5], "ballots");
    ok(good[6], "shuffles of 64 bits");
    ok(good[7], "shuffles of some lanes");
}

static void check_shapes() {
    const dim3 grid(2, 3, 4), block(4, 2, 8);
    unsigned *out = on_device(std::vector<unsigned>(24 * 64)), *first = on_device(std::vector<unsigned>(64));
    bool good = true;

    LAUNCH(places, grid, block, 0, stream, out);
    LAUNCH(lanes, 1, block, 0, stream, first);
    const std::vector<unsigned> got = fetch(out, 24 * 64), lane = fetch(first, 64);
    for (unsigned b = 0; b < 24; b++)
        for (unsigned t = 0; t < 64; t++)
            good = good && got[b * 64 + t] == t % 4 + 10 * (t / 4 % 2) + 100 * (t / 8) + 1000 * (b % 2) + 10000 * (b / 2 % 3) +
                                                  100000 * (b / 6);
    ok(good, "blocks and grids of three dimensions");
    for (unsigned t = 0; t < 64; t++)
        good = good && lane[t] == t / 32 * 32;
    ok(good, "warps follow the linear order of threads");
}

static void check_memory() {
    std::vector<float> x(96);
    bool good = true;

    for (size_t i = 0; i < x.size(); i++)
        x[i] = (float)i;
    float *at = on_device(x);
    LAUNCH(backwards, 5, 32, 32 * sizeof(float), stream, at, 96);
    x = fetch(at, 96);
    for (int i = 0; i < 96; i++)
        good = good && x[(size_t)i] == (float)(i / 32 * 32 + 31 - i % 32);
    ok(good, "dynamic shared memory; blocks that leave early");
    int *out = on_device(std::vector<int>(64));
    LAUNCH(relay, 1, 64, 0, stream, out);
    const std::vector<int> got = fetch(out, 64);
    for (int i = 0; i < 64; i++)
        good = good && got[(size_t)i] == (i ^ 1) + 3;
    ok(good, "__syncwarp orders shared memory");
    std::vector<int> values(1000);
    for (int i = 0; i < 1000; i++)
        values[(size_t)i] = i * 7;
    int *in = on_device(values);
    out = on_device(std::vector<int>(5));
    LAUNCH(count, 4, 256, 0, stream, out, in, 1000);
    ok(fetch(out, 5) == std::vector<int>({250, 250, 250, 250, 6993}), "atomic operations");
    fetch(in, 1);
    float4 *four = on_device(std::vector<float4>(32, make_float4(1, 2, 3, 4))), *to = on_device(std::vector<float4>(32));
    LAUNCH(fours, 1, 32, 0, stream, to, (const float4 *)four);
    const std::vector<float4> back = fetch(to, 32);
    ok(back[31].x == 4 && back[31].w == 1, "vectors of four");
    fetch(four, 1);
}

static void check_streams() {
    std::vector<float> x(100, 1), y(100), pitched(300, 5);
    cudaStream_t other;
    cudaEvent_t event;
    float *at = on_device(x), *second = on_device(x);

    cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking);
    cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
    LAUNCH(add, 1, 128, 0, stream, at, 1.0f, 100);
    cudaMemsetAsync(at, 0, 50 * sizeof(float), stream);
    LAUNCH(add, 1, 128, 0, stream, at, 3.0f, 100);
    cudaEventRecord(event, stream);
    cudaStreamWaitEvent(other, event);
    cudaMemcpyAsync(second, at, 100 * sizeof(float), cudaMemcpyDeviceToDevice, other);
    cudaMemcpyAsync(y.data(), second, 100 * sizeof(float), cudaMemcpyDeviceToHost, other);
    cudaMemsetAsync(at, 0, 100 * sizeof(float), stream);
    cudaStreamSynchronize(other);
    ok(y[0] == 3 && y[49] == 3 && y[50] == 9 && y[99] == 9, "a stream in order; another one waits for an event");
    cudaMemcpy2DAsync(pitched.data(), 3 * sizeof(float), second, sizeof(float), sizeof(float), 100, cudaMemcpyDeviceToHost,
                      other);
    ok(cudaEventSynchronize(event) == cudaSuccess && cudaEventQuery(event) == cudaSuccess, "events");
    cudaStreamSynchronize(other);
    ok(pitched[0] == 3 && pitched[1] == 5 && pitched[297] == 9, "copies of rows");
    cudaStreamDestroy(other);
    cudaEventDestroy(event);
    fetch(at, 1);
    fetch(second, 1);
}

static void check_devices() {
    cudaDeviceProp p = {};
    cudaStream_t other;
    size_t before = 0, after = 0, total = 0;
    void *at = NULL;
    int n = 0;

    cudaGetDeviceCount(&n);
    ok(n == 2 && cudaGetDeviceProperties(&p, 1) == cudaSuccess && p.major >= 8 && cudaSetDevice(2) == cudaErrorInvalidDevice,
       "two devices");
    cudaGetLastError();
    cudaSetDevice(1);
    cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking);
    cudaMemGetInfo(&before, &total);
    cudaMallocAsync(&at, 1 << 20, other);
    cudaMemGetInfo(&after, &total);
    ok(before - after == 1 << 20 && cudaMallocAsync(&at, total, other) == cudaErrorMemoryAllocation, "each with its memory");
    ok(cudaGetLastError() == cudaErrorMemoryAllocation && cudaGetLastError() == cudaSuccess, "errors are told once");
    cudaStreamDestroy(other);
    cudaSetDevice(0);
}

static void check_products() {
    /* column-major a [2][3], b [3][2] */
    float *a = on_device(std::vector<float>({1, 4, 2, 5, 3, 6})), *b = on_device(std::vector<float>({1, 0, 2, 0, 1, 1}));
    float *c = on_device(std::vector<float>({1, 1, 1, 1}));
    uint16_t *narrow = on_device(std::vector<uint16_t>({0x3f80, 0x4080, 0x4000, 0x40a0, 0x4040, 0x40c0})); /* a as bf16 */
    uint16_t *one = on_device(std::vector<uint16_t>({0x3f80, 0, 0, 0, 0x3f80, 0}));
    const float alpha = 1, beta = 1, zero = 0;
    cublasHandle_t handle;

    cublasCreate(&handle);
    cublasSetStream(handle, stream);
    cublasGemmEx(handle, CUBLAS_OP_N, CUBLAS_OP_N, 2, 2, 3, &alpha, a, CUDA_R_32F, 2, b, CUDA_R_32F, 3, &beta, c, CUDA_R_32F, 2,
                 CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);
    ok(fetch(c, 4) == std::vector<float>({8, 17, 6, 12}), "products by cuBLAS");
    c = on_device(std::vector<float>({1, 1, 1, 1}));
    cublasGemmEx(handle, CUBLAS_OP_N, CUBLAS_OP_N, 2, 2, 3, &alpha, narrow, CUDA_R_16BF, 2, one, CUDA_R_16BF, 3, &zero, c,
                 CUDA_R_32F, 2, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);
    ok(fetch(c, 4) == std::vector<float>({1, 4, 2, 5}), "of bf16");
    /* 1 + 3 x 2^-25: float32 rounds it up, a tensor core cuts it off */
    uint16_t *x = on_device(std::vector<uint16_t>({0x3f80, 0x3f80})), *y = on_device(std::vector<uint16_t>({0x3f80, 0x33c0}));
    float *sum = on_device(std::vector<float>(1));
    cublasGemmEx(handle, CUBLAS_OP_T, CUBLAS_OP_N, 1, 1, 2, &alpha, x, CUDA_R_16BF, 2, y, CUDA_R_16BF, 2, &zero, sum, CUDA_R_32F, 1,
                 CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);
    ok(fetch(sum, 1)[0] == 1, "whose sums are cut off");
    fetch(x, 1);
    fetch(y, 1);
    ok(cublasGemmEx(handle, CUBLAS_OP_N, CUBLAS_OP_N, 2, 2, 3, &alpha, a, CUDA_R_32F, 1, b, CUDA_R_32F, 3, &beta, c, CUDA_R_32F,
                    2, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT) == CUBLAS_STATUS_INVALID_VALUE,
       "a wrong distance between columns is refused");
    cublasDestroy(handle);
    fetch(a, 1);
    fetch(b, 1);
    fetch(narrow, 1);
    fetch(one, 1);
}

static void check_errors() {
    float *at = on_device(std::vector<float>(4));

    ok(LAUNCH(add, 1, 1025, 0, stream, at, 1.0f, 4) == cudaErrorInvalidConfiguration &&
           LAUNCH(add, 0, 32, 0, stream, at, 1.0f, 4) == cudaErrorInvalidConfiguration &&
           LAUNCH(add, dim3(1, 65536), 32, 0, stream, at, 1.0f, 4) == cudaErrorInvalidConfiguration &&
           LAUNCH(add, 1, 32, 64 << 10, stream, at, 1.0f, 4) == cudaErrorInvalidValue &&
           LAUNCH(add, 1, 32, 0, (cudaStream_t)NULL, at, 1.0f, 4) == cudaErrorInvalidResourceHandle,
       "launches that cannot be are refused");
    cudaGetLastError();
    emu::fail_call(2);
    ok(LAUNCH(add, 1, 32, 0, stream, at, 1.0f, 4) == cudaSuccess &&
           LAUNCH(add, 1, 32, 0, stream, at, 1.0f, 4) == cudaErrorLaunchOutOfResources && emu::fail_done(),
       "a call fails when it is to");
    cudaGetLastError();
    cudaStreamSynchronize(stream);
    emu::fail_kernel(1);
    LAUNCH(add, 1, 32, 0, stream, at, 1.0f, 4);
    ok(cudaStreamSynchronize(stream) == cudaErrorIllegalAddress &&
           LAUNCH(add, 1, 32, 0, stream, at, 1.0f, 4) == cudaErrorIllegalAddress && cudaGetLastError() == cudaErrorIllegalAddress &&
           cudaGetLastError() == cudaErrorIllegalAddress,
       "a lost device stays lost");
    emu::mend_devices();
    fetch(at, 1);
}

int main() {
    cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
    check_reductions();
    check_shuffles();
    check_shapes();
    check_memory();
    check_streams();
    check_products();
    check_errors();
    check_devices();
    cudaStreamDestroy(stream);
    ok(emu::alive() == 1, "what was not freed is known");
    printf("1..%d\n", tests);
    return wrong != 0;
}
