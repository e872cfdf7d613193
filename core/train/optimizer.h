/* core/train/optimizer.h - AdamW over the parameters of one model (or of views that share a trunk).
 * SPDX-License-Identifier: MIT
 *
 * PyTorch's form: decoupled weight decay, bias correction, eps outside the root. The gradient is clipped by the
 * norm over all parameters of this optimizer, as torch.nn.utils.clip_grad_norm_ does.
 */
#ifndef REIN_CORE_OPTIMIZER_H
#define REIN_CORE_OPTIMIZER_H

#include "model/model.h"

#include <stdbool.h>

struct optimizer_options {
    double beta1, beta2, eps, weight_decay;
    bool weight_decay_all;       /* biases and norm weights too */
    double max_grad_norm;        /* 0: no clipping */
};

/* One parameter and its state. */
struct optimizer_slot {
    struct model_param *param;
    float *m, *v;                /* device [rows * cols] */
    bool moments_set;            /* they hold numbers: until the first update they are memory that nothing has touched */
    int64_t steps;               /* updates done: the step of the bias correction */
    double lr;                   /* before the schedule */
    uint32_t owner;              /* which model brought it; the caller's own numbering */
};

struct optimizer {
    struct backend *backend;
    struct optimizer_options options;
    struct optimizer_slot *slots;
    size_t count, capacity;
};

enum { OPTIMIZER_ALL = -1 };

int optimizer_create(struct backend *b, const struct optimizer_options *options, struct optimizer **out,
                     struct error *err);
void optimizer_free(struct optimizer *o);
/* Nothing happens when `p` is frozen or there already (a shared trunk's parameters appear in every view). */
int optimizer_add(struct optimizer *o, struct model_param *p, double lr, uint32_t owner, struct error *err);

/* Zeroes the moments that no update has set yet: before they are read from outside. */
int optimizer_set_moments(struct optimizer *o, struct error *err);

/* What is added to the gradients next begins at zero. They are not written here: what lies there may be in use still.
 */
void optimizer_zero_grad(struct optimizer *o);
/* Norm of the gradient before clipping; not finite when a derivative is not. */
int optimizer_norm(const struct optimizer *o, int owner, double *norm, struct error *err);
/* One update; lr is each parameter's own times `factor`. `owner`: only the parameters of that number,
 * or OPTIMIZER_ALL. `norm` is optimizer_norm's. */
int optimizer_step(struct optimizer *o, int owner, double factor, double norm, struct error *err);

/* 0 when every weight is a finite number, else -1 with an error that names the parameter. */
int optimizer_check_finite(const struct optimizer *o, struct error *err);
uint64_t optimizer_elements(const struct optimizer *o);

#endif
