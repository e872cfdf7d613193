/* core/train/samples.h - the rows an algorithm learns from, whole: a data set or a rollout.
 * SPDX-License-Identifier: MIT
 *
 * Ragged. Row r is ids[r][0 .. length[r]); it is *predicted* from token first[r] on, and these tokens own elements
 * offset[r] .. offset[r + 1] of every per-token array. first is at least 1: nothing predicts a text's first token.
 */
#ifndef REIN_CORE_SAMPLES_H
#define REIN_CORE_SAMPLES_H

#include "base/buffer.h"
#include "text/dataset.h"

#include <rein/algorithm.h>

struct samples {
    uint32_t rows, units, members;
    uint64_t tokens;             /* predicted ones: offset[rows] */
    const int32_t **ids;         /* [rows], borrowed from the data set or from `own` */
    uint32_t *length, *first;    /* [rows] */
    uint64_t *offset;            /* [rows + 1] */
    uint32_t *unit;              /* [units + 1] */
    int32_t *own;                /* the ids themselves, when the rows are ours */

    /* per token; NULL: not there */
    uint8_t *mask;
    float *logp_old, *logp_ref, *value_old, *advantage, *return_;
    /* per row; NULL: not there */
    float *reward, *family, *margin;
    uint32_t *rank;
    uint8_t *role, *label, *ended;
};

/* Rows of `d`, which must outlive the samples; `needs` is REIN_NEED_*. With KL_ROWS each is followed, in its unit, by its
 * mismatched one (mismatch.h). */
int samples_from_dataset(const struct dataset *d, uint32_t needs, struct samples *out, struct error *err);
/* Empty arrays for a rollout of this shape: row r has lengths[r] tokens, the first prompts[r] of them given. Ids are
 * in `own`, one row after the other, zeroed; every row is a unit. */
int samples_create(uint32_t rows, const uint32_t *lengths, const uint32_t *prompts, struct samples *out,
                   struct error *err);
void samples_free(struct samples *s);

/* A float per token (or `count` of them), zeroed; NULL with an error when there is no memory. */
float *samples_array(uint64_t count, struct error *err);

uint32_t samples_row_tokens(const struct samples *s, uint32_t row);
uint64_t samples_unmasked(const struct samples *s, uint32_t row);
/* Marks every id that occurs in a bitmap over the vocabulary. */
void samples_mark(const struct samples *s, uint8_t *bitmap, size_t vocabulary);
/* Number over everything that the data says: did it change since a checkpoint? */
uint32_t samples_crc(const struct samples *s);

/* As bytes, and back (for a checkpoint in the middle of a rollout). */
int samples_write(const struct samples *s, struct buffer *out, struct error *err);
int samples_read(const char *data, size_t length, struct samples *out, struct error *err);

#endif
