/* What every reward source must satisfy, whoever wrote it. SPDX-License-Identifier: MIT */
#include "base/buffer.h"
#include "conform/conform.h"
#include "conform/guard.h"
#include "conform/options.h"
#include "plugin/params.h"

#include <rein/reward.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 8, UNITS = 4, MOST_MEMBERS = 1024 };

static const char *const texts[ROWS] = {
    "The answer is 42.",
    "",
    "So it costs $1,234.50 in all.\n",
    "  yes  ",
    "\xc3\x9c"
    "ber -17 Grad \xe2\x80\x93 kalt",
    "a b c d e f g h i j k l m n o p q r s t u v w x y z a b c d e f g h i j k l m n o p q r s t u v w x y z",
    "{\"json\": [1, 2, 3]}",
    "The answer is 42.",
};
static const char *const answers[ROWS] = {"42", "0", "1234.5", "1", "-17", "26", "3", "41"};

/* The completions under test, in guarded arrays. */
struct set {
    struct rein_completions c;
    char *columns[ROWS];
    char *messages[ROWS];
};

struct columns {
    struct buffer text;
    const char *answer;
};

static int add_column(void *ctx, const struct rein_param *row, const char *name) {
    struct columns *c = ctx;

    (void)row;
    if (!strcmp(name, "prompt"))
        return 0;
    buffer_text(&c->text, ", ");
    buffer_json_string(&c->text, name, strlen(name));
    buffer_printf(&c->text, ": \"%s\"", c->answer);
    return 0;
}

/* A JSON object with a value for every column that the options name. */
static char *make_columns(const struct rein_plugin *plugin, const void *config, int row) {
    const struct params table = params_of(plugin);
    struct columns c = {.answer = answers[row]};

    buffer_text(&c.text, "{\"prompt\": \"What?\"");
    params_visit(&table, config, REIN_PARAM_COLUMN, add_column, &c);
    buffer_text(&c.text, "}");
    return buffer_take(&c.text);
}

/* Rows `order[0..rows]` of the eight, two to a unit (one when alone). */
static void set_make(struct set *s, const struct rein_plugin *plugin, const void *config, const uint32_t *order,
                     uint32_t rows) {
    uint32_t units = rows > 1 ? rows / 2 : rows;
    uint32_t *unit = guard_alloc((size_t)units + 1, sizeof(*unit)),
             *offset = guard_alloc((size_t)rows + 1, sizeof(*offset));
    uint32_t *prompt_length = guard_alloc(rows, sizeof(*prompt_length));
    uint64_t *row_id = guard_alloc(rows, sizeof(*row_id));
    const char **prompt = guard_alloc(rows, sizeof(*prompt)), **completion = guard_alloc(rows, sizeof(*completion));
    const char **columns = guard_alloc(rows, sizeof(*columns)), **messages = guard_alloc(rows, sizeof(*messages));
    uint8_t *ended = guard_alloc(rows, 1);
    int32_t *ids;

    memset(s, 0, sizeof(*s));
    for (uint32_t u = 0; u < units; u++)
        unit[u + 1] = rows > 1 ? 2 * (u + 1) : 1;
    for (uint32_t i = 0; i < rows; i++) {
        uint32_t r = order[i];
        struct buffer text = {0};

        prompt_length[i] = 2;
        offset[i + 1] = offset[i] + 2 + (uint32_t)strlen(texts[r]);
        row_id[i] = 100 + r;
        prompt[i] = "What?";
        completion[i] = texts[r];
        ended[i] = r % 3 != 1;
        columns[i] = s->columns[i] = make_columns(plugin, config, (int)r);
        buffer_text(&text, "[{\"role\": \"user\", \"content\": \"What?\"}, {\"role\": \"assistant\", \"content\": ");
        buffer_json_string(&text, texts[r], strlen(texts[r]));
        buffer_text(&text, "}]");
        messages[i] = s->messages[i] = buffer_take(&text);
    }
    ids = guard_alloc(offset[rows], sizeof(*ids));
    for (uint32_t i = 0; i < rows; i++) /* a token a byte */
        for (uint32_t k = offset[i]; k < offset[i + 1]; k++)
            ids[k] = k < offset[i] + 2 ? (int32_t)(k - offset[i]) : (unsigned char)completion[i][k - offset[i] - 2];
    s->c = (struct rein_completions){.size = sizeof(s->c),
                                     .rows = rows,
                                     .units = units,
                                     .unit = unit,
                                     .row_id = row_id,
                                     .ids = ids,
                                     .offset = offset,
                                     .prompt_length = prompt_length,
                                     .prompt = prompt,
                                     .completion = completion,
                                     .messages = messages,
                                     .columns = columns,
                                     .ended = ended};
    const void *all[] = {unit, offset, prompt_length, row_id, prompt, completion, columns, messages, ended, ids};
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
        guard_seal((void *)(uintptr_t)all[i], true);
}

static void set_free(struct set *s) {
    const void *all[] = {s->c.unit,       s->c.offset,  s->c.prompt_length, s->c.row_id, s->c.prompt,
                         s->c.completion, s->c.columns, s->c.messages,      s->c.ended,  s->c.ids};

    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
        guard_free((void *)(uintptr_t)all[i]);
    for (int i = 0; i < ROWS; i++) {
        free(s->columns[i]);
        free(s->messages[i]);
    }
}

/* A scorer without models: a number from the text, the model's name and, when perturbed, the draw. */
static float made_up(const char *model, const char *text, uint64_t salt) {
    uint64_t h = 14695981039346656037u ^ salt;

    for (const char *p = model; *p; p++)
        h = (h ^ (unsigned char)*p) * 1099511628211u;
    for (const char *p = text; *p; p++)
        h = (h ^ (unsigned char)*p) * 1099511628211u;
    return (float)(h >> 40) / 16777216.0f - 0.5f;
}

static rein_status fake_score(void *ctx, const struct rein_score_request *q, float *out) {
    const struct rein_completions *c = q->completions;

    const uint32_t heads = REIN_HAS(q, struct rein_score_request, heads) && q->heads ? q->heads : 1;
    const uint32_t samples = REIN_HAS(q, struct rein_score_request, samples) && q->samples ? q->samples : 1;

    (void)ctx;
    if (!q->model)
        return REIN_ERR_ARG;
    for (uint32_t k = 0; k < samples * heads; k++)
        for (uint32_t r = 0; r < c->rows; r++) {
            const uint64_t draw = q->perturb ? c->row_id[r] * 31 + q->sample + k / heads + 1 : 0;
            out[k * c->rows + r] = made_up(q->model, c->completion[r], draw * 67 + k % heads);
        }
    return REIN_OK;
}

/* Models whose names end with "heads" have three. */
static rein_status fake_describe(void *ctx, const char *model, struct rein_scored_model *out) {
    const size_t n = strlen(model);

    (void)ctx;
    out->heads = n >= 5 && !strcmp(model + n - 5, "heads") ? 3 : 1;
    out->standard = 1;
    return REIN_OK;
}

static rein_status fake_choices(void *ctx, const struct rein_choice_request *q, float *out) {
    (void)ctx;
    if (!q->model)
        return REIN_ERR_ARG;
    for (uint32_t r = 0; r < q->rows; r++)
        for (uint32_t k = 0; k < q->nchoices; k++)
            out[r * q->nchoices + k] = -1 + made_up(q->model, q->text[r], made_up(q->model, q->choices[k], k) > 0);
    return REIN_OK;
}

/* Scores the rows into family[k * ROWS + order[i]]. */
static rein_status run(const struct rein_plugin *plugin, const void *config, void *self, const uint32_t *order,
                       uint32_t rows, uint32_t members, float *family) {
    const struct rein_reward_ops *ops = plugin->ops;
    float *out = guard_alloc((size_t)members * rows, sizeof(*out));
    rein_status status;
    struct set s;

    set_make(&s, plugin, config, order, rows);
    for (uint32_t i = 0; i < members * rows; i++)
        out[i] = INFINITY; /* to see that each is written */
    status = ops->score(self, &s.c, out);
    for (uint32_t k = 0; k < members; k++)
        for (uint32_t i = 0; i < rows; i++)
            family[k * ROWS + order[i]] = out[k * rows + i];
    set_free(&s);
    guard_free(out);
    return status;
}

static bool same(const float *a, const float *b, uint32_t members) {
    return !memcmp(a, b, (size_t)members * ROWS * sizeof(*a));
}

/* One NaN is as good as another. */
static void settle(float *x, uint32_t members) {
    for (uint32_t i = 0; i < members * ROWS; i++)
        if (isnan(x[i]))
            x[i] = NAN;
}

/* A second instance scores as the first does, and neither disturbs the other. */
static void check_instances(const struct rein_plugin *plugin, const void *config, void *self, const uint32_t *order,
                            uint32_t members, const float *first) {
    const struct rein_reward_ops *ops = plugin->ops;
    float *again = calloc((size_t)members * ROWS, sizeof(float)),
          *other = calloc((size_t)members * ROWS, sizeof(float));
    void *second = NULL;
    bool ok = again && other && ops->create(conform_host(), config, &second) == REIN_OK;

    ok = ok && run(plugin, config, second, order, ROWS, members, other) == REIN_OK &&
         run(plugin, config, self, order, ROWS, members, again) == REIN_OK;
    if (ok) {
        settle(again, members);
        settle(other, members);
    }
    conform_ok(ok && same(first, other, members), "another instance gives the same scores: a seed is reproduced");
    conform_ok(ok && same(first, again, members), "two instances do not interfere");
    if (second)
        ops->destroy(second);
    free(again);
    free(other);
}

/* A family of one voice has no variance to learn from. */
static bool varied(const float *family, uint32_t members) {
    for (uint32_t k = 1; k < members; k++)
        if (memcmp(family, family + (size_t)k * ROWS, ROWS * sizeof(*family)) != 0)
            return true;
    return members == 1;
}

static void check_scores(const struct rein_plugin *plugin, const void *config, void *self, uint32_t members) {
    static const uint32_t order[ROWS] = {0, 1, 2, 3, 4, 5, 6, 7}, turned[ROWS] = {6, 3, 0, 7, 1, 4, 2, 5};
    const struct rein_reward_ops *ops = plugin->ops;
    float *first = calloc((size_t)members * ROWS, sizeof(float)),
          *again = calloc((size_t)members * ROWS, sizeof(float));
    bool written = true, ok = true;
    uint32_t after = 0;

    if (!first || !again) {
        conform_ok(false, "memory for %u members", members);
        goto out;
    }
    if (!conform_ok(run(plugin, config, self, order, ROWS, members, first) == REIN_OK, "score"))
        goto out;
    settle(first, members);
    for (uint32_t i = 0; i < members * ROWS; i++)
        written = written && !isinf(first[i]);
    conform_ok(written, "every score is a finite number or NaN");
    conform_ok(varied(first, members), "several members are not all alike");
    ok = run(plugin, config, self, order, ROWS, members, again) == REIN_OK;
    settle(again, members);
    conform_ok(ok && same(first, again, members), "the same completions get the same scores");
    ok = run(plugin, config, self, turned, ROWS, members, again) == REIN_OK;
    settle(again, members);
    conform_ok(ok && same(first, again, members), "the order of rows does not matter");
    ok = true;
    for (uint32_t r = 0; r < ROWS; r++)
        ok = run(plugin, config, self, &order[r], 1, members, again) == REIN_OK && ok;
    settle(again, members);
    conform_ok(ok && same(first, again, members), "what else is in the batch does not matter");
    check_instances(plugin, config, self, order, members, first);
    conform_ok(run(plugin, config, self, order, 0, members, again) == REIN_OK, "no rows at all are no problem");
    conform_ok(ops->members(self, &after) == REIN_OK && after == members, "the number of members stays");
out:
    free(first);
    free(again);
}

struct ends {
    const struct rein_plugin *plugin;
    uint32_t refused;
};

/* Refused or used; what cannot be scored with it is said, what is scored is a number or NaN. */
static bool use_options(void *ctx, const void *config) {
    static const uint32_t order[ROWS] = {0, 1, 2, 3, 4, 5, 6, 7};
    struct ends *e = ctx;
    const struct rein_reward_ops *ops = e->plugin->ops;
    const long said = conform_host_said();
    uint32_t members = 0;
    void *self = NULL;
    float *family;
    bool good;

    if (ops->create(conform_host(), config, &self) != REIN_OK) {
        e->refused++;
        return conform_host_said() > said;
    }
    good = ops->members(self, &members) == REIN_OK && members >= 1 && members <= MOST_MEMBERS;
    family = good ? calloc((size_t)members * ROWS, sizeof(*family)) : NULL;
    if (family && run(e->plugin, config, self, order, ROWS, members, family) == REIN_OK) {
        settle(family, members);
        for (uint32_t i = 0; i < members * ROWS; i++)
            good = good && !isinf(family[i]);
    } else {
        good = good && conform_host_said() > said;
    }
    free(family);
    ops->destroy(self);
    return good;
}

static void check_options(const struct rein_plugin *plugin, const void *config) {
    struct ends e = {plugin, 0};
    uint32_t tried;
    const bool ok = options_ends(plugin, config, use_options, &e, &tried);

    conform_ok(ok, "every option at its least and greatest gives scores or a reason (%u settings, %u refused)", tried,
               e.refused);
}

/* The nth allocation fails: create or score says so, and nothing stays behind. */
static void check_memory(const struct rein_plugin *plugin, const void *config, uint32_t members) {
    static const uint32_t order[ROWS] = {0, 1, 2, 3, 4, 5, 6, 7};
    const struct rein_reward_ops *ops = plugin->ops;
    float *family = calloc((size_t)members * ROWS, sizeof(float));
    bool told = true, leaked = false;
    long n = 0;

    conform_host_quiet(true);
    do {
        long before = conform_host_live();
        void *self = NULL;
        rein_status status;

        conform_host_fail_alloc(++n);
        status = family ? ops->create(conform_host(), config, &self) : REIN_ERR_NOMEM;
        if (status == REIN_OK) {
            status = run(plugin, config, self, order, ROWS, members, family);
            ops->destroy(self);
        }
        told = told && (!conform_host_alloc_failed() || status != REIN_OK);
        leaked = leaked || conform_host_live() != before;
    } while (conform_host_alloc_failed() && n < 1000);
    conform_host_fail_alloc(0);
    conform_host_quiet(false);
    conform_ok(told, "a failed allocation is reported (%ld tried)", n - 1);
    conform_ok(!leaked, "everything allocated is given back");
    free(family);
}

int conform_reward(const struct rein_plugin *plugin, const char *path) {
    static const struct rein_scorer_1 scorer = {
        .size = sizeof(scorer), .score = fake_score, .choice_logprobs = fake_choices, .describe = fake_describe};
    const struct rein_reward_ops *ops = plugin->ops;
    void *config = conform_config(plugin), *self = NULL;
    uint32_t members = 0;

    if (!config)
        return 2;
    conform_note("%s from %s", plugin->name, path);
    guard_install();
    conform_host_offer(REIN_SCORER_1, &scorer);
    conform_module(path);
    if (!conform_ok(ops->create && ops->destroy && ops->members && ops->score, "the required ops are there"))
        goto out;
    if (!conform_ok(ops->create(conform_host(), config, &self) == REIN_OK && self, "create"))
        goto out;
    if (conform_ok(ops->members(self, &members) == REIN_OK && members >= 1 && members <= MOST_MEMBERS,
                   "members: at least one"))
        check_scores(plugin, config, self, members);
    ops->destroy(self);
    if (members >= 1 && members <= MOST_MEMBERS)
        check_memory(plugin, config, members);
    check_options(plugin, config);
    conform_ok(conform_host_live() == 0, "nothing is left allocated");
out:
    free(config);
    return conform_done();
}
