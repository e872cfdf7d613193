/* SPDX-License-Identifier: MIT */
#include "model/param.h"

#include "base/mem.h"
#include "base/rng.h"
#include "model/dtype.h"

#include <stdlib.h>
#include <string.h>

enum { CHUNK = 1 << 20 }; /* elements converted at a time on the way to a device */

struct model_param *param_create(const char *name, int64_t rows, int64_t cols, bool decay, struct error *err) {
    struct model_param *p = mem_zeros(1, sizeof(*p));

    if (!p || (p->name = mem_strdup(name)) == NULL || (p->place.tensor = mem_strdup(name)) == NULL) {
        if (p)
            free(p->name);
        free(p);
        error_nomem(err, name);
        return NULL;
    }
    p->place.rows = decay ? rows : cols;
    p->w.size = sizeof(p->w);
    p->w.dtype = REIN_F32;
    p->w.rows = rows;
    p->w.cols = p->w.ld = cols;
    p->decay = decay;
    p->layer = -1;
    p->file_dtype = REIN_F32;
    return p;
}

void param_free(struct backend *b, struct model_param *p) {
    if (!p)
        return;
    if (p->w.backend_cache && b->ops->weight_release)
        b->ops->weight_release(b->dev, &p->w);
    if (!p->mapped)
        backend_free(b, p->w.data);
    if (!p->lodges)
        backend_free(b, p->grad);
    backend_free(b, p->master);
    free(p->place.tensor);
    free(p->name);
    free(p);
}

uint32_t param_dtype(const struct model_param *p, uint32_t in_file, bool trainable, uint32_t dtype) {
    if (!p->decay)
        return REIN_F32;
    return dtype ? dtype : trainable ? REIN_F32 : in_file;
}

int param_allocate(struct backend *b, struct model_param *p, bool trainable, struct error *err) {
    size_t count, bytes;

    if (!size_mul((size_t)p->w.rows, (size_t)p->w.cols, &count) || !size_mul(count, 4, &bytes))
        return error_nomem(err, p->name);
    p->w.data = backend_alloc(b, count, dtype_width(p->w.dtype), err);
    if (!p->w.data)
        return error_prefix(err, "%s", p->name);
    if (!trainable || p->frozen)
        return 0;
    if (p->w.dtype != REIN_F32 && (p->master = backend_alloc(b, count, sizeof(float), err)) == NULL)
        return error_prefix(err, "float32 weights of %s", p->name);
    if (p->lodges)
        return 0;
    p->stale = true;
    p->grad = backend_alloc(b, count, sizeof(float), err);
    return p->grad ? 0 : error_prefix(err, "gradient of %s", p->name);
}

int param_fresh_grad(struct backend *b, struct model_param *p, struct error *err) {
    if (!p || !p->grad || !p->stale)
        return 0;
    p->stale = false;
    return backend_zero(b, p->grad, (size_t)param_count(p) * sizeof(float), err);
}

int param_round(struct backend *b, struct model_param *p, struct error *err) {
    const struct rein_cast a = {.size = sizeof(a),
                                .from = REIN_F32,
                                .to = p->w.dtype,
                                .n = (int64_t)param_count(p),
                                .x = p->master,
                                .y = p->w.data};

    return p->master ? backend_check(b, b->k.cast(b->dev, &a), "cast", err) : 0;
}

/* ---- from files -------------------------------------------------------------------------------------------------- */

/* Where what a file says goes: the masters, if there are any. */
struct target {
    void *data; /* device */
    uint32_t dtype;
};

static struct target target_of(const struct model_param *p) {
    return p->master ? (struct target){p->master, REIN_F32} : (struct target){p->w.data, p->w.dtype};
}

/* The file has [cols][place.rows], of which rows `first` .. are p's: turned into [rows][cols]. */
static int read_transposed(const struct model_param *p, const struct tensors *file, uint32_t dtype, void *out,
                           struct error *err) {
    const struct tensor_info *info = tensors_find(file, param_file_name(p));
    const size_t size = dtype_width(dtype), rows = (size_t)p->w.rows, cols = (size_t)p->w.cols;
    unsigned char *line = mem_array(rows, size);
    int rc = line ? 0 : error_nomem(err, p->name);

    for (size_t c = 0; rc == 0 && c < cols; c++) {
        rc = tensors_read(file, info, param_file_index(p, c), rows, dtype, line, err);
        for (size_t r = 0; rc == 0 && r < rows; r++)
            memcpy((unsigned char *)out + (r * cols + c) * size, line + r * size, size);
    }
    free(line);
    return rc;
}

/* Device memory: by way of the host, in pieces. */
static int read_pieces(struct backend *b, const struct model_param *p, const struct tensors *file, struct error *err) {
    const struct tensor_info *info = tensors_find(file, param_file_name(p));
    const uint64_t count = param_count(p), piece = p->place.transposed ? count : CHUNK;
    const struct target to = target_of(p);
    const size_t size = dtype_width(to.dtype);
    void *staging = mem_array(piece < count ? piece : count, size);
    int rc = staging ? 0 : error_nomem(err, p->name);

    for (uint64_t at = 0; rc == 0 && at < count; at += piece) {
        uint64_t n = count - at < piece ? count - at : piece;

        if (p->place.transposed)
            rc = read_transposed(p, file, to.dtype, staging, err);
        else
            rc = tensors_read(file, info, param_file_index(p, at), n, to.dtype, staging, err);
        if (rc == 0)
            rc = backend_upload(b, (char *)to.data + at * size, staging, n * size, err) || backend_sync(b, err);
    }
    free(staging);
    return rc ? -1 : 0;
}

/* Where p lies in the mapping just as `dtype`, or NULL. */
static const void *in_place(const struct model_param *p, const struct tensors *file, uint32_t dtype) {
    const struct tensor_info *info = tensors_find(file, param_file_name(p));
    const unsigned char *data = info && info->dtype == dtype && !p->place.transposed ? tensors_data(file, info) : NULL;

    return data ? data + param_file_index(p, 0) * dtype_width(dtype) : NULL;
}

/* By the backend's threads, which share the clearing of pages that are written to for the first time too. */
static int read_by_backend(struct backend *b, const struct target *to, const void *data, uint32_t dtype, uint64_t count,
                           struct error *err) {
    const struct rein_cast a = {
        .size = sizeof(a), .from = dtype, .to = to->dtype, .n = (int64_t)count, .x = data, .y = to->data};
    const int rc = dtype == to->dtype ? backend_upload(b, to->data, data, count * dtype_width(dtype), err)
                                      : backend_check(b, b->k.cast(b->dev, &a), "cast", err);

    return rc || backend_sync(b, err) ? -1 : 0;
}

static int read_target(struct backend *b, const struct model_param *p, const struct tensors *file, struct error *err) {
    const struct target to = target_of(p);
    const void *data = b->host_memory ? in_place(p, file, p->file_dtype) : NULL;

    if (data) /* backends round to nearest even as the host does */
        return read_by_backend(b, &to, data, p->file_dtype, param_count(p), err);
    if (!b->host_memory)
        return read_pieces(b, p, file, err);
    if (p->place.transposed)
        return read_transposed(p, file, to.dtype, to.data, err);
    return tensors_read(file, tensors_find(file, param_file_name(p)), param_file_index(p, 0), param_count(p), to.dtype,
                        to.data, err);
}

int param_read(struct backend *b, struct model_param *p, const struct tensors *file, struct error *err) {
    if (read_target(b, p, file, err))
        return -1;
    tensors_forget(file, tensors_find(file, param_file_name(p)));
    return param_round(b, p, err);
}

int param_fill(struct backend *b, struct model_param *p, bool trainable, const struct tensors *file,
               struct error *err) {
    const void *data = b->host_memory && (!trainable || p->frozen) ? in_place(p, file, p->w.dtype) : NULL;

    if (data) {
        p->w.data = (void *)(uintptr_t)data; /* never written to: nothing trains here */
        p->mapped = true;
        return 0;
    }
    return param_allocate(b, p, trainable, err) || param_read(b, p, file, err) ? -1 : 0;
}

/* ---- from elsewhere ---------------------------------------------------------------------------------------------- */

static int put_floats(struct backend *b, struct model_param *p, float *x, struct error *err) {
    const struct target to = target_of(p);
    const size_t count = (size_t)param_count(p);
    void *narrow = NULL;
    int rc;

    if (to.dtype != REIN_F32) {
        narrow = mem_array(count, dtype_width(to.dtype));
        if (!narrow)
            return error_nomem(err, p->name);
        dtype_convert(x, REIN_F32, narrow, to.dtype, count);
    }
    rc = backend_upload(b, to.data, narrow ? narrow : x, count * dtype_width(to.dtype), err) ||
                 param_round(b, p, err) || backend_sync(b, err)
             ? -1
             : 0;
    free(narrow);
    return rc;
}

int param_random(struct backend *b, struct model_param *p, uint64_t seed, uint32_t number, double deviation,
                 struct error *err) {
    size_t count = (size_t)param_count(p);
    float *x = mem_zeros(count, sizeof(float));
    int rc;

    if (!x)
        return error_nomem(err, p->name);
    if (deviation > 0)
        rng_normal(seed, RNG_INIT, number, deviation, x, count);
    rc = put_floats(b, p, x, err);
    free(x);
    return rc;
}

int param_constant(struct backend *b, struct model_param *p, float value, struct error *err) {
    float *x = mem_array((size_t)param_count(p), sizeof(float));
    int rc;

    if (!x)
        return error_nomem(err, p->name);
    for (uint64_t i = 0; i < param_count(p); i++)
        x[i] = value;
    rc = put_floats(b, p, x, err);
    free(x);
    return rc;
}

int param_copy(struct backend *b, struct model_param *to, const struct model_param *from, bool trainable,
               struct error *err) {
    const size_t count = (size_t)param_count(from);

    to->w.dtype = from->w.dtype;
    to->file_dtype = from->file_dtype;
    if (param_allocate(b, to, trainable, err) ||
        backend_copy(b, to->w.data, from->w.data, count * dtype_width(from->w.dtype), err))
        return -1;
    if (!to->master)
        return 0;
    if (from->master)
        return backend_copy(b, to->master, from->master, count * sizeof(float), err);
    return error_run(err, "%s: cannot train on from weights without their float32 originals", from->name);
}

void *param_values(struct backend *b, const struct model_param *p, struct error *err) {
    const size_t count = (size_t)param_count(p), size = dtype_width(p->w.dtype);
    void *x = mem_array(count, size);

    if (!x) {
        error_nomem(err, p->name);
        return NULL;
    }
    if (backend_download(b, x, p->w.data, count * size, err)) {
        free(x);
        return NULL;
    }
    return x;
}
