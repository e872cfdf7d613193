/* SPDX-License-Identifier: MIT
 * The one place that includes NVIDIA's headers. With REIN_CUDA_EMU the same sources are plain C++ for the CPU, and
 * tests/cuda-emu/cuda_emu.h stands in for the toolkit: what it must provide is listed in launch.h.
 */
#ifndef CUDA_RUNTIME_H
#define CUDA_RUNTIME_H

#ifdef REIN_CUDA_EMU
#include "cuda_emu.h"
#else
#include <cublas_v2.h>
#include <cuda_runtime.h>
#endif

#endif
