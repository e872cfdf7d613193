/* core/train/mismatch.h - completions under prompts that they were not written for, for KTO's estimate of the KL.
 * SPDX-License-Identifier: MIT
 *
 * Row i gets the completion of row i - s, counted in a circle: each completion is used once, so that the mismatched
 * ones are the same set as the matched ones. s is the least shift for which no prompt meets a completion of its own
 * (rows that were pairs have the same prompt twice); where prompts repeat all over the place, that of 1 to 64 for which
 * the fewest do. TRL 1.16 shifts by 1 within each batch, and keeps its batches in the order of the file for it; this is
 * a function of the data set alone, so that rows can be shuffled and the reference asked once.
 */
#ifndef REIN_CORE_MISMATCH_H
#define REIN_CORE_MISMATCH_H

#include "text/dataset.h"

/* Each row of `d` followed by its mismatched one, [2 * nrows], and the ids of the latter, [*ids]; both the caller's to
 * free. A mismatched row is cut off at the length of the longest row of `d`. A data set of one row is refused. */
int mismatch_rows(const struct dataset *d, struct data_row **rows, int32_t **ids, struct error *err);

#endif
