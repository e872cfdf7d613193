/* core/model/gguf_quant.h - GGUF's element types, and their values as float32.
 * SPDX-License-Identifier: MIT
 *
 * Block layouts: ggml/src/ggml-common.h; arithmetic: dequantize_row_* of ggml/src/ggml-quants.c.
 */
#ifndef REIN_CORE_GGUF_QUANT_H
#define REIN_CORE_GGUF_QUANT_H

#include <stddef.h>
#include <stdint.h>

enum { GGUF_BLOCK_LIMIT = 32 }; /* elements in a block of a type that we read */

struct gguf_quant {
    const char *name;
    uint32_t type;           /* in the file */
    uint32_t elements, bytes; /* of a block */
    uint32_t dtype;          /* REIN_* when stored plainly, else 0 */
    void (*block)(const unsigned char *from, float *to); /* one block; NULL when we cannot read it */
};
const struct gguf_quant *gguf_quant_find(uint32_t type); /* NULL when unknown */
/* Elements [first, first + count) of a tensor of blocks. */
void gguf_quant_read(const struct gguf_quant *q, const unsigned char *data, uint64_t first, uint64_t count, float *out);

#endif
