/* backends/cpu-blas/isa/amx.h - tiles of bfloat16, and float32 numbers as sums of such.
 * SPDX-License-Identifier: MIT
 */
#ifndef CPU_ISA_AMX_H
#define CPU_ISA_AMX_H

#include "isa/tile.h"

#include <immintrin.h>

/* A tile has TILE rows of 64 bytes; a step of a product is STEP values along k. */
enum { TILE = 16, STEP = 2 * TILE, PARTS = 3, TILE_BYTES = 1024 };

/* Takes a bfloat16 off x, cut off or rounded; the first one is cut off, which cannot overflow. What is left after two
 * is the third one. */
INLINE vf take_part(vf *x, bool round) {
    vf part = (vf)(((vu)*x + (round ? 0x8000u : 0u)) & 0xffff0000u);

    *x -= part;
    return part;
}

/* Eight tiles of 16 rows of 64 bytes. */
INLINE void configure_tiles(void) {
    struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t bytes[16];
        uint8_t rows[16];
    } config = {.palette = 1};

    for (int i = 0; i < 8; i++) {
        config.bytes[i] = 64;
        config.rows[i] = TILE;
    }
    __asm__ volatile("" ::"r"(&config) : "memory"); /* the intrinsic names 8 of its 64 bytes */
    _tile_loadconfig(&config);
}

/* The compiler does not know what tile loads read and stores write. */
INLINE void compiler_barrier(void) {
    __asm__ volatile("" ::: "memory");
}

/* Few rows of float32 and b_t of bfloat16, or false */
bool few_amx(const struct gemm *g, void *scratch);

#endif
