/* core/model/dtype.h - the three element types that weights have in memory and in files.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_DTYPE_H
#define REIN_CORE_DTYPE_H

#include <rein/backend.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

uint32_t dtype_width(uint32_t dtype);       /* bytes of an element; 0 for what is not a REIN_* type */
const char *dtype_name(uint32_t dtype);     /* "F32", "F16", "BF16" as in safetensors; NULL for others */
/* Through float32, to nearest even. Neither side needs alignment; they must not overlap. */
void dtype_convert(const void *from, uint32_t source, void *to, uint32_t target, size_t count);
bool dtype_finite(const void *x, uint32_t dtype, size_t count); /* no NaN, no infinity; x needs no alignment */

#endif
