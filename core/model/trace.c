/* SPDX-License-Identifier: MIT */
#include "model/trace.h"

#include "base/mem.h"
#include "model/pass_state.h"

#include <stdlib.h>

void trace_free(struct trace *r) {
    free(r->prompt);
    free(r->drawn);
    *r = (struct trace){0};
}

int trace_open(struct trace *r, struct pass *p, size_t prompts, size_t drawn, struct error *err) {
    *r = (struct trace){.room = pass_planned(p)};
    if (r->room == 0)
        return 0;
    r->prompt = mem_array(prompts, sizeof(*r->prompt));
    r->drawn = mem_array(drawn, sizeof(*r->drawn));
    if (!r->prompt || !r->drawn) {
        trace_free(r);
        return error_nomem(err, "activations of sampling");
    }
    r->pass = p;
    p->forward = false; /* what it keeps is written over */
    return 0;
}

/* Rows lie behind where the pass has its own, as far as the widest array is long. */
static float *recorded(const struct trace *r) {
    const uint64_t floats = r->room * work_widest(&r->pass->trunk->config);

    return (float *)r->pass->kept + (floats + 15) / 16 * 16;
}

bool trace_lay_out(struct trace *r, struct work *w, int64_t n, float *scratch) {
    const struct work_part part = {.all = r->room, .from = r->used, .n = (uint64_t)n};

    if (r->pass && part.n > part.all - part.from)
        r->pass = NULL;
    if (!r->pass)
        return false;
    work_lay_out_part(w, &r->pass->trunk->config, &part, KEEP_ALL, recorded(r), scratch);
    w->dx = NULL;
    r->first = r->used;
    r->used += part.n;
    return true;
}

/* The recorded row of each that is computed. The last row of a sequence, unless another one goes on from there, has
 * none: no gradient reaches it either, and the row before it stands in, whose numbers are finite. */
static int32_t *find_sources(const struct packing *k, const int32_t *rows) {
    int32_t *from = mem_array((size_t)k->n, sizeof(*from));

    for (int64_t i = 0; from && i < k->n; i++)
        from[i] = -1;
    for (uint32_t s = 0; from && s < k->count; s++)
        for (uint32_t i = k->offset[s]; i + 1 < k->offset[s + 1]; i++)
            from[k->where[i]] = rows[i];
    for (uint32_t s = 0; from && s < k->count; s++) {
        const uint32_t last = k->offset[s + 1] - 1;

        if (from[k->where[last]] < 0)
            from[k->where[last]] = rows[last - 1];
    }
    return from;
}

/* Each array from where it was recorded to where the pass has it, which ends before that: its rows are no more, and neither
 * are those of the arrays before it. */
static int put_in_order(const struct trace *r, const int32_t *from, struct work_array *is, struct work_array *shall,
                        struct error *err) {
    struct pass *p = r->pass;
    struct backend *b = p->trunk->backend;
    const struct model_config *c = &p->trunk->config;
    const size_t count = work_kept_arrays(c, r->room, recorded(r), is);

    work_kept_arrays(c, (uint64_t)p->flow.n, p->kept, shall);
    for (size_t i = 0; i < count; i++) {
        const int64_t columns = (int64_t)is[i].columns;
        struct rein_gather a = {
            .size = sizeof(a),
            .n = p->flow.n,
            .cols = columns,
            .ldx = columns,
            .ldout = columns,
            .rows = from,
            .x = is[i].at,
            .out = shall[i].at,
        };

        if (backend_check(b, b->k.gather(b->dev, &a), "gather", err))
            return -1;
    }
    return 0;
}

int trace_close(struct trace *r, const struct packed *batch, const int32_t *rows, struct error *err) {
    struct pass *p = r->pass;
    const size_t count = work_kept_arrays(&p->trunk->config, 0, NULL, NULL);
    struct work_array *arrays = NULL;
    int32_t *from = NULL;
    int rc = -1;

    if (pass_perturb(p, NULL, 0, err) || pass_take_batch(p, batch, err))
        return -1;
    if ((uint64_t)p->flow.n > r->room) /* sampling shared what the packing does not */
        return 0;
    from = find_sources(&p->packing, rows);
    arrays = mem_array(2 * count, sizeof(*arrays));
    if (!from || !arrays)
        error_nomem(err, "activations of sampling");
    else if (pass_lay_out(p, KEEP_ALL, err) == 0 && put_in_order(r, from, arrays, arrays + count, err) == 0)
        rc = pass_ready(p, err);
    if (rc)
        backend_sync(p->trunk->backend, NULL); /* calls before the one that failed may read `from` still */
    free(from);
    free(arrays);
    return rc;
}
