/* What the algorithms promise beyond their formulas: defaults, needs, refusals, stopping, state.
 * SPDX-License-Identifier: MIT */
#include "algorithms/module.h"
#include "tap.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

/* 3 completions of 2, 0 and 1 tokens */
static const uint32_t offset[] = {0, 2, 2, 3}, unit[] = {0, 1, 2, 3};
static const float old[] = {-1, -2, -0.5f}, ref[] = {-1.5f, -1.5f, -0.75f}, value[] = {0.25f, 0.5f, -1};
static const float reward[] = {1, -1, 0.5f};
static const uint8_t ended[] = {1, 0, 1};

static struct rein_experience experience(uint32_t rollout, float *advantage, float *return_, struct metric_box *box) {
    return (struct rein_experience){.size = sizeof(struct rein_experience),
                                    .rollout = rollout,
                                    .rows = 3,
                                    .units = 3,
                                    .tokens = 3,
                                    .offset = offset,
                                    .unit = unit,
                                    .logp_old = old,
                                    .logp_ref = ref,
                                    .value_old = value,
                                    .reward = reward,
                                    .ended = ended,
                                    .max_tokens = 2,
                                    .advantage = advantage,
                                    .return_ = return_,
                                    .metrics = metrics_reset(box)};
}

START_TEST(describe_gives_the_defaults_of_trl) {
    static const struct {
        const char *name, *option, *setting;
        struct rein_needs needs;
    } cases[] = {
        {"sft", NULL, NULL, {.data = REIN_DATA_COMPLETIONS, .needs = REIN_NEED_LOGP, .lr = 2e-5}},
        {"sft",
         "target",
         "text",
         {.data = REIN_DATA_COMPLETIONS, .needs = REIN_NEED_LOGP | REIN_NEED_WHOLE_TEXT, .lr = 2e-5}},
        {"rm", NULL, NULL, {.data = REIN_DATA_PAIRS, .needs = REIN_NEED_SCORE, .lr = 1e-4}},
        {"rm", "loss", "k-wise", {.data = REIN_DATA_PAIRS | REIN_DATA_LISTS, .needs = REIN_NEED_SCORE, .lr = 1e-4}},
        {"ppo",
         NULL,
         NULL,
         {.data = REIN_DATA_PROMPTS,
          .lr = 3e-6,
          .temperature = 0.7,
          .max_tokens = 53,
          .epochs = 4,
          .needs = REIN_NEED_LOGP | REIN_NEED_OLD_LOGP | REIN_NEED_CRITIC | REIN_NEED_REWARD | REIN_NEED_REFERENCE}},
        {"ppo",
         "entropy",
         "0.01",
         {.data = REIN_DATA_PROMPTS,
          .lr = 3e-6,
          .temperature = 0.7,
          .max_tokens = 53,
          .epochs = 4,
          .needs = REIN_NEED_LOGP | REIN_NEED_OLD_LOGP | REIN_NEED_CRITIC | REIN_NEED_REWARD | REIN_NEED_REFERENCE |
                   REIN_NEED_ENTROPY}},
        {"ppo",
         "beta",
         "0",
         {.data = REIN_DATA_PROMPTS,
          .lr = 3e-6,
          .temperature = 0.7,
          .max_tokens = 53,
          .epochs = 4,
          .needs = REIN_NEED_LOGP | REIN_NEED_OLD_LOGP | REIN_NEED_CRITIC | REIN_NEED_REWARD}},
        {"grpo",
         NULL,
         NULL,
         {.data = REIN_DATA_PROMPTS,
          .lr = 1e-6,
          .temperature = 1,
          .max_tokens = 512,
          .epochs = 1,
          .needs = REIN_NEED_LOGP | REIN_NEED_OLD_LOGP | REIN_NEED_CRITIC | REIN_NEED_REWARD | REIN_NEED_FAMILY |
                   REIN_NEED_REFERENCE}},
        {"grpo",
         "baseline",
         "group",
         {.data = REIN_DATA_PROMPTS,
          .lr = 1e-6,
          .temperature = 1,
          .max_tokens = 512,
          .epochs = 1,
          .needs = REIN_NEED_LOGP | REIN_NEED_OLD_LOGP | REIN_NEED_GROUPS | REIN_NEED_REWARD | REIN_NEED_FAMILY}},
        {"dpo", NULL, NULL, {.data = REIN_DATA_PAIRS, .needs = REIN_NEED_LOGP | REIN_NEED_REFERENCE, .lr = 1e-6}},
        {"dpo", "loss", "orpo", {.data = REIN_DATA_PAIRS, .needs = REIN_NEED_LOGP, .lr = 1e-6, .sums = 1}},
        {"dpo", "loss", "simpo", {.data = REIN_DATA_PAIRS, .needs = REIN_NEED_LOGP, .lr = 1e-6, .sums = 1}},
        {"dpo",
         "loss",
         "kto",
         {.data = REIN_DATA_LABELLED,
          .needs = REIN_NEED_LOGP | REIN_NEED_REFERENCE | REIN_NEED_KL_ROWS,
          .lr = 1e-6,
          .sums = 4}},
        {"rloo",
         NULL,
         NULL,
         {.data = REIN_DATA_PROMPTS,
          .lr = 1e-6,
          .temperature = 1,
          .max_tokens = 512,
          .epochs = 1,
          .needs = REIN_NEED_LOGP | REIN_NEED_OLD_LOGP | REIN_NEED_GROUPS | REIN_NEED_REWARD | REIN_NEED_REFERENCE}},
        /* OpenRLHF's */
        {"reinforce",
         NULL,
         NULL,
         {.data = REIN_DATA_PROMPTS,
          .lr = 1e-6,
          .temperature = 1,
          .max_tokens = 1024,
          .epochs = 1,
          .needs = REIN_NEED_LOGP | REIN_NEED_OLD_LOGP | REIN_NEED_REWARD | REIN_NEED_REFERENCE}},
        {"reinforce",
         "baseline",
         "group",
         {.data = REIN_DATA_PROMPTS,
          .lr = 1e-6,
          .temperature = 1,
          .max_tokens = 1024,
          .epochs = 1,
          .needs = REIN_NEED_LOGP | REIN_NEED_OLD_LOGP | REIN_NEED_GROUPS | REIN_NEED_REWARD | REIN_NEED_REFERENCE}},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        const char *options[] = {cases[i].option, cases[i].setting, NULL};
        struct instance in;
        ck_assert_int_eq(instance_open(&in, "algorithm", cases[i].name, options), REIN_OK);
        ck_assert_uint_eq(in.needs.data, cases[i].needs.data);
        ck_assert_uint_eq(in.needs.needs, cases[i].needs.needs);
        ck_assert_double_eq(in.needs.lr, cases[i].needs.lr);
        ck_assert_double_eq(in.needs.temperature, cases[i].needs.temperature);
        ck_assert_uint_eq(in.needs.max_tokens, cases[i].needs.max_tokens);
        ck_assert_uint_eq(in.needs.epochs, cases[i].needs.epochs);
        ck_assert_uint_eq(in.needs.sums, cases[i].needs.sums);
        instance_close(&in);
    }
}
END_TEST

START_TEST(ppo_before_the_first_update_sees_no_change) {
    struct instance in;
    struct metric_box box;
    float advantage[3] = {0}, return_[3] = {0}, d_logp[3] = {0}, d_value[3] = {0};

    ck_assert_int_eq(instance_open(&in, "algorithm", "ppo", NULL), REIN_OK);
    struct rein_experience e = experience(0, advantage, return_, &box);
    ck_assert_int_eq(in.ops->prepare(in.self, &e), REIN_OK);
    ck_assert_double_eq(metrics_value(&box.list, "val/num_eos_tokens"), 2);
    struct rein_batch b = {.size = sizeof(b),
                           .rows = 3,
                           .units = 3,
                           .tokens = 3,
                           .offset = offset,
                           .unit = unit,
                           .logp = old,
                           .logp_old = old,
                           .logp_ref = ref,
                           .value = value,
                           .value_old = value,
                           .advantage = advantage,
                           .return_ = return_,
                           .reward = reward,
                           .ended = ended,
                           .norm_tokens = 3,
                           .norm_rows = 3,
                           .norm_units = 3,
                           .max_tokens = 2};
    struct rein_loss out = {.size = sizeof(out), .d_logp = d_logp, .d_value = d_value, .metrics = metrics_reset(&box)};
    ck_assert_int_eq(in.ops->loss(in.self, &b, &out), REIN_OK);
    ck_assert_double_eq(metrics_value(&box.list, "policy/approxkl_avg"), 0);
    ck_assert_double_eq(metrics_value(&box.list, "policy/clipfrac_avg"), 0);
    ck_assert_double_eq(metrics_value(&box.list, "val/clipfrac_avg"), 0);
    ck_assert_double_eq(metrics_value(&box.list, "val/ratio"), 1);
    ck_assert_double_eq(metrics_value(&box.list, "val/ratio_var"), 0);
    for (int i = 0; i < 3; i++)
        ck_assert_float_eq(d_logp[i], -advantage[i] / 3);
    instance_close(&in);
}
END_TEST

START_TEST(nothing_at_all_is_harmless) {
    static const char *const names[] = {"sft", "rm", "ppo", "grpo", "rloo", "reinforce", "dpo"};
    static const uint32_t zero[] = {0, 0};
    static const float none[1];

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        struct instance in;
        struct metric_box box;
        float d[1] = {0};
        ck_assert_int_eq(instance_open(&in, "algorithm", names[i], NULL), REIN_OK);
        struct rein_experience e = {.size = sizeof(e),
                                    .offset = zero,
                                    .unit = zero,
                                    .logp_old = none,
                                    .logp_ref = none,
                                    .value_old = none,
                                    .reward = none,
                                    .ended = (const uint8_t *)"",
                                    .advantage = d,
                                    .return_ = d,
                                    .metrics = metrics_reset(&box)};
        if (in.ops->prepare)
            ck_assert_int_eq(in.ops->prepare(in.self, &e), REIN_OK);
        struct rein_batch b = {.size = sizeof(b),
                               .offset = zero,
                               .unit = zero,
                               .logp = none,
                               .logp_old = none,
                               .logp_ref = none,
                               .value = none,
                               .value_old = none,
                               .advantage = none,
                               .return_ = none,
                               .reward = none,
                               .score = none,
                               .ended = (const uint8_t *)""};
        struct rein_loss out = {
            .size = sizeof(out), .loss = NAN, .d_logp = d, .d_value = d, .d_score = d, .metrics = metrics_reset(&box)};
        ck_assert_int_eq(in.ops->loss(in.self, &b, &out), REIN_OK);
        ck_assert_double_eq(out.loss, 0);
        instance_close(&in);
    }
}
END_TEST

START_TEST(what_cannot_be_used_is_refused) {
    static const char *const dual[] = {"dual_clip", "0.5", NULL};
    static const char *const still[] = {"target_kl", "1", "beta", "0", NULL};
    static const char *const cispo[] = {"loss", "cispo", NULL};
    static const char *const smooth[] = {"label_smoothing", "0.1", NULL};
    static const char *const half[] = {"loss", "robust", "label_smoothing", "0.5", NULL};
    static const uint32_t three[] = {0, 3};
    static const float none[] = {1, NAN, 1};
    struct instance in;
    struct metric_box box;
    float d[3] = {0}, e_[3] = {0};

    for (int i = 0; i < 4; i++) {
        static const char *const names[] = {"ppo", "grpo", "rloo", "reinforce"};
        ck_assert_int_eq(instance_open(&in, "algorithm", names[i], dual), REIN_ERR_ARG);
        ck_assert_str_eq(in.failed_param, "dual_clip");
        instance_close(&in);
        ck_assert_int_eq(instance_open(&in, "algorithm", names[i], still), REIN_ERR_ARG);
        ck_assert_str_eq(in.failed_param, "target_kl");
        instance_close(&in);
    }

    ck_assert_int_eq(instance_open(&in, "algorithm", "grpo", cispo), REIN_ERR_ARG);
    ck_assert_str_eq(in.failed_param, "clip_high");
    instance_close(&in);

    ck_assert_int_eq(instance_open(&in, "algorithm", "dpo", smooth), REIN_ERR_ARG);
    ck_assert_str_eq(in.failed_param, "label_smoothing");
    instance_close(&in);
    ck_assert_int_eq(instance_open(&in, "algorithm", "dpo", half), REIN_ERR_ARG);
    ck_assert_str_eq(in.failed_param, "label_smoothing");
    instance_close(&in);

    ck_assert_int_eq(instance_open(&in, "algorithm", "ppo", NULL), REIN_OK);
    struct rein_experience e = experience(4, d, e_, &box);
    e.reward = none;
    ck_assert_int_eq(in.ops->prepare(in.self, &e), REIN_ERR_ARG);
    ck_assert_str_eq(in.message, "completion 1 of rollout 4 has no finite reward");
    instance_close(&in);

    ck_assert_int_eq(instance_open(&in, "algorithm", "grpo", NULL), REIN_OK); /* with a critic */
    e = experience(4, d, e_, &box);
    e.family = none;
    e.members = 1;
    ck_assert_int_eq(in.ops->prepare(in.self, &e), REIN_ERR_ARG);
    ck_assert_str_eq(in.message, "completion 1 of rollout 4 has no finite reward");
    instance_close(&in);

    ck_assert_int_eq(instance_open(&in, "algorithm", "rm", NULL), REIN_OK);
    struct rein_batch b = {.size = sizeof(b), .rows = 3, .units = 1, .unit = three, .score = old, .norm_units = 1};
    struct rein_loss out = {.size = sizeof(out), .d_score = d, .metrics = metrics_reset(&box)};
    ck_assert_int_eq(in.ops->loss(in.self, &b, &out), REIN_ERR_ARG);
    ck_assert_str_eq(in.message, "bradley-terry compares pairs, not 3 answers");
    instance_close(&in);

    ck_assert_int_eq(instance_open(&in, "algorithm", "dpo", NULL), REIN_OK);
    b = (struct rein_batch){.size = sizeof(b),
                            .rows = 3,
                            .units = 1,
                            .unit = three,
                            .offset = offset,
                            .logp = old,
                            .logp_ref = ref,
                            .norm_units = 1};
    out = (struct rein_loss){.size = sizeof(out), .d_logp = d, .metrics = metrics_reset(&box)};
    ck_assert_int_eq(in.ops->loss(in.self, &b, &out), REIN_ERR_ARG);
    ck_assert_str_eq(in.message, "dpo compares pairs, not 3 answers");
    instance_close(&in);
}
END_TEST

/* Loss_GRPO = Loss_PPO - variance * Var for an objective that is maximised: disagreement is bad. */
START_TEST(grpo_holds_disagreement_against_a_completion) {
    static const char *const options[] = {"baseline", "group", "scale", "none", "variance", "0.5", NULL};
    static const uint32_t one_group[] = {0, 3};
    static const float family[] = {1, 3, 2, 1, -1, 0}; /* two members; means 1, 1, 1; variances 0, 4, 1 */
    struct instance in;
    struct metric_box box;
    float advantage[3] = {0};

    ck_assert_int_eq(instance_open(&in, "algorithm", "grpo", options), REIN_OK);
    struct rein_experience e = experience(0, advantage, NULL, &box);
    e.offset = unit; /* a token each */
    e.unit = one_group;
    e.units = 1;
    e.family = family;
    e.members = 2;
    e.logp_ref = e.value_old = NULL;
    ck_assert_int_eq(in.ops->prepare(in.self, &e), REIN_OK);
    ck_assert_float_eq_tol(advantage[0], 5.0f / 6, 1e-6f);
    ck_assert_float_eq_tol(advantage[1], 5.0f / 6 - 2, 1e-6f);
    ck_assert_float_eq_tol(advantage[2], 5.0f / 6 - 0.5f, 1e-6f);
    ck_assert_double_eq_tol(metrics_value(&box.list, "objective/reward_variance"), 5.0 / 3, 1e-12);
    instance_close(&in);
}
END_TEST

/* One pair of 2 and 1 tokens; `swap` puts the second row first. */
static double pair_loss(const char *loss, bool swap, float shift, struct metric_box *box) {
    static const uint32_t straight[] = {0, 2, 3}, turned[] = {0, 1, 3}, both[] = {0, 2};
    const char *const options[] = {"loss", loss, NULL};
    const float logp[] = {-1 + shift, -2, -0.5f}, logp_swapped[] = {-0.5f, -1 + shift, -2};
    const float ref_swapped[] = {ref[2], ref[0], ref[1]};
    float d[3] = {0};
    struct instance in;
    double sums[REIN_MAX_SUMS] = {swap ? 1 : 2};

    ck_assert_int_eq(instance_open(&in, "algorithm", "dpo", options), REIN_OK);
    struct rein_batch b = {.size = sizeof(b),
                           .rows = 2,
                           .units = 1,
                           .tokens = 3,
                           .offset = swap ? turned : straight,
                           .unit = both,
                           .logp = swap ? logp_swapped : logp,
                           .logp_ref = swap ? ref_swapped : ref,
                           .norm_units = 1,
                           .norm_rows = 2,
                           .norm_tokens = 3,
                           .sums = in.needs.sums ? sums : NULL};
    struct rein_loss out = {.size = sizeof(out), .d_logp = d, .metrics = metrics_reset(box)};
    ck_assert_int_eq(in.ops->loss(in.self, &b, &out), REIN_OK);
    ck_assert(isfinite(d[0]) && isfinite(d[1]) && isfinite(d[2]));
    instance_close(&in);
    return out.loss;
}

START_TEST(chosen_and_rejected_swapped_negate_the_margin) {
    static const char *const losses[] = {"sigmoid", "hinge", "ipo", "robust", "cdpo", "simpo", "orpo"};

    for (size_t i = 0; i < sizeof(losses) / sizeof(*losses); i++)
        for (float shift = 0; shift > -3000; shift = shift * 3 - 1) {
            struct metric_box a, b;

            ck_assert(isfinite(pair_loss(losses[i], false, shift, &a)));
            ck_assert(isfinite(pair_loss(losses[i], true, shift, &b)));
            ck_assert_double_ne(metrics_value(&a.list, "rewards/margins"), 0);
            ck_assert_double_eq(metrics_value(&a.list, "rewards/margins"), -metrics_value(&b.list, "rewards/margins"));
            ck_assert_double_eq(metrics_value(&a.list, "rewards/chosen"), metrics_value(&b.list, "rewards/rejected"));
            ck_assert_double_eq(metrics_value(&a.list, "logps/chosen"), metrics_value(&b.list, "logps/rejected"));
            ck_assert_double_eq(
                metrics_value(&a.list, "rewards/accuracies") + metrics_value(&b.list, "rewards/accuracies"), 1);
        }
}
END_TEST

START_TEST(dpo_of_the_reference_itself_is_ln_2) {
    static const uint32_t rows[] = {0, 2, 3}, both[] = {0, 2};
    struct instance in;
    struct metric_box box;
    float d[3] = {0};

    ck_assert_int_eq(instance_open(&in, "algorithm", "dpo", NULL), REIN_OK);
    struct rein_batch b = {.size = sizeof(b),
                           .rows = 2,
                           .units = 1,
                           .tokens = 3,
                           .offset = rows,
                           .unit = both,
                           .logp = old,
                           .logp_ref = old,
                           .norm_units = 1};
    struct rein_loss out = {.size = sizeof(out), .d_logp = d, .metrics = metrics_reset(&box)};
    ck_assert_int_eq(in.ops->loss(in.self, &b, &out), REIN_OK);
    ck_assert_double_eq(out.loss, 0.6931471805599453);
    ck_assert_double_eq(metrics_value(&box.list, "rewards/accuracies"), 0); /* nobody wins */
    ck_assert_float_eq_tol(d[0], -0.05f, 1e-7f);
    ck_assert_float_eq_tol(d[2], 0.05f, 1e-7f);
    instance_close(&in);
}
END_TEST

START_TEST(ppo_leaves_a_rollout_that_has_drifted) {
    static const char *const options[] = {"target_kl_stop", "0.02", NULL};
    struct instance in;
    struct metric_box box;
    uint32_t stop = 0;

    ck_assert_int_eq(instance_open(&in, "algorithm", "ppo", options), REIN_OK);
    struct rein_metric *m = box.items;
    metrics_reset(&box);
    box.list.count = 1;
    *m = (struct rein_metric){.name = "policy/approxkl_avg", .how = REIN_METRIC_MEAN, .sum = 0.19, .weight = 10};
    struct rein_step step = {.size = sizeof(step), .step = 1, .metrics = &box.list};
    ck_assert_int_eq(in.ops->after(in.self, &step, &stop), REIN_OK);
    ck_assert_uint_eq(stop, 0);
    m->sum = 0.21;
    ck_assert_int_eq(in.ops->after(in.self, &step, &stop), REIN_OK);
    ck_assert_uint_eq(stop, REIN_STOP_ROLLOUT);
    instance_close(&in);
    stop = 0;
    ck_assert_int_eq(instance_open(&in, "algorithm", "ppo", NULL), REIN_OK);
    ck_assert_int_eq(in.ops->after(in.self, &step, &stop), REIN_OK);
    ck_assert_uint_eq(stop, 0);
    instance_close(&in);
}
END_TEST

START_TEST(adaptive_beta_survives_a_checkpoint) {
    static const char *const options[] = {"target_kl", "0.01", "horizon", "10", "beta", "0.3", NULL};
    struct instance a, b;
    struct metric_box box;
    float advantage[3] = {0}, return_[3] = {0};
    char bytes[256];
    struct rein_state state = {.size = sizeof(state), .data = bytes, .capacity = sizeof(bytes)};
    double second;

    ck_assert_int_eq(instance_open(&a, "algorithm", "ppo", options), REIN_OK);
    ck_assert_int_eq(instance_open(&b, "algorithm", "ppo", options), REIN_OK);
    struct rein_experience e = experience(0, advantage, return_, &box);
    ck_assert_int_eq(a.ops->prepare(a.self, &e), REIN_OK);
    ck_assert_double_eq(metrics_value(&box.list, "objective/kl_coef"), 0.3);
    ck_assert_int_eq(a.ops->save(a.self, &state), REIN_OK);
    ck_assert_int_eq(b.ops->load(b.self, &state), REIN_OK);
    /* the rollout that was under way is taken up again with its own coefficient */
    e = experience(0, advantage, return_, &box);
    ck_assert_int_eq(b.ops->prepare(b.self, &e), REIN_OK);
    ck_assert_double_eq(metrics_value(&box.list, "objective/kl_coef"), 0.3);
    e = experience(1, advantage, return_, &box);
    ck_assert_int_eq(a.ops->prepare(a.self, &e), REIN_OK);
    second = metrics_value(&box.list, "objective/kl_coef");
    ck_assert_double_gt(second, 0.3);
    e = experience(1, advantage, return_, &box);
    ck_assert_int_eq(b.ops->prepare(b.self, &e), REIN_OK);
    ck_assert_double_eq(metrics_value(&box.list, "objective/kl_coef"), second);

    state.capacity = 1;
    ck_assert_int_eq(a.ops->save(a.self, &state), REIN_ERR_ARG);
    state.length = 3;
    ck_assert_int_eq(a.ops->load(a.self, &state), REIN_ERR_ARG);
    memset(bytes, 0xff, sizeof(bytes));
    state.length = sizeof(double) * 4;
    ck_assert_int_eq(a.ops->load(a.self, &state), REIN_ERR_ARG);
    instance_close(&a);
    instance_close(&b);
}
END_TEST

/* Loaded into another instance, a rollout that is under way is shaped by its own coefficient; a fixed one stays what
 * the options say. */
START_TEST(a_checkpoint_brings_an_adapted_beta_and_no_fixed_one) {
    static const char *const names[] = {"ppo", "rloo", "reinforce"};
    static const char *const adaptive[] = {"target_kl", "0.01", "horizon", "10", "beta", "0.3", NULL};
    static const char *const fixed[] = {"beta", "0.3", NULL}, *const other[] = {"beta", "0.6", NULL};
    static const uint32_t one_group[] = {0, 3};

    for (int i = 0; i < 6; i++) {
        const char *name = names[i / 2];
        struct instance a, b;
        struct metric_box box;
        float advantage[3], return_[3];
        char bytes[256];
        struct rein_state state = {.size = sizeof(state), .data = bytes, .capacity = sizeof(bytes)};
        double now[2] = {0, 0};

        ck_assert_int_eq(instance_open(&a, "algorithm", name, i % 2 ? fixed : adaptive), REIN_OK);
        ck_assert_int_eq(instance_open(&b, "algorithm", name, i % 2 ? other : adaptive), REIN_OK);
        for (uint32_t k = 0; k < 4; k++) { /* rollouts 0, 1 and 2, then 2 again by the other */
            struct rein_experience e = experience(k < 3 ? k : 2, advantage, return_, &box);
            e.unit = one_group;
            e.units = 1;
            if (k == 3)
                ck_assert_int_eq(b.ops->load(b.self, &state), REIN_OK);
            ck_assert_int_eq((k < 3 ? &a : &b)->ops->prepare((k < 3 ? &a : &b)->self, &e), REIN_OK);
            now[k / 3] = metrics_value(&box.list, "objective/non_score_reward");
            if (k == 2)
                ck_assert_int_eq(a.ops->save(a.self, &state), REIN_OK);
        }
        ck_assert_double_ne(now[0], 0);
        ck_assert_double_eq_tol(now[1], i % 2 ? 2 * now[0] : now[0], 1e-12);
        instance_close(&a);
        instance_close(&b);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("algorithms");
    TCase *cases = tcase_create("algorithms");

    tcase_add_test(cases, chosen_and_rejected_swapped_negate_the_margin);
    tcase_add_test(cases, dpo_of_the_reference_itself_is_ln_2);
    tcase_add_test(cases, describe_gives_the_defaults_of_trl);
    tcase_add_test(cases, ppo_before_the_first_update_sees_no_change);
    tcase_add_test(cases, nothing_at_all_is_harmless);
    tcase_add_test(cases, what_cannot_be_used_is_refused);
    tcase_add_test(cases, grpo_holds_disagreement_against_a_completion);
    tcase_add_test(cases, ppo_leaves_a_rollout_that_has_drifted);
    tcase_add_test(cases, adaptive_beta_survives_a_checkpoint);
    tcase_add_test(cases, a_checkpoint_brings_an_adapted_beta_and_no_fixed_one);
    suite_add_tcase(suite, cases);
    return tap_run(suite);
}
