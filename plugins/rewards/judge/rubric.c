/* SPDX-License-Identifier: MIT */
#include "rewards/judge/rubric.h"

#include <stdio.h>
#include <string.h>

static rein_status wrong(const struct rein_host *host, size_t at, const char *what, struct span name) {
    char text[200];

    snprintf(text, sizeof(text), "at character %zu: %s%.*s%s", at + 1, what, (int)(name.length < 60 ? name.length : 60),
             name.length ? name.text : "", name.length ? "}" : "");
    return host->fail_param(host->ctx, "rubric", text);
}

static int same(struct span a, const char *b) {
    return strlen(b) == a.length && !memcmp(a.text, b, a.length);
}

/* RUBRIC_TEXT when nothing has that name. */
static int32_t place(struct span name, const struct rein_list *columns) {
    const char *const *names = columns->items;

    if (same(name, "prompt"))
        return RUBRIC_PROMPT;
    if (same(name, "completion"))
        return RUBRIC_COMPLETION;
    for (uint64_t i = 0; i < columns->count; i++)
        if (same(name, names[i]))
            return (int32_t)i;
    return RUBRIC_TEXT;
}

/* One piece that begins at text[*at]; *at moves past it. */
static rein_status next(const struct rein_host *host, const char *text, size_t *at, const struct rein_list *columns,
                        struct piece *out) {
    size_t from = *at, length = strcspn(text + from, "{}");
    struct span name = {text + from + 1, 0}, none = {"", 0};

    *out = (struct piece){RUBRIC_TEXT, {text + from, length}};
    *at = from + length;
    if (length)
        return REIN_OK;
    if (text[from + 1] == text[from]) { /* {{ and }} are the braces themselves */
        out->text.length = 1;
        *at = from + 2;
        return REIN_OK;
    }
    if (text[from] == '}')
        return wrong(host, from, "a '}' without '{' (a brace itself is written twice)", none);
    name.length = strcspn(name.text, "{}");
    if (name.text[name.length] != '}')
        return wrong(host, from, "a '{' without '}' (a brace itself is written twice)", none);
    out->what = place(name, columns);
    if (out->what == RUBRIC_TEXT)
        return wrong(host, from, "neither prompt, completion nor one of 'columns' is called {", name);
    *at = from + name.length + 2;
    return REIN_OK;
}

rein_status rubric_read(const struct rein_host *host, const char *text, const struct rein_list *columns,
                        struct rubric *out) {
    const size_t length = strlen(text);
    rein_status status = REIN_OK;
    int asks = 0;

    out->count = 0;
    out->pieces = host->alloc(host->ctx, (length + 1) * sizeof(*out->pieces)); /* a piece takes a character at least */
    if (!out->pieces)
        return host->fail(host->ctx, REIN_ERR_NOMEM, "out of memory");
    for (size_t at = 0; at < length && status == REIN_OK;) {
        status = next(host, text, &at, columns, &out->pieces[out->count]);
        asks |= out->pieces[out->count++].what == RUBRIC_COMPLETION;
    }
    if (status == REIN_OK && !asks)
        status = host->fail_param(host->ctx, "rubric", "has no {completion}: every completion would be judged alike");
    if (status != REIN_OK)
        rubric_free(host, out);
    return status;
}

void rubric_free(const struct rein_host *host, struct rubric *r) {
    host->free(host->ctx, r->pieces);
    r->pieces = NULL;
}

char *rubric_fill(const struct rein_host *host, const struct rubric *r, struct span prompt, struct span completion,
                  const struct span *columns) {
    size_t length = 0;
    char *text = NULL;

    for (int writing = 0; writing < 2; writing++) {
        length = 0;
        for (size_t i = 0; i < r->count; i++) {
            const struct piece *p = &r->pieces[i];
            const struct span what = p->what == RUBRIC_TEXT         ? p->text
                                     : p->what == RUBRIC_PROMPT     ? prompt
                                     : p->what == RUBRIC_COMPLETION ? completion
                                                                    : columns[p->what];
            if (writing && what.length)
                memcpy(text + length, what.text, what.length);
            length += what.length;
        }
        if (writing)
            text[length] = 0;
        else if (!(text = host->alloc(host->ctx, length + 1)))
            return NULL;
    }
    return text;
}
