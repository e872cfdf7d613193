/* One reward model, its numbers disturbed: K scores of each completion. SPDX-License-Identifier: MIT
 *
 * Member k is the score with Gaussian noise of deviation rate * rms(target) on the target:
 *   head        the weights of the score head: w + rate rms(w) z, so that the members' deviation is
 *               rate rms(w) |hidden state|
 *   embedding   the embedded tokens: x + rate rms(x) z, each token by itself
 */
#include "common/module.h"
#include "common/scored.h"

static const char *const targets[] = {"head", "embedding", NULL};

struct config {
    struct draw_options draws;
    int64_t target;
};

static const struct rein_param params[] = {
    DRAW_ROWS("0.1", 10, "Deviation of the noise, relative to the root mean square of what it disturbs."),
    {.name = "target",
     .type = REIN_PARAM_CHOICE,
     .offset = offsetof(struct config, target),
     .dflt = "head",
     .choices = targets,
     .doc =
         "head disturbs the score head's weights, in one pass through the model; embedding the embedded tokens, in a "
         "pass for each sample."},
    {.name = NULL},
};

static rein_status perturb_create(const struct rein_host *host, const void *config, void **self) {
    static const uint32_t site[] = {REIN_SITE_HEAD, REIN_SITE_EMBEDDING};
    const struct config *c = config;

    return draws_create(host, &c->draws, REIN_PERTURB_NOISE, site[c->target], self);
}

static const struct rein_reward_ops ops = {.size = sizeof(ops),
                                           .create = perturb_create,
                                           .destroy = draws_destroy,
                                           .members = draws_members,
                                           .score = draws_score};

MODULE(REIN_KIND_REWARD, "rm-perturb", "One reward model under Gaussian noise: K scores of each completion.");
