/* my-name - a compute backend for rein. SPDX-License-Identifier: MIT
 *
 * As it stands it computes in host memory and provides one kernel, axpy. On host memory an empty slot of the kernel
 * table is filled with rein's reference kernel, so that a backend grows one kernel at a time and works all along.
 * (A backend with memory of its own, as on a GPU, must fill every slot.) The contract, with the shape of every array,
 * is <rein/backend.h>; `rein-conform backend` holds each kernel against the reference.
 */
#include <rein/rein.h> /* all that a plugin may know of rein; nothing of rein is linked */

#include <stddef.h> /* offsetof */
#include <stdio.h>  /* snprintf */
#include <string.h>

/* The options, as the host stores them before open(). They are set in machine.yaml, under backends. */
struct config {
    int64_t block;
};

/* One row an option; see <rein/param.h>. */
static const struct rein_param params[] = {
    {.name = "block",
     .type = REIN_PARAM_INT,
     .offset = offsetof(struct config, block),
     .dflt = "8",
     .min = 1,
     .max = 64,
     .unit = "elements",
     .doc = "How many elements axpy does at a time."},
    {.name = NULL}, /* ends the table */
};

/* One opened device. Several may be open at once, so nothing that changes is static. */
struct device {
    const struct rein_host *host; /* memory, messages; valid until close_device() */
    int64_t block;
    char text[64];
};

/* Can it run here? Called without an instance, also by `rein plugins`: no host call, nothing kept. */
static rein_status probe(struct rein_probe *out) {
    out->score = 10; /* 0: cannot run. `backend: auto` takes the highest: ref has 1, cpu-blas 50, cuda 100 */
    out->devices = 1;
    snprintf(out->reason, sizeof(out->reason), "runs everywhere"); /* why the score is what it is */
    return REIN_OK;
}

/* Opens device `how->device` with `how->threads` threads (0: as many as it likes; this one has one). */
static rein_status open_device(const struct rein_host *host, const void *config, const struct rein_open *how,
                               void **dev) {
    struct device *d;

    if (how->device != 0)
        return host->fail(host->ctx, REIN_ERR_ARG, "there is only device 0"); /* records why, returns the code */
    d = host->alloc(host->ctx, sizeof(*d));
    if (!d)
        return host->fail(host->ctx, REIN_ERR_NOMEM, "out of memory");
    d->host = host;
    d->block = ((const struct config *)config)->block;
    snprintf(d->text, sizeof(d->text), "axpy by %d elements, the rest on the reference", (int)d->block);
    *dev = d; /* what every other function gets */
    return REIN_OK;
}

static void close_device(void *dev) {
    struct device *d = dev;

    d->host->free(d->host->ctx, d);
}

/* Arrays of the device, aligned to 64 bytes, as the host's alloc is. Out of memory is a status, never a crash. */
static rein_status allocate(void *dev, size_t bytes, void **ptr) {
    struct device *d = dev;

    *ptr = d->host->alloc(d->host->ctx, bytes);
    return *ptr ? REIN_OK : REIN_ERR_NOMEM;
}

static void release(void *dev, void *ptr) {
    struct device *d = dev;

    d->host->free(d->host->ctx, ptr);
}

/* Host and device memory are the same here, so that every direction is a plain copy. */
static rein_status copy(void *dev, void *dst, const void *src, size_t bytes, uint32_t direction) {
    (void)dev;
    (void)direction;
    if (bytes > 0)
        memmove(dst, src, bytes);
    return REIN_OK;
}

static rein_status fill(void *dev, void *ptr, uint8_t byte, size_t bytes) {
    (void)dev;
    if (bytes > 0)
        memset(ptr, byte, bytes);
    return REIN_OK;
}

/* Waits for everything submitted. Each call here is done when it returns: nothing to wait for. */
static rein_status sync_device(void *dev) {
    (void)dev;
    return REIN_OK;
}

/* One line about the instance, for logs. */
static const char *describe(void *dev) {
    return ((struct device *)dev)->text;
}

/* y = alpha x + beta y over [n][cols]. Rows lie ldx and ldy elements apart; what is between them belongs to others.
 * x may be NULL: then y = beta y. With beta = 0 y is not read: it may hold NaN. The same call must give the same bits
 * however many threads there are. Any count may be 0. */
static rein_status axpy(void *dev, const struct rein_axpy *a) {
    const struct device *d = dev;

    for (int64_t i = 0; i < a->n; i++) {
        const float *x = a->x ? a->x + i * a->ldx : NULL;
        float *y = a->y + i * a->ldy;

        for (int64_t from = 0; from < a->cols; from += d->block) {
            int64_t to = a->cols - from < d->block ? a->cols : from + d->block;
            for (int64_t j = from; j < to; j++) {
                float old = a->beta != 0 ? a->beta * y[j] : 0;
                y[j] = x ? a->alpha * x[j] + old : old;
            }
        }
    }
    return REIN_OK;
}

/* The kernels that there are. Next ones to write, by the time they take: linear, linear_dx, linear_dw, attention,
 * attention_dx, head, head_dx. A kernel that does not do a dtype or a shape returns REIN_ERR_UNSUPPORTED. */
static const struct rein_kernels kernels = {
    .size = sizeof(kernels),
    .axpy = axpy,
};

/* The functions of this backend. weight_release is missing: no packed copies of weights are kept. */
static const struct rein_backend_ops ops = {
    .size = sizeof(ops),       /* how the host knows which members this file knew of */
    .flags = REIN_MEMORY_HOST, /* the CPU can read what allocate() gives */
    .probe = probe,
    .open = open_device,
    .close = close_device,
    .alloc = allocate,
    .free = release,
    .copy = copy,
    .fill = fill,
    .sync = sync_device,
    .kernels = &kernels,
    .describe = describe,
};

/* What the module is. */
static const struct rein_plugin plugin = {
    .size = sizeof(plugin),
    .abi = REIN_ABI_VERSION, /* the version of the headers; host and module must agree */
    .kind = REIN_KIND_BACKEND,
    .name = "my-name", /* `backend: my-name`; the file is my-name.so */
    .version = "0.1.0",
    .license = "MIT", /* an SPDX identifier */
    .summary = "Host memory, and a kernel of its own.",
    .params = params,
    .param_stride = sizeof(params[0]),
    .config_size = sizeof(struct config),
    .ops = &ops,
};

/* The one symbol that a module exports: its plugins by index, NULL past the last. */
const struct rein_plugin *rein_plugin_entry(uint32_t index) {
    return index == 0 ? &plugin : NULL;
}
