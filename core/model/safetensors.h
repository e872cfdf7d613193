/* core/model/safetensors.h - one .safetensors file, parsed where it lies in memory.
 * SPDX-License-Identifier: MIT
 *
 * Format: 8 bytes little-endian n, n bytes of JSON {"name": {"dtype", "shape", "data_offsets": [begin, end]},
 * "__metadata__": {string: string}}, then the data; no holes, no overlaps, nothing after the last tensor.
 * https://github.com/huggingface/safetensors#format
 */
#ifndef REIN_CORE_SAFETENSORS_H
#define REIN_CORE_SAFETENSORS_H

#include "model/tensor_table.h"

/* Adds the file's tensors to `table` (pointing into `data`) and, unless NULL, hands over __metadata__
 * (NULL when there is none). What was added before a failure stays in the table. */
int safetensors_parse(const unsigned char *data, size_t length, const char *path, struct tensor_table *table,
                      json_t **metadata, struct error *err);

#endif
