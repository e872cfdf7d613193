/* SPDX-License-Identifier: MIT */
#include "conform/rig.h"
#include "base/mem.h"
#include "conform/conform.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GUARD = 256 };                       /* bytes before and after each array */
static const uint32_t marker = 0x7fc5a5a5u; /* a quiet NaN, also in each half as float16 and bfloat16 */

static size_t element_size(uint32_t dtype) {
    return dtype == REIN_F16 || dtype == REIN_BF16 ? 2 : dtype == RIG_F64 ? 8 : 4;
}

double rig_slack(void) {
    return conform_tolerance() / CONFORM_TOLERANCE;
}

/* The largest difference allowed, relative to the array's largest value. */
static double threshold(const struct array *a) {
    const uint32_t dtype = a->dtype;
    const double least = dtype == REIN_BF16 ? 8e-3 : dtype == REIN_F16 ? 1e-3 : dtype == RIG_F64 ? 1e-6 : 0;

    /* a tolerance that was asked for is for products of a shorter format */
    if (a->close && conform_tolerance() <= CONFORM_TOLERANCE)
        return 1e-6 * rig_slack();
    return fmax(least, dtype == RIG_F64 ? 0 : conform_tolerance());
}

static void *needed(void *p) {
    if (!p) {
        fprintf(stderr, "rein-conform: out of memory\n");
        exit(2);
    }
    return p;
}

/* Opens the instance with 1 thread, which two sides share. */
static bool open_one(struct rig *r) {
    struct rein_open how = {.size = sizeof(how), .threads = 1};
    bool ok = r->ops->open(conform_host(), r->config, &how, &r->dev[RIG_ONE]) == REIN_OK;

    r->dev[RIG_AGAIN] = r->dev[RIG_ONE];
    return ok;
}

bool rig_open(struct rig *r, const struct rein_plugin *plugin, const void *config) {
    struct rein_open how = {.size = sizeof(how), .threads = 2};

    r->ops = plugin->ops;
    r->plugin = plugin;
    r->config = config;
    r->random = 0x9e3779b97f4a7c15u;
    if (!conform_ok(open_one(r), "open with 1 thread"))
        return false;
    if (conform_ok(r->ops->open(conform_host(), config, &how, &r->dev[RIG_TWO]) == REIN_OK, "open with 2 threads"))
        return true;
    r->ops->close(r->dev[RIG_ONE]);
    return false;
}

void rig_close(struct rig *r) {
    r->ops->close(r->dev[RIG_ONE]);
    r->ops->close(r->dev[RIG_TWO]);
}

double rig_uniform(struct rig *r) {
    r->random = r->random * 6364136223846793005u + 1442695040888963407u;
    return (double)(r->random >> 11) * 0x1p-53;
}

void rig_begin(struct rig *r, const char *fmt, ...) {
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(r->name, sizeof(r->name), fmt, ap);
    va_end(ap);
    memset(r->status, 0, sizeof(r->status));
    r->cases++;
    r->starve = r->cases % 5 == 4;
    if (r->starve) { /* a new instance has no work space yet */
        r->ops->close(r->dev[RIG_ONE]);
        if (!open_one(r))
            needed(NULL);
    }
}

void rig_starve(struct rig *r, int side) {
    if (!r->starve || side != RIG_ONE)
        return;
    conform_host_quiet(true);
    conform_host_fail_alloc(1);
}

bool rig_starved(struct rig *r, int side) {
    bool failed;

    if (!r->starve || side != RIG_ONE)
        return false;
    failed = conform_host_alloc_failed();
    conform_host_fail_alloc(0);
    r->starved += failed;
    if (failed)
        snprintf(r->name + strlen(r->name), sizeof(r->name) - strlen(r->name), ", after a failed allocation");
    if (failed && r->status[side] != REIN_OK && r->status[side] != REIN_ERR_NOMEM)
        rig_fail(r, "without memory the status is %d, expected REIN_ERR_NOMEM (%d)", (int)r->status[side],
                 REIN_ERR_NOMEM);
    r->ops->sync(r->dev[side]); /* may tell of it again */
    conform_host_quiet(false);
    if (!failed || r->status[side] == REIN_OK)
        return false;
    for (struct array *a = r->arrays; a; a = a->next)
        if (a->device[side])
            r->ops->copy(r->dev[side], a->device[side], a->first, a->bytes, REIN_COPY_TO_DEVICE);
    return true;
}

/* A few numbers that are none. */
static void sprinkle(struct rig *r, struct array *a) {
    static const float specials[] = {NAN, INFINITY, -INFINITY};

    if (rig_uniform(r) < 0.5 && a->rows > 0 && a->cols > 0)
        for (int i = 0; i < 3; i++) {
            int64_t row = (int64_t)(rig_uniform(r) * (double)a->rows),
                    col = (int64_t)(rig_uniform(r) * (double)a->cols);
            ref_store(a->first + a->offset, a->dtype, row * a->ld + col, specials[(r->cases + i) % 3]);
        }
}

struct array *rig_array(struct rig *r, enum rig_kind kind, int64_t rows, int64_t cols, int64_t ld, uint32_t dtype) {
    struct array *a = needed(mem_zeros(1, sizeof(*a)));
    size_t size = element_size(dtype), count = rows > 0 ? (size_t)((rows - 1) * ld + cols) : 0;

    *a =
        (struct array){.kind = kind, .dtype = dtype, .rows = rows, .cols = cols, .ld = ld, .rig = r, .next = r->arrays};
    r->arrays = a;
    a->bytes = 2 * GUARD + count * size + 16;
    a->offset = GUARD + (r->cases % 3 == 2 ? size : 0); /* now and then not at a multiple of 64 bytes */
    a->exact = kind == RIG_IN;
    a->first = needed(mem_array(a->bytes, 1));
    for (size_t i = 0; i + 4 <= a->bytes; i += 4)
        memcpy(a->first + i, &marker, 4);
    for (int64_t i = 0; i < rows && kind != RIG_OUT; i++)
        for (int64_t j = 0; j < cols; j++)
            ref_store(a->first + a->offset, dtype, i * ld + j, (float)(2 * rig_uniform(r) - 1));
    if (r->special && kind != RIG_OUT)
        sprinkle(r, a);
    return a;
}

void rig_scale(struct array *a, float factor, float offset) {
    float *x = (float *)(void *)(a->first + a->offset);

    for (int64_t i = 0; i < a->rows; i++)
        for (int64_t j = 0; j < a->cols; j++)
            x[i * a->ld + j] = x[i * a->ld + j] * factor + offset;
}

/* Places the array for one side, on the first request. */
static void place(struct rig *r, struct array *a, int side) {
    a->block[side] = needed(mem_aligned(a->bytes, 1));
    memcpy(a->block[side], a->first, a->bytes);
    if (side == RIG_REF) {
        a->device[side] = a->block[side];
        return;
    }
    if (r->ops->alloc(r->dev[side], a->bytes, &a->device[side]) != REIN_OK ||
        r->ops->copy(r->dev[side], a->device[side], a->first, a->bytes, REIN_COPY_TO_DEVICE) != REIN_OK) {
        conform_ok(false, "%s: alloc and copy work", r->name);
        exit(conform_done());
    }
}

void *rig_first(struct array *a) {
    return a->first + a->offset;
}

void *rig_at(const struct array *a, int side) {
    struct array *array = (struct array *)(uintptr_t)a;

    if (!a)
        return NULL;
    if (!array->device[side])
        place(array->rig, array, side);
    return (char *)array->device[side] + a->offset;
}

struct rein_weight *rig_weight(struct rig *r, struct array *a, int side) {
    struct rein_weight *w;

    for (int i = side; i < r->nweights; i += RIG_SIDES)
        if (r->weights[i].data == rig_at(a, side))
            return &r->weights[i];
    if (!r->weights)
        r->weights = needed(mem_zeros(4 * RIG_SIDES, sizeof(*w)));
    for (int i = 0; i < RIG_SIDES; i++)
        r->weights[r->nweights++] = (struct rein_weight){.size = sizeof(*w),
                                                         .dtype = a->dtype,
                                                         .rows = a->rows,
                                                         .cols = a->cols,
                                                         .ld = a->ld,
                                                         .data = rig_at(a, i),
                                                         .generation = 1};
    return &r->weights[r->nweights - RIG_SIDES + side];
}

int32_t *rig_ints(struct rig *r, int64_t n) {
    struct array *a = rig_array(r, RIG_OUT, n, 1, 1, RIG_I32);

    a->exact = true; /* the host keeps them in `first`: nothing may write them */
    return (int32_t *)(void *)(a->first + a->offset);
}

void rig_fill_ints(struct rig *r, int32_t *out, int64_t n, int32_t below) {
    for (int64_t i = 0; i < n; i++)
        out[i] = (int32_t)(rig_uniform(r) * below);
}

void rig_fail(struct rig *r, const char *fmt, ...) {
    char text[300];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    r->failed++;
    conform_note("%s: %s", r->name, text);
}

bool rig_fetch(struct rig *r) {
    if (r->status[RIG_REF] != REIN_OK) {
        rig_fail(r, "the reference answers %d", (int)r->status[RIG_REF]);
        return false;
    }
    for (int side = RIG_ONE; side < RIG_SIDES; side++) {
        if (r->status[side] != REIN_OK) {
            rig_fail(r, "status %d", (int)r->status[side]);
            return false;
        }
        if (r->ops->sync(r->dev[side]) != REIN_OK) {
            rig_fail(r, "sync failed");
            return false;
        }
        for (struct array *a = r->arrays; a; a = a->next)
            if (a->device[side])
                r->ops->copy(r->dev[side], a->block[side], a->device[side], a->bytes, REIN_COPY_FROM_DEVICE);
        r->ops->sync(r->dev[side]);
    }
    return true;
}

static double element(const struct array *a, const unsigned char *block, size_t i) {
    double d;
    int32_t n;

    if (a->dtype == RIG_F64) {
        memcpy(&d, block + a->offset + 8 * i, 8);
        return d;
    }
    if (a->dtype == RIG_I32) {
        memcpy(&n, block + a->offset + 4 * i, 4);
        return n;
    }
    return ref_load(block + a->offset, a->dtype, (int64_t)i);
}

/* Everything outside the elements, before, between and after the rows, must be as it was. */
static bool frame_is_whole(const struct array *a, const unsigned char *block) {
    size_t size = element_size(a->dtype), at = a->offset;

    if (memcmp(block, a->first, a->offset))
        return false;
    for (int64_t i = 0; i < a->rows; i++) {
        size_t end = a->offset + (size_t)(i * a->ld + a->cols) * size;
        size_t next = i + 1 < a->rows ? a->offset + (size_t)((i + 1) * a->ld) * size : a->bytes;
        if (memcmp(block + end, a->first + end, next - end))
            return false;
        at = next;
    }
    return a->rows > 0 || !memcmp(block + at, a->first + at, a->bytes - at);
}

/* Is x as wrong as the reference's y? Out of a NaN or an infinity comes one of them, which one depends on the order of
 * sums, but never a number. */
static bool same_trouble(const struct rig *r, double x, double y) {
    return (isnan(x) && isnan(y)) || (r->special && !isfinite(x) && (!isfinite(y) || r->special == RIG_SPREADS));
}

static void compare_values(struct rig *r, const struct array *a, int side) {
    double most = a->scale, worst = 0;

    for (int64_t i = 0; i < a->rows; i++)
        for (int64_t j = 0; j < a->cols; j++) {
            double b = fabs(element(a, a->block[RIG_REF], (size_t)(i * a->ld + j)));
            most = b > most && isfinite(b) ? b : most;
        }
    for (int64_t i = 0; i < a->rows; i++)
        for (int64_t j = 0; j < a->cols; j++) {
            size_t at = (size_t)(i * a->ld + j);
            double x = element(a, a->block[side], at), y = element(a, a->block[RIG_REF], at);
            double d = x == y || same_trouble(r, x, y) ? 0 : fabs(x - y) / (most > 0 ? most : 1);
            if (!(d <= threshold(a))) {
                rig_fail(r, "[%lld][%lld] is %.9g, the reference's %.9g (largest %.3g, %s)", (long long)i, (long long)j,
                         x, y, most, side == RIG_TWO ? "2 threads" : "1 thread");
                return;
            }
            worst = d > worst ? d : worst;
        }
    if (a->dtype == REIN_F32 && worst > r->worst)
        r->worst = worst;
}

void rig_compare(struct rig *r) {
    for (const struct array *a = r->arrays; a; a = a->next) {
        if (!a->device[RIG_REF])
            continue;
        for (int side = RIG_ONE; side < RIG_SIDES; side++)
            if (!frame_is_whole(a, a->block[side])) {
                rig_fail(r, "writes outside its arrays");
                return;
            }
        if (memcmp(a->block[RIG_ONE], a->block[RIG_AGAIN], a->bytes)) {
            rig_fail(r, "the same call twice gives different bits");
            return;
        }
        for (int side = RIG_ONE; side < RIG_SIDES; side++)
            if (a->exact && memcmp(a->block[side], a->block[RIG_REF], a->bytes))
                rig_fail(r, a->kind == RIG_IN ? "writes to an input" : "not the exact bits");
            else if (!a->exact && !a->loose)
                compare_values(r, a, side);
    }
}

void rig_clear(struct rig *r) {
    for (int i = 0; i < r->nweights; i++)
        if (i % RIG_SIDES != RIG_REF && REIN_HAS(r->ops, struct rein_backend_ops, weight_release) &&
            r->ops->weight_release)
            r->ops->weight_release(r->dev[i % RIG_SIDES], &r->weights[i]);
    free(r->weights);
    r->weights = NULL;
    r->nweights = 0;
    while (r->arrays) {
        struct array *a = r->arrays;
        r->arrays = a->next;
        for (int side = 0; side < RIG_SIDES; side++) {
            if (side != RIG_REF && a->device[side])
                r->ops->free(r->dev[side], a->device[side]);
            free(a->block[side]);
        }
        free(a->first);
        free(a);
    }
}

void rig_end(struct rig *r) {
    if (rig_fetch(r))
        rig_compare(r);
    rig_clear(r);
}

void rig_report(struct rig *r, const char *what) {
    conform_ok(r->failed == 0, "%s%s: %d cases, largest error %.1e", what, r->special ? ", NaN and infinity" : "",
               r->cases, r->worst);
    r->cases = r->failed = 0;
    r->worst = 0;
}
