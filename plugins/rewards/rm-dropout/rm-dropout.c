/* One reward model, its dropout left on: K scores of each completion. SPDX-License-Identifier: MIT
 *
 * Member k is the score under the k-th draw of masks; their spread says how sure the model is
 * (Gal and Ghahramani, "Dropout as a Bayesian approximation", ICML 2016). What is kept is divided
 * by 1 - rate, so that with `sites: head` the members' mean tends to the score without dropout.
 */
#include "common/module.h"
#include "common/scored.h"

static const char *const sites[] = {"head", "all", NULL};

struct config {
    struct draw_options draws;
    int64_t sites;
};

static const struct rein_param params[] = {
    DRAW_ROWS("0.1", 0.99,
              "Share that is dropped; that of the model's own training (model: {dropout: ...}) fits best."),
    {.name = "sites",
     .type = REIN_PARAM_CHOICE,
     .offset = offsetof(struct config, sites),
     .dflt = "head",
     .choices = sites,
     .doc = "head drops from what the score head reads, in one pass through the model; all drops where its training "
            "does, in a pass for each sample."},
    {.name = NULL},
};

static rein_status dropout_create(const struct rein_host *host, const void *config, void **self) {
    static const uint32_t site[] = {REIN_SITE_HEAD, REIN_SITE_ALL};
    const struct config *c = config;

    return draws_create(host, &c->draws, REIN_PERTURB_DROPOUT, site[c->sites], self);
}

static const struct rein_reward_ops ops = {.size = sizeof(ops),
                                           .create = dropout_create,
                                           .destroy = draws_destroy,
                                           .members = draws_members,
                                           .score = draws_score};

MODULE(REIN_KIND_REWARD, "rm-dropout", "One reward model under dropout: K scores of each completion.");
