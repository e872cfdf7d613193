/* SPDX-License-Identifier: MIT
 * What the CUDA sources see instead of NVIDIA's headers when they are compiled as C++ for the CPU: the language of kernels
 * (emu_language.h), and of the runtime API and cuBLAS the part that is used (emu_api.h). backends/cuda/launch.h says which part that is.
 *
 * Loads and stores of the sources are watched: they are compiled with -fsanitize=thread, whose hooks are ours (watch.cpp).
 */
#ifndef CUDA_EMU_H
#define CUDA_EMU_H

#include "emu_api.h"
#include "emu_language.h"

#endif
