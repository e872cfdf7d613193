/* SPDX-License-Identifier: MIT */
#include "train/choices.h"

#include "base/mem.h"
#include "train/signals.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK_TOKENS = 4096 };

/* Texts to be read together. Choice c of row r is read off a sequence of its own, `text + all but the last of the
 * choice's tokens`; a choice of a single token is read at the end of the text, in whatever sequence begins with it. */
struct chunk {
    struct ids ids;
    uint32_t *offset; /* [sequences + 1] */
    uint32_t sequences;
    uint32_t first, rows; /* which rows of the request */
    int32_t *at;          /* [rows * nchoices] where the choice's first token is predicted, -1: not at all */
};

struct asker {
    const struct choices_model *m;
    const struct rein_choice_request *q;
    struct ids *choice; /* [nchoices] */
    size_t longest;     /* of the choices, in tokens */
    struct chunk chunk;
    float *out;
};

/* ---- what is asked ------------------------------------------------------------------------ */

static int encode_choices(struct asker *a, struct error *err) {
    const struct tokenizer *t = model_tokenizer(a->m->model);

    for (uint32_t c = 0; c < a->q->nchoices; c++) {
        const char *text = a->q->choices[c];

        if (tokenizer_encode(t, text, strlen(text), 0, &a->choice[c], err) != 0)
            return -1;
        if (a->choice[c].count == 0)
            return error_input(err, "the choice '%.40s' has no tokens in the vocabulary of model %s", text, a->m->name);
        if (a->choice[c].count > a->longest)
            a->longest = a->choice[c].count;
    }
    return 0;
}

static int check_model(const struct choices_model *m, const struct rein_choice_request *q, struct error *err) {
    const struct tokenizer *t = model_tokenizer(m->model);

    if (t == NULL || model_head(m->model) != MODEL_LM)
        return error_input(err, "model %s is not a language model with a tokenizer", m->name);
    if ((q->flags & REIN_CHOICE_CHAT) && m->chat == NULL && tokenizer_chat_template(t) != NULL)
        return error_input(err, "model %s has a chat template that we do not know: it can only be asked without",
                           m->name);
    return 0;
}

/* The text as the user's turn, or as it stands. */
static int encode_text(const struct asker *a, const char *text, struct ids *out, struct error *err) {
    const struct tokenizer *t = model_tokenizer(a->m->model);
    json_t *messages;
    int rc;

    if (!(a->q->flags & REIN_CHOICE_CHAT) || a->m->chat == NULL)
        return tokenizer_encode(t, text, strlen(text), TOKENIZE_BOS, out, err);
    messages = json_pack("[{s:s,s:s}]", "role", "user", "content", text);
    if (messages == NULL)
        return error_run(err, "a text to be judged is not UTF-8, or memory is short");
    rc = template_render(a->m->chat, t, messages, true, out, NULL, err);
    json_decref(messages);
    return rc;
}

/* ---- one chunk of rows through the model ---------------------------------------------------- */

static int open_chunk(struct asker *a, struct error *err) {
    const size_t most = (size_t)a->q->rows * a->q->nchoices;

    a->chunk.offset = mem_zeros(most + 1, sizeof(*a->chunk.offset));
    a->chunk.at = mem_array(most ? most : 1, sizeof(*a->chunk.at));
    return a->chunk.offset && a->chunk.at ? 0 : error_nomem(err, "choices");
}

/* Appends text (+ a choice but for its last token); returns where the token after the text is predicted, or -1. */
static int32_t add_sequence(struct chunk *k, const struct ids *text, const struct ids *choice, struct error *err) {
    const size_t begin = k->ids.count, more = choice ? choice->count - 1 : 0;

    if (text->count + more > (size_t)INT32_MAX - begin) {
        error_run(err, "texts are too long to be judged");
        return -1;
    }
    if (ids_append(&k->ids, text->data, text->count, err) != 0 ||
        (more && ids_append(&k->ids, choice->data, more, err) != 0))
        return -1;
    k->offset[++k->sequences] = (uint32_t)k->ids.count;
    return (int32_t)(begin + text->count - 1);
}

static int add_row(struct asker *a, const struct ids *text, bool fits, struct error *err) {
    const uint32_t n = a->q->nchoices;
    int32_t *at = a->chunk.at + (size_t)a->chunk.rows * n, end = -1;

    a->chunk.rows++;
    for (uint32_t c = 0; c < n; c++) {
        at[c] = -1;
        if (!fits || a->choice[c].count == 1)
            continue;
        at[c] = add_sequence(&a->chunk, text, &a->choice[c], err);
        if (at[c] < 0)
            return -1;
        if (end < 0)
            end = at[c];
    }
    for (uint32_t c = 0; fits && c < n; c++) {
        if (a->choice[c].count > 1)
            continue;
        if (end < 0 && (end = add_sequence(&a->chunk, text, NULL, err)) < 0)
            return -1;
        at[c] = end;
    }
    return 0;
}

/* The tokens of one choice, in every row of the chunk: the sum of their log-probabilities. */
static int read_choice(struct asker *a, uint32_t c, struct error *err) {
    const struct chunk *k = &a->chunk;
    const uint32_t n = a->q->nchoices;
    const size_t length = a->choice[c].count, most = (size_t)k->rows * length;
    int32_t *rows = mem_array(most, sizeof(*rows)), *targets = mem_array(most, sizeof(*targets));
    float *logp = mem_array(most, sizeof(*logp));
    struct pass_targets t = {0, rows, targets, 1};
    int rc = -1;

    if (!rows || !targets || !logp) {
        error_nomem(err, "choices");
        goto out;
    }
    for (uint32_t r = 0; r < k->rows; r++)
        for (size_t i = 0; i < length && k->at[(size_t)r * n + c] >= 0; i++) {
            rows[t.n] = k->at[(size_t)r * n + c] + (int32_t)i;
            targets[t.n++] = a->choice[c].data[i];
        }
    if (t.n > 0 && pass_logprobs(a->m->pass, &t, logp, NULL, NULL, err) != 0)
        goto out;
    t.n = 0;
    for (uint32_t r = 0; r < k->rows; r++) {
        float *to = &a->out[((size_t)k->first + r) * n + c];
        double sum = 0;

        for (size_t i = 0; i < length && k->at[(size_t)r * n + c] >= 0; i++)
            sum += (double)logp[t.n++];
        *to = k->at[(size_t)r * n + c] >= 0 ? (float)sum : NAN;
    }
    rc = 0;
out:
    free(rows);
    free(targets);
    free(logp);
    return rc;
}

static int flush(struct asker *a, struct error *err) {
    struct chunk *k = &a->chunk;
    const struct packed packed = {k->sequences, k->offset, k->ids.data};

    if (k->sequences > 0 && (signals_check(err) != 0 || pass_forward(a->m->pass, &packed, false, err) != 0))
        return -1;
    for (uint32_t c = 0; c < a->q->nchoices; c++)
        if (read_choice(a, c, err) != 0)
            return -1;
    k->first += k->rows;
    k->rows = k->sequences = 0;
    k->ids.count = 0;
    return 0;
}

static int ask(struct asker *a, uint32_t *too_long, struct error *err) {
    const int64_t context = model_config(a->m->model)->positions;
    struct ids text = {0};
    int rc = 0;

    pass_leave(a->m->pass, true);
    for (uint32_t r = 0; r < a->q->rows && rc == 0; r++) {
        bool fits;

        text.count = 0;
        rc = encode_text(a, a->q->text[r], &text, err);
        if (rc == 0 && text.count == 0)
            rc = error_run(err, "a text to be judged has no tokens");
        if (rc != 0)
            break;
        fits = context <= 0 || text.count + a->longest - 1 <= (size_t)context;
        *too_long += !fits;
        rc = add_row(a, &text, fits, err);
        if (rc == 0 && (a->chunk.ids.count >= CHUNK_TOKENS || r + 1 == a->q->rows))
            rc = flush(a, err);
    }
    pass_leave(a->m->pass, false);
    ids_free(&text);
    return rc;
}

int choices_logprobs(const struct choices_model *m, const struct rein_choice_request *q, float *out, uint32_t *too_long,
                     struct error *err) {
    struct asker a = {
        .m = m, .q = q, .choice = mem_zeros(q->nchoices ? q->nchoices : 1, sizeof(*a.choice)), .out = out};
    int rc = -1;

    *too_long = 0;
    if (a.choice == NULL)
        error_nomem(err, "choices");
    else if (check_model(m, q, err) == 0 && encode_choices(&a, err) == 0 && open_chunk(&a, err) == 0)
        rc = ask(&a, too_long, err);
    for (uint32_t c = 0; a.choice && c < q->nchoices; c++)
        ids_free(&a.choice[c]);
    free(a.choice);
    ids_free(&a.chunk.ids);
    free(a.chunk.offset);
    free(a.chunk.at);
    return rc;
}
