/* SPDX-License-Identifier: MIT */
#include "common/beta.h"
#include "common/numeric.h"

#include <string.h>

void beta_init(struct beta *b, double value) {
    *b = (struct beta){.now = value, .next = value};
}

void beta_begin(struct beta *b, uint32_t rollout) {
    if (b->started && rollout == b->rollout)
        return;
    b->now = b->next;
    b->rollout = rollout;
    b->started = 1;
}

void beta_adapt(struct beta *b, double kl, double target, double horizon, uint32_t rows) {
    if (target > 0)
        b->next = b->now * (1 + clampd(kl / target - 1, -0.2, 0.2) * rows / horizon);
}

rein_status beta_save(const struct beta *b, const struct rein_host *host, struct rein_state *state) {
    if (state->capacity < sizeof(*b))
        return host->fail(host->ctx, REIN_ERR_ARG, "no room for the algorithm's state");
    memcpy(state->data, b, sizeof(*b));
    state->length = sizeof(*b);
    state->version = 1;
    return REIN_OK;
}

rein_status beta_load(struct beta *b, const struct rein_host *host, const struct rein_state *state, int adaptive) {
    struct beta read;

    if (state->version != 1 || state->length != sizeof(read))
        return host->fail(host->ctx, REIN_ERR_ARG, "the checkpoint's state is of another version of this algorithm");
    memcpy(&read, state->data, sizeof(read));
    if (!isfinite(read.now + read.next + read.rows_per_token) || read.now < 0 || read.next < 0 ||
        read.rows_per_token < 0)
        return host->fail(host->ctx, REIN_ERR_ARG, "the checkpoint's state of this algorithm is damaged");
    if (!adaptive) {
        read.now = b->now;
        read.next = b->next;
    }
    *b = read;
    return REIN_OK;
}
