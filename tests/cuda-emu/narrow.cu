/* SPDX-License-Identifier: MIT
 * How exact products with bf16 and f16 weights are, for each value of `narrow` and for TF32, on sums short and long: held against
 * float64 sums of what each promises to multiply.
 */
#include "backend_host.h"

#include <cmath>
#include <rein/half.h>
#include <vector>

/* The parts of M rows of LONG terms are more than the workspace of 1 MiB holds. */
enum { M = 40, N = 7, LONG = 9000 };

static uint64_t state = 88172645463325252u;
static float uniform() { /* xorshift64; in [-1, 1) */
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (float)((double)(state >> 11) * 0x1p-52 - 1.0);
}

static float narrowed(float x, uint32_t dtype) {
    return dtype == REIN_BF16 ? rein_from_bf16(rein_to_bf16(x)) : dtype == REIN_F16 ? rein_from_f16(rein_to_f16(x)) : x;
}

/* Ten bits of mantissa. */
static float tf32(float x) {
    return rein_bits_float((rein_float_bits(x) + 0x1000u) & ~0x1fffu);
}

struct factors {
    int64_t terms;
    uint32_t dtype;
    std::vector<float> x, w; /* [M][terms], [N][terms]; w of dtype's values */
    std::vector<uint16_t> bits;
};

/* All positive where sums are long, so that what tensor cores cut off adds up: to 1e-4 in one product. */
static struct factors make(int64_t terms, uint32_t dtype) {
    struct factors f = {terms, dtype, {}, {}, {}};

    for (int64_t i = 0; i < M * terms; i++)
        f.x.push_back(terms == LONG ? std::fabs(uniform()) : uniform());
    for (int64_t i = 0; i < N * terms; i++) {
        f.w.push_back(narrowed(terms == LONG ? std::fabs(uniform()) : uniform(), dtype));
        f.bits.push_back(dtype == REIN_BF16 ? rein_to_bf16(f.w.back()) : rein_to_f16(f.w.back()));
    }
    return f;
}

/* x W^T on the backend, or with W [terms][N] laid out the other way dy W; the largest difference from the float64 sum of
 * seen(x) * seen(w), relative to the largest value. */
template <class F> static double error(const struct config *config, const struct factors &f, bool forward, F seen) {
    const bool narrow = f.dtype != REIN_F32;
    const size_t size = narrow ? 2 : 4;
    const int64_t outputs = N;
    std::vector<float> turned(f.w.size()), y(M * N);
    std::vector<uint16_t> turned_bits(f.bits.size());
    struct rein_open how = {sizeof(how), 0, 1, 0};
    void *dev, *x, *w, *out;
    double worst = 0, most = 0;

    for (int64_t n = 0; n < N; n++)
        for (int64_t t = 0; t < f.terms; t++) {
            const size_t from = (size_t)(n * f.terms + t), to = forward ? from : (size_t)(t * N + n);
            turned[to] = f.w[from];
            turned_bits[to] = f.bits[from];
        }
    if (ops->open(&a_host, config, &how, &dev) || ops->alloc(dev, f.x.size() * 4, &x) || ops->alloc(dev, f.w.size() * size, &w) ||
        ops->alloc(dev, y.size() * 4, &out) || ops->copy(dev, x, f.x.data(), f.x.size() * 4, REIN_COPY_TO_DEVICE) ||
        ops->copy(dev, w, narrow ? (const void *)turned_bits.data() : turned.data(), f.w.size() * size, REIN_COPY_TO_DEVICE))
        return INFINITY;
    struct rein_weight weight = {sizeof(weight), f.dtype, forward ? outputs : f.terms, forward ? f.terms : outputs,
                                 forward ? f.terms : outputs, w, 1, NULL};
    struct rein_linear a = {sizeof(a), 0, &weight, M, f.terms, N, (float *)x, NULL, (float *)out, 0, 0};
    struct rein_linear_dx b = {sizeof(b), 0, &weight, M, f.terms, N, (float *)x, (float *)out, 0, 0};
    if ((forward ? k->linear(dev, &a) : k->linear_dx(dev, &b)) ||
        ops->copy(dev, y.data(), out, y.size() * 4, REIN_COPY_FROM_DEVICE) || ops->sync(dev))
        return INFINITY;
    for (int64_t i = 0; i < M; i++)
        for (int64_t n = 0; n < N; n++) {
            double sum = 0;
            for (int64_t t = 0; t < f.terms; t++)
                sum += (double)seen(f.x[(size_t)(i * f.terms + t)]) * seen(f.w[(size_t)(n * f.terms + t)]);
            most = std::fmax(most, std::fabs(sum));
            worst = std::fmax(worst, std::fabs(sum - y[(size_t)(i * N + n)]));
        }
    for (void *p : {x, w, out})
        ops->free(dev, p);
    ops->close(dev);
    return worst / most;
}

static const char *const narrow_names[] = {"expand", "split", "round"};

static void check(uint32_t dtype, int64_t narrow, int64_t terms, bool forward) {
    const struct config config = {narrow, 1, 0};
    const struct factors f = make(terms, dtype);
    const bool rounds = narrow == NARROW_ROUND;
    const double e = error(&config, f, forward, [=](float x) { return rounds ? narrowed(x, dtype) : x; });
    const double whole = error(&config, f, forward, [](float x) { return x; });
    /* f16's products have more bits to cut off */
    const double allowed = rounds && dtype == REIN_F16 ? 1.5e-5 : 5e-6;
    char name[160];

    snprintf(name, sizeof(name), "narrow: %s, %s, sums of %d, %s: %.1e of what is promised, %.1e of the whole product",
             narrow_names[narrow], dtype == REIN_BF16 ? "bf16" : "f16", (int)terms, forward ? "forward" : "backward", e, whole);
    ok(e <= allowed && (!rounds || (whole > 5e-6 && whole < 8e-3)), name);
}

int main() {
    find_backend();
    for (uint32_t dtype : {REIN_BF16, REIN_F16})
        for (int64_t narrow : {NARROW_EXPAND, NARROW_SPLIT, NARROW_ROUND})
            for (int64_t terms : {1, 100, (int)LONG})
                for (bool forward : {true, false})
                    check(dtype, narrow, terms, forward);
    const struct config config = {NARROW_EXPAND, 1, 1};
    const struct factors f = make(100, REIN_F32);
    ok(error(&config, f, true, tf32) <= 5e-6 && error(&config, f, true, [](float x) { return x; }) > 1e-5,
       "tf32 rounds the factors to ten bits, and nothing else");
    ok(emu::alive() == 0 && live == 0, "nothing is left");
    printf("1..%d\n", tests);
    return wrong != 0;
}
