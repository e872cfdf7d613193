/* SPDX-License-Identifier: MIT */
#include "text/rows.h"

#include "text/fields.h"

#include <stdlib.h>
#include <string.h>

void row_ids_clear(struct row_ids *r) {
    r->ids.count = 0;
    buffer_clear(&r->mask);
    r->prompt = 0;
    r->masked = false;
}

void row_ids_free(struct row_ids *r) {
    ids_free(&r->ids);
    buffer_free(&r->mask);
}

/* ---- token ids as they are ---------------------------------------------- */

static int add_ids(const struct dataset_options *o, const json_t *list, struct ids *out, struct error *err) {
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *id = json_array_get(list, i);
        if (!json_is_integer(id))
            return error_input(err, "token %zu must be a whole number, not %s", i + 1, field_kind(id));
        if (json_integer_value(id) < 0 || (unsigned long long)json_integer_value(id) >= o->vocabulary)
            return error_input(err, "token %zu is %lld: the vocabulary has ids from 0 to %zu", i + 1,
                               (long long)json_integer_value(id), o->vocabulary - 1);
        if (ids_add(out, (int32_t)json_integer_value(id), err) != 0)
            return -1;
    }
    return 0;
}

static int add_mask(const json_t *mask, struct row_ids *out, struct error *err) {
    for (size_t i = 0; i < json_array_size(mask); i++) {
        const json_t *m = json_array_get(mask, i);
        const bool on = json_is_true(m) || (json_is_integer(m) && json_integer_value(m) == 1);
        if (!on && !json_is_false(m) && !(json_is_integer(m) && json_integer_value(m) == 0))
            return error_input(err, "'completion_mask' must hold 0 and 1 alone");
        buffer_byte(&out->mask, on);
    }
    out->masked = true;
    return out->mask.failed ? error_nomem(err, "a mask") : 0;
}

/* ---- plain strings ------------------------------------------------------ */

/* What the post-processor puts in front, unless the text spells it out itself. */
static int add_prefixed(const struct dataset_options *o, const json_t *text, struct ids *out, struct error *err) {
    struct ids own = {0};
    const int32_t *prefix;
    const size_t n = tokenizer_prefix(o->tokenizer, &prefix);
    int rc = tokenizer_encode(o->tokenizer, json_string_value(text), json_string_length(text), TOKENIZE_SPECIAL, &own,
                              err);

    if (rc == 0 && n > 0 && (own.count < n || memcmp(own.data, prefix, n * sizeof *prefix) != 0))
        rc = ids_append(out, prefix, n, err);
    if (rc == 0)
        rc = ids_append(out, own.data, own.count, err);
    ids_free(&own);
    return rc;
}

/* `from`: where the text that is to end began. A row that ends in `end` (-1: no such token) needs no EOS. */
static int end_row(const struct dataset_options *o, int32_t end, size_t from, struct ids *out, struct error *err) {
    const int32_t eos = tokenizer_eos(o->tokenizer);
    const int32_t last = out->count > from ? out->data[out->count - 1] : -1;

    if (!o->eos || eos < 0 || last == eos || (last >= 0 && last == end))
        return 0;
    return ids_add(out, eos, err);
}

/* ---- conversations ------------------------------------------------------ */

static bool conversational(const struct dataset_options *o, const struct columns *c) {
    if (c->tokens)
        return false;
    if (json_is_array(c->prompt) || (o->template_strings && c->prompt != NULL))
        return true;
    for (size_t i = 0; i < json_array_size(c->answers); i++)
        if (json_is_array(json_array_get(c->answers, i)))
            return true;
    return false;
}

static int need_template(const struct dataset_options *o, struct error *err) {
    return o->chat != NULL ? 0
                           : error_input(err, "message lists need a chat template: the tokenizer has none, name one "
                                              "with 'template:'");
}

static int append_messages(json_t *list, const json_t *value, const char *role, struct error *err) {
    int rc = 0;

    if (json_is_array(value)) {
        for (size_t i = 0; rc == 0 && i < json_array_size(value); i++)
            rc = json_array_append(list, json_array_get(value, i));
    } else {
        rc = json_array_append_new(list, json_pack("{s:s, s:O}", "role", role, "content", value));
    }
    return rc == 0 ? 0 : error_nomem(err, "a conversation");
}

json_t *rows_messages(const struct dataset_options *o, const struct columns *c) {
    json_t *list;

    if (c->prompt == NULL || c->tokens || !conversational(o, c))
        return NULL;
    list = json_array();
    if (list != NULL && append_messages(list, c->prompt, "user", NULL) != 0) {
        json_decref(list);
        return NULL;
    }
    return list;
}

/* A new list: the prompt's messages, then those of answer `index` (SIZE_MAX: none). */
static int conversation(const struct dataset_options *o, const struct columns *c, size_t index, json_t **out,
                        struct error *err) {
    const json_t *answer = index == SIZE_MAX ? NULL : json_array_get(c->answers, index);

    *out = NULL;
    if (need_template(o, err) != 0)
        return -1;
    if (json_is_string(c->prompt) && !o->template_strings)
        return error_input(err, "the prompt is a string beside a list of messages: use lists for both");
    *out = json_array();
    if (*out == NULL)
        return error_nomem(err, "a conversation");
    if ((c->prompt != NULL && append_messages(*out, c->prompt, "user", err) != 0) ||
        (answer != NULL && append_messages(*out, answer, "assistant", err) != 0)) {
        json_decref(*out);
        *out = NULL;
        return -1;
    }
    return 0;
}

/* Ids of the conversation up to the end of the assistant's last turn, with the mask of what it wrote. */
static int add_conversation(const struct dataset_options *o, const json_t *messages, struct row_ids *out,
                            struct error *err) {
    size_t end;

    if (template_render(o->chat, o->tokenizer, messages, false, &out->ids, &out->mask, err) != 0)
        return -1;
    for (end = out->mask.length; end > 0 && out->mask.data[end - 1] == 0; end--)
        ;
    if (end == 0)
        return error_input(err, "the messages hold nothing that the assistant wrote");
    out->ids.count = end; /* what the template puts behind the last turn is nobody's to learn */
    return end_row(o, template_end_of_turn(o->chat, o->tokenizer), 0, &out->ids, err);
}

/* Leaves the mask of what follows the prompt; none when it is all ones. An EOS that was added counts. */
static int cut_mask(struct row_ids *out, struct error *err) {
    struct buffer mask = {0};
    bool all = true;

    for (size_t i = out->prompt; i < out->ids.count; i++) {
        const unsigned char m = i < out->mask.length ? (unsigned char)out->mask.data[i] : 1;
        const bool extra = i + 1 == out->ids.count && m == 0;
        buffer_byte(&mask, m || extra);
        all = all && (m || extra);
    }
    if (mask.failed) {
        buffer_free(&mask);
        return error_nomem(err, "a mask");
    }
    buffer_free(&out->mask);
    out->mask = mask;
    out->masked = !all;
    return 0;
}

static int answer_messages(const struct dataset_options *o, const struct columns *c, size_t index,
                           struct row_ids *out, struct error *err) {
    struct ids prompt = {0};
    json_t *messages, *alone = NULL;
    size_t n = 0;
    int rc = conversation(o, c, index, &messages, err);

    if (rc != 0)
        return rc;
    rc = add_conversation(o, messages, out, err);
    if (rc == 0 && c->whole) {
        while (n < out->mask.length && out->mask.data[n] == 0)
            n++;
    } else if (rc == 0) {
        rc = conversation(o, c, SIZE_MAX, &alone, err);
        if (rc == 0)
            rc = template_render(o->chat, o->tokenizer, alone, true, &prompt, NULL, err);
        while (rc == 0 && n < prompt.count && n < out->ids.count && prompt.data[n] == out->ids.data[n])
            n++;
    }
    out->prompt = n;
    if (rc == 0)
        rc = cut_mask(out, err);
    json_decref(alone);
    json_decref(messages);
    ids_free(&prompt);
    return rc;
}

/* ---- the two kinds of sequences ----------------------------------------- */

static int need_tokenizer(const struct dataset_options *o, const struct columns *c, struct error *err) {
    return c->tokens || o->tokenizer != NULL
               ? 0
               : error_input(err, "text needs a tokenizer, and the model has no tokenizer.json: give token ids");
}

int rows_prompt(const struct dataset_options *o, const struct columns *c, struct row_ids *out, struct error *err) {
    json_t *messages;
    int rc;

    if (need_tokenizer(o, c, err) != 0)
        return -1;
    if (c->tokens) {
        rc = add_ids(o, c->prompt, &out->ids, err);
    } else if (conversational(o, c)) {
        rc = conversation(o, c, SIZE_MAX, &messages, err);
        if (rc == 0)
            rc = template_render(o->chat, o->tokenizer, messages, true, &out->ids, NULL, err);
        json_decref(messages);
    } else {
        rc = add_prefixed(o, c->prompt, &out->ids, err);
    }
    out->prompt = out->ids.count;
    if (rc == 0 && out->ids.count == 0)
        rc = error_input(err, "the prompt is empty: it gives no token");
    return rc;
}

static int answer_tokens(const struct dataset_options *o, const struct columns *c, const json_t *answer,
                         struct row_ids *out, struct error *err) {
    if (c->prompt != NULL && add_ids(o, c->prompt, &out->ids, err) != 0)
        return -1;
    out->prompt = out->ids.count;
    if (add_ids(o, answer, &out->ids, err) != 0)
        return -1;
    return c->mask == NULL ? 0 : add_mask(c->mask, out, err);
}

static int answer_string(const struct dataset_options *o, const struct columns *c, const json_t *answer,
                         struct row_ids *out, struct error *err) {
    if (c->whole || c->prompt == NULL) {
        if (add_prefixed(o, answer, &out->ids, err) != 0)
            return -1;
        return end_row(o, -1, 0, &out->ids, err);
    }
    if (add_prefixed(o, c->prompt, &out->ids, err) != 0)
        return -1;
    out->prompt = out->ids.count;
    if (tokenizer_encode(o->tokenizer, json_string_value(answer), json_string_length(answer), TOKENIZE_SPECIAL,
                         &out->ids, err) != 0)
        return -1;
    return end_row(o, -1, out->prompt, &out->ids, err);
}

int rows_answer(const struct dataset_options *o, const struct columns *c, size_t index, struct row_ids *out,
                struct error *err) {
    const json_t *answer = json_array_get(c->answers, index);
    int rc;

    if (need_tokenizer(o, c, err) != 0)
        return -1;
    if (c->tokens)
        rc = answer_tokens(o, c, answer, out, err);
    else if (conversational(o, c))
        rc = answer_messages(o, c, index, out, err);
    else
        rc = answer_string(o, c, answer, out, err);
    if (rc == 0 && out->ids.count == out->prompt)
        rc = error_input(err, c->whole ? "the text is empty: it gives no token"
                                       : "the completion is empty: it gives no token");
    return rc;
}
