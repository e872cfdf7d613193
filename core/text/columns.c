/* SPDX-License-Identifier: MIT */
#include "text/columns.h"

#include "base/buffer.h"
#include "base/suggest.h"
#include "text/fields.h"

#include <math.h>
#include <rein/algorithm.h>
#include <stdio.h>
#include <string.h>

static const char *const known[] = {"text",    "messages",  "prompt",     "completion",     "label",      "chosen",
                                    "rejected", "margin",   "ranked",     "input_ids",      "completion_mask",
                                    "prompt_ids", "completion_ids", "chosen_ids", "rejected_ids"};
enum { KNOWN = sizeof known / sizeof *known };

static const struct {
    uint32_t kind;
    const char *name;
} kind_names[] = {
    {REIN_DATA_PROMPTS, "prompts {prompt}"},
    {REIN_DATA_COMPLETIONS, "completions {prompt, completion}, {messages} or {text}"},
    {REIN_DATA_LABELLED, "labelled completions {prompt, completion, label}"},
    {REIN_DATA_PAIRS, "pairs {prompt, chosen, rejected}"},
    {REIN_DATA_LISTS, "rankings {prompt, ranked}"},
};

const char *columns_name(uint32_t kind) {
    for (size_t i = 0; i < sizeof kind_names / sizeof *kind_names; i++)
        if (kind_names[i].kind == kind)
            return kind_names[i].name;
    return "rows";
}

/* "; 'promt' is not a column that is known (did you mean 'prompt'?)" for the first near miss, or "". */
static void near_miss(const json_t *row, struct buffer *out) {
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)row, key, value) {
        struct suggestion s = {0};
        char hint[96];
        bool same = false;
        for (size_t i = 0; i < KNOWN; i++) {
            same = same || strcmp(key, known[i]) == 0;
            suggest_offer(&s, key, known[i]);
        }
        if (!same && s.best != NULL && json_object_get(row, s.best) == NULL) {
            buffer_printf(out, "; '%.40s' is not a known column%s", key, suggest_text(&s, hint, sizeof hint));
            return;
        }
    }
}

static int refuse(const json_t *row, struct error *err, const char *what) {
    struct buffer hint = {0};

    buffer_text(&hint, "");
    near_miss(row, &hint);
    error_input(err, "%s%s", what, hint.failed ? "" : hint.data);
    buffer_free(&hint);
    return -1;
}

/* A column's value; null counts as absent. */
static json_t *column(const json_t *row, const char *name) {
    json_t *value = json_object_get(row, name);

    return json_is_null(value) ? NULL : value;
}

static int check_text(const json_t *value, const char *name, struct error *err) {
    if (json_is_string(value) || json_is_array(value))
        return 0;
    return error_input(err, "'%s' must be a string or a list of messages, not %s", name, field_kind(value));
}

static int check_ids(const json_t *value, const char *name, struct error *err) {
    return json_is_array(value) ? 0
                                : error_input(err, "'%s' must be a list of token ids, not %s", name, field_kind(value));
}

static int check(const json_t *value, const char *name, bool tokens, struct error *err) {
    return tokens ? check_ids(value, name, err) : check_text(value, name, err);
}

static int read_label(const json_t *row, bool *out, struct error *err) {
    const json_t *value = column(row, "label");

    if (!json_is_boolean(value))
        return error_input(err, "'label' must be true or false, not %s", field_kind(value));
    *out = json_is_true(value);
    return 0;
}

static int read_margin(const json_t *row, struct columns *out, struct error *err) {
    const json_t *value = column(row, "margin");

    if (value == NULL)
        return 0;
    if (!json_is_number(value) || !isfinite((float)json_number_value(value)))
        return error_input(err, "'margin' must be a number, not %s",
                           json_is_number(value) ? "one of this size" : field_kind(value));
    out->margin = (float)json_number_value(value);
    out->has_margin = true;
    return 0;
}

static int keep_answer(struct columns *out, json_t *answer, struct error *err) {
    if (out->answers == NULL)
        out->answers = json_array();
    return json_array_append(out->answers, answer) == 0 ? 0 : error_nomem(err, "a line of data");
}

static json_t *tail(const json_t *list, size_t start) {
    json_t *out = json_array();

    for (size_t i = start; out != NULL && i < json_array_size(list); i++)
        if (json_array_append(out, json_array_get(list, i)) != 0) {
            json_decref(out);
            return NULL;
        }
    return out;
}

/* The messages that all answers begin with are the prompt. */
static int split_lists(struct columns *out, struct error *err) {
    json_t *first = json_array_get(out->answers, 0), *rest = json_array(), *prompt;
    size_t common = json_array_size(first);
    int rc = 0;

    for (size_t k = 0; k < json_array_size(out->answers); k++) {
        const json_t *list = json_array_get(out->answers, k);
        size_t n = 0;
        /* each keeps at least one message of its own */
        while (n < common && n + 1 < json_array_size(list) && n + 1 < json_array_size(first) &&
               json_equal(json_array_get(first, n), json_array_get(list, n)))
            n++;
        common = n;
    }
    if (common == 0) {
        json_decref(rest);
        return error_input(err, "there is no 'prompt', and 'chosen' and 'rejected' do not begin with the same messages");
    }
    prompt = tail(first, 0);
    while (prompt != NULL && json_array_size(prompt) > common)
        json_array_remove(prompt, json_array_size(prompt) - 1);
    if (prompt == NULL || rest == NULL)
        rc = error_nomem(err, "a line of data");
    for (size_t k = 0; rc == 0 && k < json_array_size(out->answers); k++)
        if (json_array_append_new(rest, tail(json_array_get(out->answers, k), common)) != 0)
            rc = error_nomem(err, "a line of data");
    if (rc != 0) {
        json_decref(prompt);
        json_decref(rest);
        return rc;
    }
    json_decref(out->prompt);
    json_decref(out->answers);
    out->prompt = prompt;
    out->answers = rest;
    return 0;
}

/* As TRL's extract_prompt: the common beginning of two strings, a space at its end left to the answers. */
static int split_strings(struct columns *out, struct error *err) {
    const json_t *a = json_array_get(out->answers, 0), *b = json_array_get(out->answers, 1);
    const char *x = json_string_value(a), *y = json_string_value(b);
    const size_t nx = json_string_length(a), ny = json_string_length(b);
    json_t *rest = json_array(), *prompt;
    size_t n = 0;

    while (n < nx && n < ny && x[n] == y[n])
        n++;
    while (n > 0 && n < nx && ((unsigned char)x[n] & 0xc0) == 0x80)
        n--; /* not inside a character */
    while (n > 0 && n < ny && ((unsigned char)y[n] & 0xc0) == 0x80)
        n--;
    if (n > 0 && x[n - 1] == ' ')
        n--;
    prompt = json_stringn(x, n);
    if (prompt == NULL || rest == NULL || json_array_append_new(rest, json_stringn(x + n, nx - n)) != 0 ||
        json_array_append_new(rest, json_stringn(y + n, ny - n)) != 0) {
        json_decref(prompt);
        json_decref(rest);
        return error_nomem(err, "a line of data");
    }
    json_decref(out->prompt);
    json_decref(out->answers);
    out->prompt = prompt;
    out->answers = rest;
    return 0;
}

static int read_pairs(const json_t *row, bool tokens, struct columns *out, struct error *err) {
    static const char *const names[2][2] = {{"chosen", "rejected"}, {"chosen_ids", "rejected_ids"}};
    json_t *pair[2];

    out->kind = REIN_DATA_PAIRS;
    for (int i = 0; i < 2; i++) {
        const char *name = names[tokens][i];
        char what[64];
        pair[i] = column(row, name);
        if (pair[i] == NULL) {
            snprintf(what, sizeof what, "the column '%s' is missing", name);
            return refuse(row, err, what);
        }
        if (check(pair[i], name, tokens, err) != 0 || keep_answer(out, pair[i], err) != 0)
            return -1;
    }
    if (json_typeof(pair[0]) != json_typeof(pair[1]))
        return error_input(err, "'chosen' is %s and 'rejected' is %s", field_kind(pair[0]), field_kind(pair[1]));
    if (!tokens && read_margin(row, out, err) != 0)
        return -1;
    if (tokens)
        return out->prompt != NULL ? read_margin(row, out, err) : refuse(row, err, "the column 'prompt_ids' is missing");
    /* beside a string prompt, message lists hold the whole conversation (as in UltraFeedback) */
    if (json_is_array(pair[0]) && (out->prompt == NULL || json_is_string(out->prompt)))
        return split_lists(out, err);
    return out->prompt == NULL ? split_strings(out, err) : 0;
}

static int read_ranked(const json_t *row, struct columns *out, struct error *err) {
    json_t *ranked = column(row, "ranked");

    out->kind = REIN_DATA_LISTS;
    if (!json_is_array(ranked))
        return error_input(err, "'ranked' must be a list, best first, not %s", field_kind(ranked));
    if (json_array_size(ranked) < 2)
        return error_input(err, "'ranked' must hold at least two answers");
    if (out->prompt == NULL)
        return refuse(row, err, "the column 'prompt' is missing");
    for (size_t i = 0; i < json_array_size(ranked); i++)
        if (check_text(json_array_get(ranked, i), "ranked", err) != 0 ||
            keep_answer(out, json_array_get(ranked, i), err) != 0)
            return -1;
    return 0;
}

static int read_completion(const json_t *row, const char *name, struct columns *out, struct error *err) {
    json_t *completion = column(row, name);

    out->kind = column(row, "label") != NULL ? REIN_DATA_LABELLED : REIN_DATA_COMPLETIONS;
    if (out->prompt == NULL)
        return refuse(row, err, out->tokens ? "the column 'prompt_ids' is missing" : "the column 'prompt' is missing");
    if (check(completion, name, out->tokens, err) != 0 || keep_answer(out, completion, err) != 0)
        return -1;
    return out->kind == REIN_DATA_LABELLED ? read_label(row, &out->label, err) : 0;
}

static int read_whole(const json_t *row, const char *name, struct columns *out, struct error *err) {
    json_t *value = column(row, name);

    out->kind = REIN_DATA_COMPLETIONS;
    out->whole = true;
    if (strcmp(name, "text") == 0 && !json_is_string(value))
        return error_input(err, "'text' must be a string, not %s", field_kind(value));
    if (strcmp(name, "messages") == 0 && !json_is_array(value))
        return error_input(err, "'messages' must be a list of messages, not %s", field_kind(value));
    if (strcmp(name, "input_ids") == 0) {
        out->mask = column(row, "completion_mask");
        if (check_ids(value, name, err) != 0)
            return -1;
        if (out->mask != NULL &&
            (!json_is_array(out->mask) || json_array_size(out->mask) != json_array_size(value)))
            return error_input(err, "'completion_mask' must be a list as long as 'input_ids'");
    }
    return keep_answer(out, value, err);
}

static int read_any(const json_t *row, struct columns *out, struct error *err) {
    json_t *prompt = column(row, "prompt_ids");

    out->tokens = prompt != NULL || column(row, "input_ids") != NULL;
    if (prompt == NULL && !out->tokens)
        prompt = column(row, "prompt");
    if (prompt != NULL) {
        if (check(prompt, out->tokens ? "prompt_ids" : "prompt", out->tokens, err) != 0)
            return -1;
        out->prompt = json_incref(prompt);
    }
    if (out->tokens) {
        if (column(row, "chosen_ids") != NULL || column(row, "rejected_ids") != NULL)
            return read_pairs(row, true, out, err);
        if (column(row, "completion_ids") != NULL)
            return read_completion(row, "completion_ids", out, err);
        if (column(row, "input_ids") != NULL)
            return read_whole(row, "input_ids", out, err);
    } else {
        if (column(row, "chosen") != NULL || column(row, "rejected") != NULL)
            return read_pairs(row, false, out, err);
        if (column(row, "ranked") != NULL)
            return read_ranked(row, out, err);
        if (column(row, "completion") != NULL)
            return read_completion(row, "completion", out, err);
        if (prompt == NULL && column(row, "messages") != NULL)
            return read_whole(row, "messages", out, err);
        if (prompt == NULL && column(row, "text") != NULL)
            return read_whole(row, "text", out, err);
    }
    if (out->prompt == NULL)
        return refuse(row, err, "none of the columns text, messages, prompt, completion, chosen, rejected, ranked or "
                                "input_ids is there");
    out->kind = REIN_DATA_PROMPTS;
    return 0;
}

/* The prompt of a conversation is all of it but an answer at its end. */
static int prompt_of_messages(struct columns *c, struct error *err) {
    const json_t *messages = json_array_get(c->answers, 0);
    const size_t n = json_array_size(messages);
    const char *last = json_string_value(json_object_get(json_array_get(messages, n ? n - 1 : 0), "role"));

    c->prompt = tail(messages, 0);
    if (c->prompt == NULL)
        return error_nomem(err, "a line of data");
    if (last != NULL && strcmp(last, "assistant") == 0)
        json_array_remove(c->prompt, n - 1);
    return 0;
}

static int only_prompt(const json_t *row, struct columns *c, struct error *err) {
    if (c->kind == REIN_DATA_PROMPTS)
        return 0;
    if (c->whole && column(row, "messages") != NULL && prompt_of_messages(c, err) != 0)
        return -1;
    if (c->prompt == NULL)
        return refuse(row, err, "the column 'prompt' is missing");
    json_decref(c->answers);
    c->answers = NULL;
    c->whole = false;
    c->kind = REIN_DATA_PROMPTS;
    return 0;
}

static int accept(const json_t *row, uint32_t kinds, struct columns *c, struct error *err) {
    struct buffer wanted = {0};

    if (kinds == REIN_DATA_PROMPTS)
        return only_prompt(row, c, err);
    if (c->kind == REIN_DATA_LABELLED && !(kinds & REIN_DATA_LABELLED) && (kinds & REIN_DATA_COMPLETIONS))
        c->kind = REIN_DATA_COMPLETIONS; /* a label that nobody asks for */
    if (c->kind & kinds)
        return 0;
    for (size_t i = 0; i < sizeof kind_names / sizeof *kind_names; i++)
        if (kinds & kind_names[i].kind)
            buffer_printf(&wanted, "%s%s", wanted.length ? ", or " : "", kind_names[i].name);
    buffer_printf(&wanted, " needed here, but this line has %s", columns_name(c->kind));
    if (wanted.failed)
        error_nomem(err, "a line of data");
    else
        refuse(row, err, wanted.data);
    buffer_free(&wanted);
    return -1;
}

int columns_read(const json_t *row, uint32_t kinds, struct columns *out, struct error *err) {
    *out = (struct columns){0};
    if (!json_is_object(row))
        return error_input(err, "a line must be a JSON object, not %s", field_kind(row));
    if (read_any(row, out, err) == 0 && accept(row, kinds, out, err) == 0)
        return 0;
    columns_free(out);
    return -1;
}

void columns_free(struct columns *c) {
    json_decref(c->prompt);
    json_decref(c->answers);
    *c = (struct columns){0};
}
