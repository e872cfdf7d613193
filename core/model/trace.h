/* core/model/trace.h - what sampling computes, taken for a forward pass over the sampled sequences.
 * SPDX-License-Identifier: MIT
 *
 * generate() runs every row of the prompts and their completions but each completion's last token, which predicts
 * nothing. A first step over all of a rollout can go on from there instead of running them again. The rows are written
 * where the pass keeps activations, in the order in which they are sampled, and put into that of the packing
 * (packing.h) at the end. They are those of a forward pass up to rounding: kernels for few rows add in another order.
 */
#ifndef REIN_CORE_TRACE_H
#define REIN_CORE_TRACE_H

#include "model/pass.h"
#include "model/transformer.h"

/* Zero-initialise; free with trace_free. */
struct trace {
    struct pass *pass;          /* NULL: nothing is recorded */
    uint64_t room, first, used; /* rows; first: of those laid out last */
    int32_t *prompt;            /* [tokens of all prompts] the row of each */
    int32_t *drawn;             /* [tokens that may be drawn] the row that took each in */
};

/* In the memory that p keeps activations in. Nothing is recorded where there is none yet (pass_reserve), where p
 * checkpoints or where its trunk does not train. What p held before is lost. */
int trace_open(struct trace *r, struct pass *p, size_t prompts, size_t drawn, struct error *err);
void trace_free(struct trace *r);
/* The arrays of the next n rows; scratch as for KEEP_NOTHING. False where nothing is recorded, or no longer, for want
 * of room: w is as it was. */
bool trace_lay_out(struct trace *r, struct work *w, int64_t n, float *scratch);
/* From now on the pass holds `batch`. rows: [packed rows] the recorded one of each but the last of every sequence;
 * those have at least two. */
int trace_close(struct trace *r, const struct packed *batch, const int32_t *rows, struct error *err);

#endif
