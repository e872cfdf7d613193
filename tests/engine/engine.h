/* tests/engine/engine.h - what the engine's tests share.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_TESTS_ENGINE_H
#define REIN_TESTS_ENGINE_H

#include "base/file.h"
#include "model/generate.h"
#include "model/model.h"
#include "model/pass.h"

#include <check.h>
#include <jansson.h>

/* Fails the test with the error's text. */
#define must(call, err) ck_assert_msg((call) == 0, "%s: %s", #call, (err)->text)

/* The reference backend, or the one that REIN_TEST_BACKEND names; one for the whole program. */
struct backend *engine_backend(void);
/* How far apart two ways to the same number may be: 0 for ref, whose rows never depend on one another. */
float engine_slack(void);
#define same(a, b) ck_assert_float_le(fabsf((a) - (b)), engine_slack())
/* $REIN_TEST_DATA/<name>, or NULL after a line that says so. free() it. */
char *engine_data(const char *name);

/* A safetensors file read by the test's own few lines, I64 included. */
struct arrays {
    struct file_map map;
    json_t *header;
    const unsigned char *data;
};
void arrays_open(struct arrays *a, const char *path);
void arrays_close(struct arrays *a);
/* NULL when there is no such tensor. */
const float *arrays_f32(const struct arrays *a, const char *name, size_t *count);
int64_t *arrays_i64(const struct arrays *a, const char *name, size_t *count); /* free() it */

/* A folder with config.json (`config`, JSON text) and, unless `random`, model.safetensors whose values are a formula
 * of name and index (engine_weight), without lm_head or score as the config says. Returns its path (free()). */
char *engine_model(const char *config, bool weights);
/* The same with weights by the formula of prefix and name; NULL: without weights. */
char *engine_model_apart(const char *config, const char *prefix);
void engine_remove(char *folder);
/* Writes <folder>/<name>. */
void engine_write(const char *folder, const char *name, const char *text);
/* A tokenizer.json with one character, from '!' on, for each of so many ids. */
void engine_tokenizer(const char *folder, int tokens);
/* Element i of tensor `name`: a multiple of 2^-12 within +-0.25 (1 more for norms' weights); also in generate_engine.py. */
float engine_weight(const char *name, uint64_t i);
/* +-1, by the same hash: a direction to project gradients on. */
double engine_direction(const char *name, uint64_t i);

struct model *engine_open(const char *path, enum model_head head, bool trainable);
/* Every gradient of m is zeros. */
void engine_zero_grad(struct model *m);
struct model_param *engine_param(struct model *m, const char *name);
/* What a device holds, on the host (free()), and back. */
float *engine_download(struct model *m, const void *device, size_t count);
void engine_upload(struct model *m, void *device, const float *x, size_t count);
/* Gradient of p on the host; free() it. */
float *engine_gradient(struct model *m, const struct model_param *p);

/* The gradient of the file's tensor that begins with parameter *index, in the file's layout (free()); *index moves on. */
float *engine_tensor_gradient(struct model *m, size_t *index, const char **name, size_t *count);

/* Sum over rows of d_logp * logp, by log p of each token given those before it; logp has a value per token, the first of
 * each row 0. d_logp (also per token) NULL: forward only. */
double engine_logprobs(struct pass *p, const struct packed *batch, const float *d_logp, float *logp);
/* The same of what the pass holds already. */
double engine_read_logprobs(struct pass *p, const struct packed *batch, const float *d_logp, float *logp);
/* Fails the test where a and b differ by more than rounding. The gradient of a key's bias is nothing else: softmax does not
 * see it. */
void engine_near(const float *a, const float *b, size_t n, const char *what, const char *name);

#endif
