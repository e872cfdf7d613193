/* SPDX-License-Identifier: MIT
 * Modules that the loader must refuse or survive; MODULE says which one this object becomes. */
#include <rein/rein.h>

#define GOOD      0
#define WRONG_ABI 1
#define SHORT     2
#define NO_SYMBOL 3
#define BAD_OPS   4
#define BAD_PARAM 5
#define FP_MODE   6
#define SEVERAL   7
#define LACKS     8
#define BAD_NAME  9

#if MODULE == NO_SYMBOL
REIN_EXPORT int rein_not_a_plugin(void);
int rein_not_a_plugin(void) {
    return 0;
}
#else

static rein_status create(const struct rein_host *host, const void *config, void **self) {
    (void)host;
    (void)config;
    *self = 0;
    return REIN_OK;
}
static void destroy(void *self) {
    (void)self;
}
static rein_status describe(void *self, struct rein_needs *needs) {
    (void)self;
    needs->data = REIN_DATA_COMPLETIONS;
    needs->needs = REIN_NEED_LOGP;
    return REIN_OK;
}
static rein_status loss(void *self, const struct rein_batch *b, struct rein_loss *out) {
    (void)self;
    (void)b;
    out->loss = 0;
    return REIN_OK;
}
static const struct rein_algorithm_ops ops = {
    .size = MODULE == BAD_OPS ? 24 : sizeof(ops),
    .create = create,
    .destroy = destroy,
    .describe = MODULE == LACKS ? 0 : describe,
    .loss = loss,
};

struct config {
    double beta;
};
/* rows of a newer version, longer than the host's */
struct row {
    struct rein_param p;
    const char *more[3];
};
static const struct row rows[] = {
    {.p = {.name = "beta", .type = REIN_PARAM_REAL, .dflt = MODULE == BAD_PARAM ? "7" : "0.1", .max = 1, .doc = "A weight."}},
    {.p = {.name = 0}},
};

#define PLUGIN(n)                                                                                                      \
    {                                                                                                                  \
        .size = MODULE == SHORT ? 16 : sizeof(struct rein_plugin),                                                     \
        .abi = MODULE == WRONG_ABI ? REIN_ABI_VERSION + 1 : REIN_ABI_VERSION, .kind = REIN_KIND_ALGORITHM, .name = n,  \
        .version = "1", .license = "MIT", .summary = "For tests.", .params = &rows[0].p, .param_stride = sizeof(rows[0]), \
        .config_size = sizeof(struct config), .ops = &ops                                                              \
    }
static const struct rein_plugin plugins[] = {
    PLUGIN(MODULE == BAD_NAME ? "../x" : MODULE == FP_MODE ? "fp-mode" : "good"),
#if MODULE == SEVERAL
    PLUGIN("second"),
#endif
};

#if MODULE == FP_MODE && defined(__SSE2__)
#include <xmmintrin.h>
/* what an object linked with -ffast-math does as it is loaded: flush denormals to zero */
__attribute__((constructor)) static void fast_math(void) {
    _mm_setcsr(_mm_getcsr() | 0x8040);
}
#endif

const struct rein_plugin *rein_plugin_entry(uint32_t index) {
    return index < sizeof(plugins) / sizeof(*plugins) ? &plugins[index] : 0;
}
#endif
