/* SPDX-License-Identifier: MIT */
#include "text/template_yaml.h"

#include "base/suggest.h"
#include "text/template_parts.h"

#include <stdlib.h>
#include <string.h>

struct spelled {
    const char *system, *user, *assistant, *generation, *default_system;
    int64_t bos;
    uint8_t trim;
};

static const char *const bos_choices[] = {"tokenizer", "always", "never", NULL};
static const enum template_bos bos_kinds[] = {BOS_PREFIX, BOS_ALWAYS, BOS_NONE};

#define ROW(field, t) .name = #field, .type = REIN_PARAM_##t, .offset = offsetof(struct spelled, field)
static const struct rein_param rows[] = {
    {ROW(user, STRING), .flags = REIN_PARAM_REQUIRED,
     .doc = "A user's turn: {content} stands once for the message, {eos} for the end-of-text token, {{ for a brace."},
    {ROW(assistant, STRING), .flags = REIN_PARAM_REQUIRED,
     .doc = "The assistant's turn. What follows {content}, up to white space at the end, ends the turn and is learnt."},
    {ROW(system, STRING), .doc = "The system's turn; left out, messages of that role are refused."},
    {ROW(generation, STRING),
     .doc = "What invites the assistant to write; left out, what stands before its {content}."},
    {ROW(default_system, STRING),
     .doc = "Content of a system turn in front of conversations that do not begin with one."},
    {ROW(bos, CHOICE), .dflt = "tokenizer", .choices = bos_choices,
     .doc = "The beginning-of-text token in front: as the tokenizer's post-processor does, always, or never."},
    {ROW(trim, BOOL), .dflt = "false", .doc = "Take the white space around each message away."},
    {.name = NULL},
};
const struct params template_params = {"template", rows, sizeof(rows[0]), sizeof(struct spelled)};

struct reading {
    struct params_marks marks;
    struct arena *arena;
    struct error *err;
};

static int refuse(const struct reading *r, const char *key, const char *text) {
    return params_fail(&r->marks, key, text, r->err);
}

/* "{conten}" at `at`: says what was meant. */
static int unknown_word(const struct reading *r, const char *key, const char *at, size_t length) {
    struct suggestion near = {0};
    char word[32], hint[64], text[160];

    snprintf(word, sizeof(word), "%.*s", (int)(length < 24 ? length : 24), at);
    suggest_offer(&near, word, "content");
    suggest_offer(&near, word, "eos");
    snprintf(text, sizeof(text), "{%s} is neither {content} nor {eos}%s; a brace is written {{ or }}", word,
             suggest_text(&near, hint, sizeof(hint)));
    return refuse(r, key, text);
}

/* Resolves braces: what stands before {content} and behind it, in the arena. */
static int split(const struct reading *r, const char *key, const char *from, bool has_content, char **before,
                 char **after) {
    const size_t size = strlen(from) + 1;
    char *out = arena_alloc(r->arena, size), *end = arena_alloc(r->arena, size), *at = out;

    if (out == NULL || end == NULL)
        return error_nomem(r->err, "chat template");
    *before = out;
    *after = NULL;
    for (; *from != '\0'; from++) {
        const size_t word = strcspn(from + 1, "{}");
        if (*from == *TEMPLATE_EOS)
            return refuse(r, key, "holds a control character");
        if ((*from == '{' || *from == '}') && from[1] == *from) {
            *at++ = *from++;
        } else if (*from == '}' || (*from == '{' && from[1 + word] != '}')) {
            return refuse(r, key, "has a brace without its other half; a brace is written {{ or }}");
        } else if (*from != '{') {
            *at++ = *from;
        } else if (word == 3 && strncmp(from, "{eos}", 5) == 0) {
            *at++ = *TEMPLATE_EOS;
            from += 4;
        } else if (word != 7 || strncmp(from, "{content}", 9) != 0) {
            return unknown_word(r, key, from + 1, word);
        } else if (!has_content || *after != NULL) {
            return refuse(r, key, has_content ? "has {content} twice" : "must not have {content}");
        } else {
            *at = '\0';
            *after = at = end;
            from += 8;
        }
    }
    *at = '\0';
    return has_content && *after == NULL ? refuse(r, key, "needs {content}, once, where the message goes") : 0;
}

/* The white space at the end is nobody's to learn: tail. */
static int read_turn(const struct reading *r, const char *key, const char *from, struct turn *out) {
    char *before, *after, *stop;
    size_t n;

    if (from == NULL)
        return 0;
    if (split(r, key, from, true, &before, &after) != 0)
        return -1;
    for (n = strlen(after); n > 0 && strchr(" \t\r\n", after[n - 1]) != NULL; n--)
        ;
    stop = arena_strdup(r->arena, after);
    if (stop == NULL)
        return error_nomem(r->err, "chat template");
    stop[n] = '\0';
    *out = (struct turn){before, stop, after + n};
    return 0;
}

/* A whole turn of the system's with these words. */
static int read_default(const struct reading *r, const char *words, const struct turn *system, const char **out) {
    size_t size;
    char *text;

    if (words == NULL)
        return 0;
    if (system->before == NULL)
        return refuse(r, "default_system", "needs 'system', the turn that it stands in");
    if (strchr(words, *TEMPLATE_EOS) != NULL)
        return refuse(r, "default_system", "holds a control character");
    size = strlen(system->before) + strlen(words) + strlen(system->stop) + strlen(system->tail) + 1;
    text = arena_alloc(r->arena, size);
    if (text == NULL)
        return error_nomem(r->err, "chat template");
    snprintf(text, size, "%s%s%s%s", system->before, words, system->stop, system->tail);
    *out = text;
    return 0;
}

int template_read(const struct node *mapping, struct arena *arena, const struct chat_template **out,
                  struct error *err) {
    const struct reading r = {{mapping, &template_params}, arena, err};
    const struct spelled *s = params_bind(&template_params, mapping, NULL, arena, err);
    struct chat_template *c = arena_alloc(arena, sizeof(*c));
    const struct turn *assistant;
    char *generation, *after;

    if (s == NULL)
        return -1;
    if (c == NULL)
        return error_nomem(err, "chat template");
    *c = (struct chat_template){.name = "spelled out", .bos = bos_kinds[s->bos], .trim = s->trim != 0};
    assistant = &c->turns[TEMPLATE_ASSISTANT];
    if (read_turn(&r, "user", s->user, &c->turns[TEMPLATE_USER]) != 0 ||
        read_turn(&r, "assistant", s->assistant, &c->turns[TEMPLATE_ASSISTANT]) != 0 ||
        read_turn(&r, "system", s->system, &c->turns[TEMPLATE_SYSTEM]) != 0 ||
        read_default(&r, s->default_system, &c->turns[TEMPLATE_SYSTEM], &c->default_system) != 0)
        return -1;
    c->generation = assistant->before;
    if (s->generation != NULL && split(&r, "generation", s->generation, false, &generation, &after) != 0)
        return -1;
    if (s->generation != NULL)
        c->generation = generation;
    if (assistant->stop[0] != '\0' && strcmp(assistant->stop, TEMPLATE_EOS) != 0)
        c->end_of_turn = assistant->stop;
    *out = c;
    return 0;
}
