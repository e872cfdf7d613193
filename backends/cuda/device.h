/* SPDX-License-Identifier: MIT
 * An opened GPU, and how kernels get what they need of it.
 */
#ifndef CUDA_DEVICE_H
#define CUDA_DEVICE_H

#include "launch.h"
#include "plugin.h"

#include <cstring>

/* Memory of the device that grows to the largest wanted and stays: a slot for each that may be in use with others. */
enum { WORK_ATTENTION, WORK_LOGITS, WORK_NARROW, WORK_SUMS, WORK_COUNT };
/* Results of kernels for the host, fetched by sync(). */
enum { MOST_RESULTS = 512 };
enum { STAGED_ARRAYS = 4 };

struct cublas;

/* [host] arrays travel through a ring of two halves in pinned memory, with its like on the device: the host fills one
 * half while the copies out of the other are still under way. */
struct staging {
    unsigned char *host, *device;
    size_t half, used; /* bytes of a half; of the current one */
    int current;
    cudaEvent_t copied[2];
    bool pending[2];
};

struct device {
    const struct rein_host *host;
    struct config config;
    int index, multiprocessors;
    cudaStream_t stream;
    struct cublas *cublas;
    void *cublas_workspace;
    struct staging staging;
    struct {
        void *memory;
        size_t bytes;
    } work[WORK_COUNT];
    struct {
        int32_t *memory;
        size_t count;
    } counters;                       /* of the host, for sorting */
    double *results, *device_results; /* pinned and on the device: [MOST_RESULTS] */
    double *wanted[MOST_RESULTS];     /* where they go */
    int nresults;
    char text[200];
};

/* Makes the device current for the calling thread. */
struct device *device_enter(void *dev);
/* REIN_OK, or the error's name and text told to the host: "cuda: <what>: <name>: <text>". */
rein_status device_check(struct device *d, cudaError_t e, const char *what);
rein_status device_nomem(struct device *d);
/* Memory in the order of the stream; *out is NULL when there is none (told, as "cuda: <what>: ..."). */
rein_status device_memory(struct device *d, size_t bytes, const char *what, void **out);
/* Workspace of a slot, or NULL (told). What it held before is lost. */
void *device_work(struct device *d, int slot, int64_t count, size_t size);
/* The same as REIN_ERR_NOMEM: `if (device_array(d, WORK_ATTENTION, n, &p)) return …` */
template <class T> rein_status device_array(struct device *d, int slot, int64_t count, T **out) {
    *out = static_cast<T *>(device_work(d, slot, count, sizeof(T)));
    return *out ? REIN_OK : REIN_ERR_NOMEM;
}
/* A host array of n zeros that the next call may overwrite, or NULL (told). */
int32_t *device_counters(struct device *d, int64_t n);

/* The ring has room for `bytes` in at most STAGED_ARRAYS pieces. Called once for all the arrays of a kernel, before
 * their staging_take: what was taken before may be overwritten. */
rein_status staging_room(struct device *d, size_t bytes);
/* A piece of the ring for the host to write. */
void *staging_take(struct device *d, size_t bytes);
/* Sends a piece; kernels read it at *device_at. */
rein_status staging_send(struct device *d, const void *host, size_t bytes, const void **device_at);
rein_status staging_open(struct device *d);
void staging_close(struct device *d);
/* A copy of a [host] array on the device, within the room made. */
template <class T> rein_status device_stage(struct device *d, const T *array, int64_t n, const T **out) {
    const size_t bytes = (size_t)n * sizeof(T);
    void *host = staging_take(d, bytes);
    const void *at;
    rein_status rc;

    if (n > 0)
        memcpy(host, array, bytes);
    rc = staging_send(d, host, bytes, &at);
    *out = static_cast<const T *>(at);
    return rc;
}

/* A number on the device that goes to the host's *out: the slot to write, then its copy. */
rein_status result_slot(struct device *d, double *out, double **device_at);
rein_status result_fetch(struct device *d);

/* The number of blocks that cover n things, `each` to a block. */
static inline unsigned blocks_of(int64_t n, int64_t each) {
    return (unsigned)((n + each - 1) / each);
}

static inline int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static inline int64_t most(int64_t a, int64_t b) {
    return a > b ? a : b;
}

/* Blocks of `each` columns along x, of one row along y. Kernels go on in steps of the grid, which is not as large as
 * any matrix. */
static inline dim3 plane(int64_t rows, int64_t cols, int64_t each) {
    return dim3((unsigned)least(most(blocks_of(cols, each), 1), MOST_COLUMN_BLOCKS),
                (unsigned)least(most(rows, 1), MOST_GRID_YZ));
}

static inline bool dtype_known(uint32_t dtype) {
    return dtype == REIN_F32 || dtype == REIN_F16 || dtype == REIN_BF16;
}

static inline size_t dtype_size(uint32_t dtype) {
    return dtype == REIN_F32 ? 4 : 2;
}

/* Starts a kernel on the device's stream; a rein_status. */
#define RUN(d, kernel, grid, block, shared_bytes, ...)                                                                 \
    device_check(d, LAUNCH(kernel, grid, block, shared_bytes, (d)->stream, __VA_ARGS__), #kernel)

#endif
