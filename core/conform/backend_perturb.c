/* SPDX-License-Identifier: MIT */
#include "conform/rig.h"

#include <math.h>

enum { SITE = 7 };

/* A case, its arrays made. */
struct drawn {
    struct array *x, *y;
    uint64_t *keys;
    int32_t *positions;
};

static struct drawn prepare(struct rig *r, int64_t n, int64_t cols, int64_t gap, bool in_place) {
    struct drawn d;

    d.x = rig_array(r, in_place ? RIG_BOTH : RIG_IN, n, cols, cols + gap, REIN_F32);
    d.y = in_place ? d.x : rig_array(r, RIG_OUT, n, cols, cols + 2 * gap, REIN_F32);
    d.keys = (uint64_t *)(((uintptr_t)rig_ints(r, 2 * n + 2) + 7) & ~(uintptr_t)7);
    d.positions = rig_ints(r, n);
    rig_fill_ints(r, (int32_t *)(void *)d.keys, 2 * n, INT32_MAX);
    rig_fill_ints(r, d.positions, n, 4096);
    return d;
}

static void call(struct rig *r, const struct drawn *d, uint32_t kind, double rate) {
    for (int side = 0; side < RIG_SIDES; side++) {
        struct rein_perturb a = {.kind = kind,
                                 .n = d->x->rows,
                                 .cols = d->x->cols,
                                 .ldx = d->x->ld,
                                 .ldy = d->y->ld,
                                 .keys = d->keys,
                                 .positions = d->positions,
                                 .rate = rate,
                                 .site = SITE,
                                 .x = rig_at(d->x, side),
                                 .y = rig_at(d->y, side)};
        RIG_CALL(r, side, perturb, &a);
    }
}

static void compare(struct rig *r, uint32_t kind, int64_t n, int64_t cols, double rate, int i) {
    struct drawn d;

    rig_begin(r, "%s n=%d cols=%d rate=%g%s", kind == REIN_PERTURB_DROPOUT ? "dropout" : "noise", (int)n, (int)cols,
              rate, i % 2 ? " in place" : "");
    d = prepare(r, n, cols, i % 3 ? 5 : 0, i % 2);
    d.y->exact = kind == REIN_PERTURB_DROPOUT; /* a mask is a mask */
    call(r, &d, kind, rate);
    rig_end(r);
}

static const float *row_of(const struct array *a, int side, int64_t i) {
    return (const float *)(const void *)(a->block[side] + a->offset) + i * a->ld;
}

/* The share that is dropped, the scale of what is kept, and the same mask for another x: a backward pass's. */
static void check_mask(struct rig *r, double rate) {
    const int64_t n = 40, cols = 250;
    struct drawn d, again;
    double dropped = 0, deviation = sqrt(rate * (1 - rate) * (double)(n * cols));
    bool scaled = true, same = true;

    rig_begin(r, "dropout rate=%g: what is dropped", rate);
    d = prepare(r, n, cols, 0, false);
    again = prepare(r, n, cols, 0, false);
    rig_scale(d.x, 0.5f, 2.0f); /* no zeroes */
    rig_scale(again.x, 0.5f, -2.0f);
    again.keys = d.keys;
    again.positions = d.positions;
    call(r, &d, REIN_PERTURB_DROPOUT, rate);
    call(r, &again, REIN_PERTURB_DROPOUT, rate);
    if (!rig_fetch(r)) {
        rig_clear(r);
        return;
    }
    rig_compare(r);
    for (int side = 0; side < RIG_SIDES; side++, dropped = 0) {
        for (int64_t i = 0; i < n; i++)
            for (int64_t c = 0; c < cols; c++) {
                float x = row_of(d.x, side, i)[c], y = row_of(d.y, side, i)[c], z = row_of(again.y, side, i)[c];

                dropped += y == 0;
                scaled = scaled && (y == 0 || fabs((double)y - x / (1 - rate)) <= 1e-6 * fabs((double)y));
                same = same && (y == 0) == (z == 0);
            }
        if (fabs(dropped - rate * (double)(n * cols)) > 5 * deviation)
            rig_fail(r, "%g of %d elements are dropped", dropped, (int)(n * cols));
    }
    if (!scaled)
        rig_fail(r, "what is kept is not divided by 1 - rate");
    if (!same)
        rig_fail(r, "another x has another mask");
    rig_clear(r);
}

/* Mean 0, deviation rate times the row's rms, rows apart from one another. */
static void check_noise(struct rig *r) {
    const int64_t n = 30, cols = 400;
    const double rate = 0.25;
    struct drawn d;

    rig_begin(r, "noise: its moments");
    d = prepare(r, n, cols, 0, false);
    rig_scale(d.x, 3.0f, 1.0f);
    call(r, &d, REIN_PERTURB_NOISE, rate);
    if (!rig_fetch(r)) {
        rig_clear(r);
        return;
    }
    rig_compare(r);
    for (int side = 0; side < RIG_SIDES; side++) {
        double sum = 0, squares = 0, together = 0, count = (double)(n * cols);

        for (int64_t i = 0; i < n; i++) {
            double rms = 0, before = 0;

            for (int64_t c = 0; c < cols; c++)
                rms += (double)row_of(d.x, side, i)[c] * row_of(d.x, side, i)[c];
            rms = sqrt(rms / (double)cols);
            for (int64_t c = 0; c < cols; c++) {
                double z = ((double)row_of(d.y, side, i)[c] - row_of(d.x, side, i)[c]) / (rate * rms);

                sum += z;
                squares += z * z;
                together += z * before;
                before = z;
            }
        }
        if (fabs(sum / count) > 5 / sqrt(count) || fabs(squares / count - 1) > 5 * sqrt(2 / count) ||
            fabs(together / count) > 5 / sqrt(count))
            rig_fail(r, "mean %g, square %g, neighbours %g of what should be normal", sum / count, squares / count,
                     together / count);
    }
    rig_clear(r);
}

/* A row is the same wherever it stands, and another at another position. */
static void check_rows(struct rig *r, uint32_t kind) {
    struct drawn d;

    rig_begin(r, "perturb %u: rows by themselves", (unsigned)kind);
    d = prepare(r, 3, 97, 0, false);
    for (int i = 1; i < 3; i++) {
        float *x = rig_first(d.x);

        for (int c = 0; c < 97; c++)
            x[i * 97 + c] = x[c];
        d.keys[i] = d.keys[0];
        d.positions[i] = d.positions[0] + (i == 2);
    }
    call(r, &d, kind, 0.3);
    if (rig_fetch(r)) {
        rig_compare(r);
        for (int side = 0; side < RIG_SIDES; side++) {
            bool same = true, other = false;

            for (int c = 0; c < 97; c++) {
                same = same && row_of(d.y, side, 0)[c] == row_of(d.y, side, 1)[c];
                other = other || row_of(d.y, side, 0)[c] != row_of(d.y, side, 2)[c];
            }
            if (!same || !other)
                rig_fail(r, same ? "the position does not count" : "the place in the call counts");
        }
    }
    rig_clear(r);
}

void check_perturb(struct rig *r) {
    static const int64_t shapes[][2] = {{0, 5}, {1, 1}, {3, 2}, {5, 31}, {7, 64}, {9, 67}, {33, 129}, {70, 577}, {2, 2500}};
    static const double rates[] = {0, 0.1, 0.5, 0.99};
    int i = 0;

    for (size_t s = 0; s < sizeof(shapes) / sizeof(*shapes); s++)
        for (size_t k = 0; k < sizeof(rates) / sizeof(*rates); k++, i++) {
            compare(r, REIN_PERTURB_DROPOUT, shapes[s][0], shapes[s][1], rates[k], i);
            compare(r, REIN_PERTURB_NOISE, shapes[s][0], shapes[s][1], rates[k], i);
        }
    check_mask(r, 0.1);
    check_mask(r, 0.5);
    check_noise(r);
    check_rows(r, REIN_PERTURB_DROPOUT);
    check_rows(r, REIN_PERTURB_NOISE);
    rig_report(r, "perturb");
}
