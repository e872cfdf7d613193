/* core/model/tensors.h - named tensors in files: safetensors (one file or sharded) and GGUF.
 * SPDX-License-Identifier: MIT
 *
 * The file is memory-mapped and distrusted: names, shapes, offsets and sizes are checked when it is
 * opened. The mapping stays until tensors_close: replacing the file by renaming another over it changes nothing, writing
 * into it changes what is read, and cutting it short ends the process (base/maps.h). Names are Hugging Face's whatever the file is (GGUF's are translated).
 */
#ifndef REIN_CORE_TENSORS_H
#define REIN_CORE_TENSORS_H

#include "base/error.h"
#include "model/config.h"

#include <jansson.h>

enum { TENSOR_MAX_RANK = 8 };

struct tensor_info {
    const char *name;
    const char *type;             /* "F32", "BF16", "Q4_1" ... for people */
    uint32_t rank;
    int64_t shape[TENSOR_MAX_RANK]; /* outermost first, as in PyTorch */
    uint32_t dtype;               /* REIN_F32/F16/BF16 it is best held in (F32 for quantised types) */
    uint64_t elements, bytes;     /* bytes in the file */
};

struct tensors;

/* A Hugging Face folder (model.safetensors or model.safetensors.index.json), a .safetensors or a .gguf file. */
int tensors_open(const char *path, struct tensors **out, struct error *err);
void tensors_close(struct tensors *t);
size_t tensors_count(const struct tensors *t);
const struct tensor_info *tensors_at(const struct tensors *t, size_t index);
const struct tensor_info *tensors_find(const struct tensors *t, const char *name); /* NULL when absent */
/* Converts elements [first, first + count) of the row-major tensor to float32 or to `dtype`
 * (REIN_*). GGUF's permuted q and k rows come back in Hugging Face's order. */
int tensors_read(const struct tensors *t, const struct tensor_info *info, uint64_t first, uint64_t count,
                 uint32_t dtype, void *out, struct error *err);
/* Where element 0 lies in the mapping when it is stored as plain, aligned, unpermuted `info->dtype`, else NULL. */
const void *tensors_data(const struct tensors *t, const struct tensor_info *info);
/* The tensor was read and will not be again soon: its pages no longer count as this process's memory. */
void tensors_forget(const struct tensors *t, const struct tensor_info *info);
/* Are they of one path, and of the very same files? A file that was replaced or written to in between is another. */
bool tensors_same(const struct tensors *a, const struct tensors *b);
/* A number that other weights would hardly have: of all names, types and shapes, all bytes of small tensors, and TENSORS_SAMPLES
 * blocks spread over each of the others. Not of the order of tensors, nor of the files that they are in. */
uint32_t tensors_sum(const struct tensors *t);
enum { TENSORS_SAMPLES = 16, TENSORS_BLOCK = 4096 };
bool tensors_is_gguf(const struct tensors *t);
const char *tensors_path(const struct tensors *t);

/* GGUF only: the decoder's config; the tokenizer as texts of tokenizer.json and tokenizer_config.json (free()). */
int tensors_config(const struct tensors *t, struct model_config *out, struct error *err);
int tensors_tokenizer(const struct tensors *t, char **json, char **config, struct error *err);
/* GGUF metadata (or safetensors' __metadata__) as one JSON object with long arrays shortened, for `rein inspect`. */
json_t *tensors_metadata(const struct tensors *t);

/* Writing: declare all tensors, then put their data in the same order. The file appears whole or not at all. */
struct tensor_out {
    const char *name;
    uint32_t dtype;               /* REIN_* */
    uint32_t rank;
    int64_t shape[TENSOR_MAX_RANK];
};
struct tensors_writer;
int tensors_create(const char *path, const struct tensor_out *list, size_t count, struct tensors_writer **out,
                   struct error *err);
/* Converts from float32 to the declared dtype (or copies when `from` equals it); call as often as needed per tensor. */
int tensors_put(struct tensors_writer *w, const void *data, uint64_t elements, uint32_t from, struct error *err);
int tensors_finish(struct tensors_writer *w, uint32_t *crc, struct error *err); /* releases w in any case */
void tensors_abandon(struct tensors_writer *w);

#endif
