/* SPDX-License-Identifier: MIT
 * How kernels are started and how they use shared memory, for nvcc and for the emulation alike.
 *
 * The kernels keep to this part of CUDA, which is what the emulation provides:
 *
 *   language   __global__ __device__ __host__ __forceinline__ __launch_bounds__; templates of kernels, lambdas inside.
 *              Kernels take values and pointers only. Blocks are one-dimensional, of whole warps (a multiple of 32
 *              threads, at most 1024): threadIdx.x, blockDim.x; grids: blockIdx.xy, gridDim.xy. No thread leaves
 *              before the last barrier of its block unless the whole block does.
 *   shared     SHARED(type, name): all of the launch's dynamic shared memory as type[], once in a kernel;
 *              SHARED_ARRAY(type, name, count): static. At most 48 KiB together. Elements are float, double, int32_t,
 *              uint32_t or int64_t; only name[i], name + i, and passing on as SHARED_PTR(type).
 *   warps      __shfl_xor_sync, __shfl_sync, __ballot_sync, always with all 32 lanes and the full mask, on 32-bit and
 *              64-bit values; __syncthreads().
 *   values     aligned structures of 2 to 16 bytes that are loaded at once, __float_as_uint, __uint_as_float, and of
 *              the mathematical library expf logf sqrtf erfcf fmaf fmaxf, log sqrt cos sin ceil, INFINITY.
 *   atomics    none.
 *   devices    cudaGetDeviceCount cudaSetDevice cudaGetDeviceProperties (name, major, minor, multiProcessorCount,
 *              totalGlobalMem) cudaRuntimeGetVersion cudaDriverGetVersion
 *   streams    cudaStreamCreateWithFlags cudaStreamDestroy cudaStreamSynchronize, cudaEventCreateWithFlags
 *              cudaEventRecord cudaEventSynchronize cudaEventDestroy
 *   memory     cudaMallocAsync cudaFreeAsync cudaMemcpyAsync cudaMemsetAsync cudaMallocHost cudaFreeHost
 *              cudaDeviceGetDefaultMemPool cudaMemPoolTrimTo
 *              cudaMemPoolSetAttribute(cudaMemPoolAttrReleaseThreshold)
 *   errors     cudaGetLastError cudaGetErrorName cudaGetErrorString
 *   cuBLAS     cublasCreate cublasDestroy cublasSetStream cublasSetWorkspace cublasGetStatusName
 *              cublasGetStatusString cublasGemmEx (A and B both f32, bf16 or f16; C f32; compute CUBLAS_COMPUTE_32F or
 *              _32F_FAST_TF32; device pointers, scalars on the host)
 */
#ifndef CUDA_LAUNCH_H
#define CUDA_LAUNCH_H

#include "runtime.h"

/* MOST_SHARED: bytes that a launch gets without asking the driver for more */
enum { WARP = 32, MOST_GRID_YZ = 65535, MOST_SHARED = 48 << 10 };

/* Blocks along the columns of a matrix; few in the emulation, so that small matrices have more. */
#ifdef REIN_CUDA_EMU
enum { MOST_COLUMN_BLOCKS = 2 };
#else
enum { MOST_COLUMN_BLOCKS = 1024 };
#endif

#define FULL_WARP 0xffffffffu

/* LAUNCH starts a kernel of one name (instantiate templates through a pointer when they have several parameters) and is
 * an expression: the cudaError_t of the launch. */
#ifdef REIN_CUDA_EMU
#define UNROLL
/* cuda_emu.h defines
 *   SHARED_PTR(type)               a pointer into shared memory that can be watched
 *   SHARED(type, name), SHARED_ARRAY(type, name, count)
 *   cudaError_t emu::launch(name, grid, block, shared, stream, kernel, args...) */
#define LAUNCH(kernel, grid, block, shared_bytes, stream, ...)                                                         \
    (emu::launch(#kernel, dim3(grid), dim3(block), shared_bytes, stream, kernel, __VA_ARGS__), cudaGetLastError())
#else
#define UNROLL           _Pragma("unroll")
#define SHARED_PTR(type) type *
#define SHARED(type, name)                                                                                             \
    extern __shared__ __align__(16) unsigned char shared_memory[];                                                     \
    type *const name = reinterpret_cast<type *>(shared_memory)
#define SHARED_ARRAY(type, name, count) __shared__ type name[count]
#define LAUNCH(kernel, grid, block, shared_bytes, stream, ...)                                                         \
    (kernel<<<grid, block, shared_bytes, stream>>>(__VA_ARGS__), cudaGetLastError())
#endif

#endif
