/* core/conform/rig.h - one call of a kernel, made by the reference and by the backend under test, and compared.
 * SPDX-License-Identifier: MIT
 *
 * A case makes its arrays, then calls the kernel once for every side with that side's pointers:
 *
 *     rig_begin(r, "axpy n=%d", n);
 *     struct array *x = rig_array(r, RIG_IN, n, 1, 1, REIN_F32);
 *     for (int side = 0; side < RIG_SIDES; side++) {
 *         struct rein_axpy a = {..., .x = rig_at(x, side)};
 *         RIG_CALL(r, side, axpy, &a);
 *     }
 *     rig_end(r);
 *
 * Between rows of an array (ld > cols), around it and in fresh outputs lie NaNs of a pattern of their own: reading
 * one shows in the result, writing one is seen.
 */
#ifndef REIN_CORE_RIG_H
#define REIN_CORE_RIG_H

#include "ref/kernels.h"

#include <rein/backend.h>
#include <stdbool.h>

/* The reference; the backend with 1 thread, twice (the bits must agree); the backend with 2 threads. */
enum { RIG_REF, RIG_ONE, RIG_AGAIN, RIG_TWO, RIG_SIDES };
/* More than the grid of a GPU has blocks along y. */
enum { RIG_MANY_ROWS = 65535 + 100 };
/* Read only; written only (NaN before); both. */
enum rig_kind { RIG_IN, RIG_OUT, RIG_BOTH };

/* What is expected of a kernel whose inputs hold a NaN or an infinity: nothing; that the same outputs as the
 * reference's are not finite; that at least those are (a tile of attention mixes rows that do not see each other). */
enum rig_special { RIG_ORDINARY, RIG_SPECIAL, RIG_SPREADS };

/* Element types beside rein's. */
#define RIG_I32 100u
#define RIG_F64 101u

struct rig;
struct array {
    enum rig_kind kind;
    uint32_t dtype;
    int64_t rows, cols, ld;
    size_t bytes, offset;            /* the array lies `offset` bytes into its block */
    unsigned char *first;            /* the block's contents before the call */
    unsigned char *block[RIG_SIDES]; /* host copies: RIG_REF's own, the others' after the call */
    void *device[RIG_SIDES];
    bool exact;   /* equal bits, not within the threshold */
    bool loose;   /* compared by the case itself */
    bool close;   /* float32 made in few roundings: a shorter format on the way would show */
    double scale; /* differences are relative to at least this */
    struct rig *rig;
    struct array *next;
};

struct rig {
    const struct rein_backend_ops *ops;
    const struct rein_plugin *plugin;
    const void *config;
    void *dev[RIG_SIDES]; /* RIG_ONE and RIG_AGAIN are the same; RIG_REF is NULL */
    struct array *arrays;
    struct rein_weight *weights; /* of the case: RIG_SIDES a weight */
    int nweights;
    char name[200];
    uint64_t random;
    rein_status status[RIG_SIDES];
    enum rig_special special; /* whether inputs hold NaNs and infinities here and there */
    bool starve;              /* this case's RIG_ONE finds no memory at first */
    int starved;              /* calls that asked for memory and got none */
    /* over all cases since rig_report */
    int cases, failed;
    double worst;
};

/* Opens the backend with 1 and with 2 threads. False (and a failed TAP line) when it cannot. */
bool rig_open(struct rig *r, const struct rein_plugin *plugin, const void *config);
void rig_close(struct rig *r);

void rig_begin(struct rig *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A [rows][cols] array of random values in [-1, 1) (REIN_F32, F16, BF16), or of outputs. */
struct array *rig_array(struct rig *r, enum rig_kind kind, int64_t rows, int64_t cols, int64_t ld, uint32_t dtype);
void rig_scale(struct array *a, float factor, float offset); /* float32 only, before the calls */
/* The values every side starts from; to be changed before the first rig_at. */
void *rig_first(struct array *a);
/* This side's pointer; NULL stays NULL. */
void *rig_at(const struct array *a, int side);
/* A weight over the array, with a cache of its own for each side. */
struct rein_weight *rig_weight(struct rig *r, struct array *a, int side);
/* [host] arrays of the case: the same for all sides, freed at its end. */
int32_t *rig_ints(struct rig *r, int64_t n);
void rig_fill_ints(struct rig *r, int32_t *out, int64_t n, int32_t below);
double rig_uniform(struct rig *r); /* [0, 1) */
/* How much more rounding than usual is allowed: 1 without --tolerance. */
double rig_slack(void);
void rig_end(struct rig *r);
/* rig_end in two steps, for cases that look at results themselves: fetches what the sides wrote. */
bool rig_fetch(struct rig *r);
void rig_compare(struct rig *r);
void rig_clear(struct rig *r);
void rig_fail(struct rig *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* One TAP line for the cases since the last one. */
void rig_report(struct rig *r, const char *what);

/* Calls the kernel of this side; an empty slot of the backend's is the reference's. Where the case starves, the first
 * allocation of the first call fails: it must say so, and work when called again. */
#define RIG_CALL(r, side, kernel, args)                                                                                \
    do {                                                                                                               \
        const struct rein_kernels *k_ = (r)->ops->kernels;                                                             \
        bool own_ = (side) != RIG_REF && REIN_HAS(k_, struct rein_kernels, kernel) && k_->kernel;                      \
        (args)->size = sizeof(*(args));                                                                                \
        if (own_)                                                                                                      \
            rig_starve(r, side);                                                                                       \
        (r)->status[side] = own_ ? k_->kernel((r)->dev[side], args) : ref_##kernel(NULL, args);                        \
        if (own_ && rig_starved(r, side))                                                                              \
            (r)->status[side] = k_->kernel((r)->dev[side], args);                                                      \
    } while (0)
void rig_starve(struct rig *r, int side);
bool rig_starved(struct rig *r, int side); /* true: the call is to be repeated */

void check_linear(struct rig *r);
void check_embedding(struct rig *r);
void check_norm(struct rig *r);
void check_rope(struct rig *r);
void check_activation(struct rig *r);
void check_attention(struct rig *r);
void check_head(struct rig *r);
void check_sample(struct rig *r);
void check_adamw(struct rig *r);
void check_sum_squares(struct rig *r);
void check_axpy(struct rig *r);
void check_gather(struct rig *r);
void check_cast(struct rig *r);
void check_perturb(struct rig *r);
/* Speed of each kernel that the backend provides, for people. */
void measure_kernels(const struct rein_plugin *plugin, const void *config);
/* The reference's derivatives against differences of its own forward kernels. */
void check_reference_gradients(void);

#endif
