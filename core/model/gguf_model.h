/* core/model/gguf_model.h - a GGUF file as a Hugging Face model: names of tensors and the decoder's config.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_GGUF_MODEL_H
#define REIN_CORE_GGUF_MODEL_H

#include "model/gguf.h"

/* Renames the table's tensors (blk.0.attn_q.weight: model.layers.0.self_attn.q_proj.weight) and marks those whose rows
 * llama.cpp's converter permuted. Names it does not know stay. Before table_index. */
int gguf_translate(struct gguf *g, struct tensor_table *table, struct error *err);
/* After table_index. */
int gguf_config(struct gguf *g, const struct tensor_table *table, struct model_config *out, struct error *err);

#endif
