/* SPDX-License-Identifier: MIT
 * The memory of a pass.
 */
#include "base/mem.h"
#include "model/gradients.h"
#include "model/pass_state.h"

void pass_rows_free(struct rows *r, struct backend *b) {
    backend_free(b, r->slab);
    *r = (struct rows){0};
}

uint64_t pass_bytes(const struct pass *p) {
    return p->kept_bytes + p->head.bytes + p->score.bytes;
}

int pass_rows_reserve(struct pass *p, struct rows *r, size_t n, size_t heads, struct error *err) {
    struct backend *b = p->trunk->backend;
    size_t hidden = (size_t)p->trunk->config.hidden, columns, bytes;
    float *f;

    if (r->slab && n <= r->capacity && heads <= r->heads)
        return 0;
    pass_rows_free(r, b);
    n = (n + 15) / 16 * 16;
    if (!size_mul(hidden, 2, &columns) || !size_add(columns, 4 + 2 * heads, &columns) ||
        !size_mul(n, columns, &bytes) || !size_mul(bytes, sizeof(float), &bytes))
        return error_nomem(err, "rows of the head");
    r->slab = backend_alloc(b, bytes, 1, err);
    if (!r->slab)
        return -1;
    r->capacity = n;
    r->bytes = bytes;
    f = r->slab;
    r->x = f;
    r->dx = f + n * hidden;
    f += 2 * n * hidden;
    r->heads = heads;
    r->out = f;
    r->d_out = f + n * heads;
    f += 2 * n * heads;
    r->lse = f;
    r->entropy = f + n;
    r->d_entropy = f + 2 * n;
    r->best = (int32_t *)(void *)(f + 3 * n);
    return 0;
}

int pass_reserve_kept(struct pass *p, uint64_t n, enum keep keep, struct error *err) {
    const bool over = p->over && keep != KEEP_NOTHING;
    const struct work_bytes all = work_bytes(&p->trunk->config, n, keep);
    const uint64_t need = over ? gradients_over(p->trunk, n, keep) : all.kept;

    if (need > SIZE_MAX / 2 || all.scratch > SIZE_MAX / 2)
        return error_nomem(err, "workspace");
    if (need <= p->kept_bytes)
        return 0;
    backend_free(p->trunk->backend, p->kept);
    p->kept_bytes = 0;
    p->kept = backend_alloc(p->trunk->backend, (size_t)need, 1, err);
    if (!p->kept)
        return error_prefix(err, "workspace for %llu tokens", (unsigned long long)n);
    p->kept_bytes = (size_t)need;
    if (over)
        gradients_place(p->trunk, (char *)p->kept + need);
    return 0;
}

uint64_t pass_planned(const struct pass *p) {
    return pass_kept_by(p, true) == KEEP_ALL ? p->planned : 0;
}

int pass_reserve(struct pass *p, const struct pass_size *size, struct error *err) {
    const enum keep keep = pass_kept_by(p, true);
    uint64_t own, scratch;

    pass_size_bytes(&p->trunk->config, size, keep != KEEP_NOTHING, p->recompute, &own, &scratch);
    if (own > SIZE_MAX / 2 || scratch > SIZE_MAX / 2)
        return error_nomem(err, "workspace");
    p->over = p->lodges && !p->gradients && size->over;
    if ((keep != KEEP_NOTHING && pass_reserve_kept(p, size->kept, keep, err)) ||
        (size->targets && pass_rows_reserve(p, &p->head, size->targets, 1, err)) ||
        (size->scores && pass_rows_reserve(p, &p->score, size->scores, size->heads, err)))
        return -1;
    if (!backend_scratch(p->trunk->backend, (size_t)scratch, p, err))
        return -1;
    p->planned = size->kept > p->planned ? size->kept : p->planned;
    return 0;
}

int pass_lodge(struct pass *p, struct error *err) {
    const uint64_t bytes = p->lodges ? gradients_bytes(p->trunk) : 0;

    if (bytes == 0 || p->over || p->gradients)
        return 0;
    p->gradients = bytes <= SIZE_MAX / 2 ? backend_alloc(p->trunk->backend, (size_t)bytes, 1, err) : NULL;
    if (!p->gradients)
        return error_prefix(err, "gradients");
    gradients_place(p->trunk, (char *)p->gradients + bytes);
    return 0;
}
