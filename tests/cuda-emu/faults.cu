/* SPDX-License-Identifier: MIT
 * Every call of the backend into CUDA and cuBLAS fails once, and every kernel meets an illegal address once: the host gets a
 * status and a message with the error's name, nothing crashes or hangs, and close() gives everything back.
 */
#include "backend_host.h"
#include "device.h"

#include <vector>

/* ---- every function of the two tables ------------------------------------------------------------------ */

enum { ROWS = 12, COLS = 8, HEADS = 2, KEYS = 300, FLOATS = 1 << 15, VOCABULARY = 40 };

struct things {
    void *dev, *memory[12];
    float *x[12]; /* [FLOATS] zeros each */
    int32_t ids[ROWS];
    uint64_t keys[ROWS];
    double u[ROWS], sum;
    uint8_t banned[VOCABULARY];
    std::vector<float> large;
};

static rein_status products(struct things *t) {
    static const uint32_t dtypes[] = {REIN_F32, REIN_BF16, REIN_F16};

    for (uint32_t dtype : dtypes) {
        struct rein_weight w = {sizeof(w), dtype, COLS, COLS, COLS, t->x[0], 1, NULL};
        struct rein_linear a = {sizeof(a), 0, &w, ROWS, COLS, COLS, t->x[1], t->x[2], t->x[3], 0, 0};
        struct rein_linear_dx b = {sizeof(b), 0, &w, ROWS, COLS, COLS, t->x[3], t->x[4], 1, 0};
        TRY(k->linear(t->dev, &a));
        a.m = 3; /* few rows take another way */
        TRY(k->linear(t->dev, &a));
        TRY(k->linear_dx(t->dev, &b));
    }
    struct rein_linear_dw c = {sizeof(c), 0, ROWS, COLS, COLS, COLS, COLS, COLS, t->x[3], t->x[1], t->x[5], t->x[2]};
    return k->linear_dw(t->dev, &c);
}

static rein_status rows(struct things *t) {
    struct rein_weight w = {sizeof(w), REIN_F32, VOCABULARY, COLS, COLS, t->x[0], 1, NULL};
    struct rein_embedding a = {sizeof(a), 0, &w, ROWS, COLS, t->ids, t->x[1], 1, 0};
    struct rein_embedding_dw b = {sizeof(b), 0, ROWS, COLS, VOCABULARY, COLS, COLS, t->ids, t->x[1], t->x[2], 1, 0};
    struct rein_norm c = {sizeof(c), REIN_NORM_RMS, ROWS, COLS, COLS, COLS, t->x[1], t->x[2], NULL,
                          t->x[3],   t->x[4],       NULL, 1e-5f, 0};
    struct rein_norm_dx d = {sizeof(d), REIN_NORM_RMS, ROWS, COLS,    COLS, COLS,    COLS,    t->x[1], t->x[2],
                             t->x[4],   NULL,          t->x[3], t->x[5], t->x[6], t->x[7], 0, 0};
    static const float frequencies[COLS / 2] = {};
    struct rein_rope e = {sizeof(e), 1, ROWS, 1, COLS, COLS, t->ids, frequencies, t->x[1], 1, 0};
    struct rein_axpy f = {sizeof(f), 0, ROWS, COLS, COLS, COLS, t->x[1], t->x[2], 1, 1};
    struct rein_gather g = {sizeof(g), 0, ROWS, COLS, COLS, COLS, t->ids, t->x[0], t->x[1]};
    struct rein_perturb p = {sizeof(p), REIN_PERTURB_NOISE, ROWS, COLS, COLS, COLS, t->keys, t->ids, 0.1, 1, 0, t->x[1], t->x[2]};

    TRY(k->embedding(t->dev, &a));
    TRY(k->embedding_dw(t->dev, &b));
    TRY(k->norm(t->dev, &c));
    TRY(k->norm_dx(t->dev, &d));
    TRY(k->rope(t->dev, &e));
    TRY(k->axpy(t->dev, &f));
    TRY(k->gather(t->dev, &g));
    TRY(k->perturb(t->dev, &p));
    p.kind = REIN_PERTURB_DROPOUT;
    return k->perturb(t->dev, &p);
}

static rein_status elements(struct things *t) {
    struct rein_activation a = {sizeof(a), REIN_ACT_SILU, ROWS, COLS, COLS, COLS, COLS, t->x[1], t->x[2], t->x[3]};
    struct rein_activation_dx b = {sizeof(b), REIN_ACT_GELU, ROWS, COLS, COLS, COLS, COLS, t->x[1], t->x[2], t->x[3],
                                   t->x[4],   t->x[5]};
    struct rein_cast c = {sizeof(c), 0, REIN_F32, REIN_BF16, ROWS, t->x[1], t->x[2]};
    struct rein_adamw d = {sizeof(d), REIN_F32, ROWS, 1, t->x[0], NULL, t->x[1], t->x[2], t->x[3], 1e-3, 0.9, 0.999, 1e-8, 0, 1};
    struct rein_sum_squares e = {sizeof(e), 0, FLOATS, t->x[1], &t->sum};

    TRY(k->activation(t->dev, &a));
    TRY(k->activation_dx(t->dev, &b));
    TRY(k->cast(t->dev, &c));
    TRY(k->adamw(t->dev, &d));
    return k->sum_squares(t->dev, &e);
}

/* Decoding, with keys that are divided among blocks, and training. */
static rein_status attention(struct things *t) {
    const int64_t ld = HEADS * COLS;
    const struct rein_segment decode = {0, 1, 0, 0, 0, KEYS}, train = {0, ROWS, 0, 0, 0, ROWS};
    const struct rein_segment *one = &decode;
    struct rein_attention a = {};
    struct rein_attention_dx b = {};

    for (int i = 0; i < 2; i++, one = &train) {
        a = {sizeof(a), 1, one, HEADS, HEADS, COLS, 0, ld, ld, ld, ld, t->x[0], t->x[1], t->x[2], t->x[3], t->x[4], 1, 0};
        TRY(k->attention(t->dev, &a));
    }
    b = {sizeof(b), 1,  &train, HEADS,   HEADS,   COLS,    0,       ld,      ld,      ld,      ld,      ld,      ld,
         ld,        t->x[0], t->x[1], t->x[2], t->x[3], t->x[4], t->x[5], t->x[6], t->x[7], t->x[8], 1, 0};
    return k->attention_dx(t->dev, &b);
}

static rein_status head(struct things *t) {
    struct rein_weight w = {sizeof(w), REIN_F32, VOCABULARY, COLS, COLS, t->x[0], 1, NULL};
    struct rein_head a = {sizeof(a), 0, &w, t->x[1], ROWS, COLS, t->x[2], t->ids, 1, 0, t->x[3], t->x[4], t->x[5], NULL};
    struct rein_head_dx b = {sizeof(b), 0,       &w,      t->x[1], ROWS,    COLS,    COLS,    COLS,    t->x[2], t->ids,
                             1,         0,       t->x[4], t->x[5], t->x[6], t->x[7], t->x[8], t->x[9], t->x[10]};
    struct rein_sample c = {};

    c.size = sizeof(c);
    c.w = &w;
    c.n = ROWS;
    c.ldh = COLS;
    c.hidden = t->x[2];
    c.inv_temperature = 1;
    c.top_p = 0.9f;
    c.top_k = 5;
    c.u = t->u;
    c.banned = t->banned;
    c.ids = reinterpret_cast<int32_t *>(t->x[3]);
    c.logp = t->x[4];
    TRY(k->head(t->dev, &a));
    TRY(k->head_dx(t->dev, &b));
    return k->sample(t->dev, &c);
}

/* Small copies that fill the ring several times, a large one, a larger ring, and back. */
static rein_status copies(struct things *t) {
    float back[ROWS];

    for (int i = 0; i < 50; i++)
        TRY(ops->copy(t->dev, t->x[0], t->large.data(), 60 << 10, REIN_COPY_TO_DEVICE));
    TRY(ops->copy(t->dev, t->x[0], t->large.data(), FLOATS * sizeof(float), REIN_COPY_TO_DEVICE));
    TRY(ops->copy(t->dev, t->x[1], t->x[0], sizeof(back), REIN_COPY_ON_DEVICE));
    TRY(staging_room(static_cast<struct device *>(t->dev), 3 << 20));
    TRY(ops->copy(t->dev, t->x[1], t->large.data(), sizeof(back), REIN_COPY_TO_DEVICE));
    TRY(ops->copy(t->dev, back, t->x[0], sizeof(back), REIN_COPY_FROM_DEVICE));
    return ops->sync(t->dev);
}

static rein_status everything(struct things *t) {
    for (int i = 0; i < 12; i++) {
        TRY(ops->alloc(t->dev, FLOATS * sizeof(float), &t->memory[i]));
        t->x[i] = static_cast<float *>(t->memory[i]);
        TRY(ops->fill(t->dev, t->x[i], 0, FLOATS * sizeof(float)));
    }
    TRY(products(t));
    TRY(rows(t));
    TRY(elements(t));
    TRY(attention(t));
    TRY(head(t));
    TRY(copies(t));
    return ops->sync(t->dev);
}

static bool late; /* what failed did so in close(), which has no status */

/* What a run does: opens, works until something fails, closes. */
static rein_status run(const struct config *config) {
    struct things t = {};
    struct rein_probe probe = {};
    struct rein_open how = {sizeof(how), 1, 1, 0};
    rein_status rc;

    probe.size = sizeof(probe);
    t.large.resize(FLOATS);
    for (int i = 0; i < ROWS; i++)
        t.ids[i] = i;
    message[0] = '\0';
    late = false;
    ops->probe(&probe);
    if (probe.score == 0) {
        host_fail(NULL, REIN_ERR_DEVICE, probe.reason);
        return REIN_ERR_DEVICE;
    }
    rc = ops->open(&a_host, config, &how, &t.dev);
    if (rc == REIN_OK) {
        rc = everything(&t);
        for (void *memory : t.memory)
            if (memory)
                ops->free(t.dev, memory);
        late = emu::fail_done();
        ops->close(t.dev);
        late = emu::fail_done() && !late;
    }
    return rc;
}

static bool named() {
    return strstr(message, "cudaError") || strstr(message, "CUBLAS_STATUS_");
}

/* fail(n) for n = 1, 2, ... until that is more than there are; returns how many. */
static long sweep(const struct config *config, const char *what, void (*fail)(long)) {
    bool told = true, whole = true, clean = true, more = true;
    char name[120];
    long n = 0;

    while (more) {
        fail(++n);
        const rein_status rc = run(config);
        more = emu::fail_done();
        fail(0);
        emu::mend_devices();
        const bool right = (rc != REIN_OK) == (more && !late) && (rc == REIN_OK || named());
        const size_t left = emu::alive() + (size_t)live;
        told = told && right;
        whole = whole && left == 0;
        clean = clean && cudaGetLastError() == cudaSuccess;
        if (!right || left)
            printf("# %s %ld: status %d, '%s', %zu things left\n", what, n, (int)rc, message, left);
    }
    snprintf(name, sizeof(name), "%s: each of %ld fails once, with a status and the error's name", what, n - 1);
    ok(told, name);
    snprintf(name, sizeof(name), "%s: everything is given back each time", what);
    ok(whole, name);
    snprintf(name, sizeof(name), "%s: no error is left over for the next call", what);
    ok(clean, name);
    return n - 1;
}

/* Half a device in one block, freed, then in two, and in one again: what was freed is there when it is wanted, though the
 * stream has not got to it, or the pool keeps it in pieces. */
static rein_status halves(void *dev) {
    const size_t half = emu::set().memory / 2;
    void *memory[2];

    for (int pieces : {1, 2, 1, 2}) {
        for (int i = 0; i < pieces; i++)
            TRY(ops->alloc(dev, half / (size_t)pieces, &memory[i]));
        void *other;
        TRY(ops->alloc(dev, half / 2, &other));
        for (int i = 0; i < pieces; i++)
            ops->free(dev, memory[i]);
        ops->free(dev, other);
    }
    return ops->sync(dev);
}

static void check_memory() {
    const struct config config = {NARROW_EXPAND, 1, 0};
    struct rein_open how = {sizeof(how), 1, 1, 0};
    void *dev, *memory;

    message[0] = '\0';
    ok(ops->open(&a_host, &config, &how, &dev) == REIN_OK && halves(dev) == REIN_OK && cudaGetLastError() == cudaSuccess,
       "memory that was freed is found again in other sizes");
    ok(ops->alloc(dev, emu::set().memory, &memory) == REIN_ERR_NOMEM && !memory && strstr(message, "4096.0 MiB: cudaErrorMemoryAllocation"),
       "memory that is not there is an error with its size");
    ops->close(dev);
}

int main() {
    struct config config = {NARROW_EXPAND, 1, 0};

    find_backend();
    ok(run(&config) == REIN_OK && emu::alive() == 0 && live == 0, "without faults");
    const long calls = sweep(&config, "calls", emu::fail_call);
    const long kernels = sweep(&config, "kernels", emu::fail_kernel);
    ok(calls > 150 && kernels > 40, "there are many of both");
    check_memory();
    config.narrow = NARROW_SPLIT;
    sweep(&config, "calls with narrow: split", emu::fail_call);
    printf("1..%d\n", tests);
    return wrong != 0;
}
