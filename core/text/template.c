/* SPDX-License-Identifier: MIT */
#include "text/template.h"

#include "base/mem.h"
#include "base/suggest.h"
#include "base/utf8.h"
#include "text/fields.h"
#include "text/template_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const role_names[TEMPLATE_ROLES] = {"system", "user", "assistant"};

#define EOS TEMPLATE_EOS

#define CHATML_TURN(role) {"<|im_start|>" role "\n", "<|im_end|>", "\n"}
#define CHATML_TURNS      {CHATML_TURN("system"), CHATML_TURN("user"), CHATML_TURN("assistant")}
#define LLAMA3_TURN(role) {"<|start_header_id|>" role "<|end_header_id|>\n\n", "<|eot_id|>", ""}
#define GEMMA_TURN(role)    {"<start_of_turn>" role "\n", "<end_of_turn>", "\n"}
#define MISTRAL_TURNS(tail) {{0}, {"[INST] ", "", " [/INST]"}, {"", EOS, tail}}
#define ZEPHYR_TURN(role) {"<|" role "|>\n", EOS, "\n"}

static const struct chat_template templates[] = {
    {.name = "chatml",
     .turns = CHATML_TURNS,
     .generation = "<|im_start|>assistant\n",
     .end_of_turn = "<|im_end|>"},
    {.name = "smollm2",
     .default_system = "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging "
                       "Face<|im_end|>\n",
     .turns = CHATML_TURNS,
     .generation = "<|im_start|>assistant\n",
     .end_of_turn = "<|im_end|>"},
    {.name = "qwen2.5",
     .default_system =
         "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n",
     .turns = CHATML_TURNS,
     .generation = "<|im_start|>assistant\n",
     .end_of_turn = "<|im_end|>"},
    {.name = "qwen3",
     .turns = CHATML_TURNS,
     .generation = "<|im_start|>assistant\n",
     .end_of_turn = "<|im_end|>",
     .thinking = true},
    {.name = "llama3",
     .bos = BOS_ALWAYS,
     .turns = {LLAMA3_TURN("system"), LLAMA3_TURN("user"), LLAMA3_TURN("assistant")},
     .generation = "<|start_header_id|>assistant<|end_header_id|>\n\n",
     .end_of_turn = "<|eot_id|>",
     .trim = true},
    {.name = "zephyr",
     .turns = {ZEPHYR_TURN("system"), ZEPHYR_TURN("user"), ZEPHYR_TURN("assistant")},
     .generation = "<|assistant|>\n"},
    {.name = "alpaca",
     .bos = BOS_PREFIX,
     .default_system = "Below is an instruction that describes a task. Write a response that appropriately completes "
                       "the request.\n\n",
     .turns = {{"", "", "\n\n"}, {"### Instruction:\n", "", "\n\n"}, {"### Response:\n", EOS, "\n\n"}},
     .generation = "### Response:\n"},
    {.name = "gemma",
     .bos = BOS_ALWAYS,
     .turns = {{0}, GEMMA_TURN("user"), GEMMA_TURN("model")},
     .generation = "<start_of_turn>model\n",
     .end_of_turn = "<end_of_turn>",
     .trim = true,
     .alternate = true},
    /* Mistral 7B Instruct v0.2 and Mixtral; that of v0.1 has a space behind each answer */
    {.name = "mistral", .bos = BOS_ALWAYS, .turns = MISTRAL_TURNS(""), .generation = "", .alternate = true},
    {.name = "mistral-v0.1", .bos = BOS_ALWAYS, .turns = MISTRAL_TURNS(" "), .generation = "", .alternate = true},
    {.name = "plain", .bos = BOS_PREFIX, .turns = {{"", "", "\n"}, {"", "", "\n"}, {"", EOS, ""}}, .generation = ""},
};
enum { TEMPLATES = sizeof templates / sizeof *templates };

/* Known Jinja texts without a final newline: FNV-1a (64 bit) and length. The texts themselves and what Jinja makes
 * of them are in tests/golden. */
static const struct {
    uint64_t hash;
    size_t length;
    const char *name;
} known[] = {
    {0x88bf4138d5c826f0u, 196, "chatml"},  {0xa41d6bae9b9141bcu, 199, "chatml"},  {0x773d13e188afc917u, 291, "chatml"},
    {0xa534d2bc258d75a7u, 209, "chatml"},  {0x45ec583d4d25bc3au, 368, "smollm2"}, {0xe642ce246d7f2e3du, 2506, "qwen2.5"},
    {0x2bfdb7aa9754484eu, 4116, "qwen3"},  {0x0e60067a5537498eu, 389, "llama3"},  {0xcd8b49000db02c2cu, 410, "zephyr"},
    {0x06516ec7d0d2c597u, 596, "alpaca"},  {0xadbe3c192ef0a3ecu, 143, "plain"},
    {0x70f3cded3fb90051u, 594, "gemma"},
    {0x8c734b90b4f8d84du, 470, "mistral"},
    {0xc730acc029ce6ee0u, 477, "mistral-v0.1"},
};

static const struct chat_template *find(const char *name) {
    for (size_t i = 0; i < TEMPLATES; i++)
        if (strcmp(templates[i].name, name) == 0)
            return &templates[i];
    return NULL;
}

const struct chat_template *template_find(const char *name, struct error *err) {
    const struct chat_template *c = find(name);
    struct suggestion s = {0};
    char hint[96];

    if (c != NULL)
        return c;
    for (size_t i = 0; i < TEMPLATES; i++)
        suggest_offer(&s, name, templates[i].name);
    if (s.best != NULL)
        error_input(err, "there is no chat template '%s'%s", name, suggest_text(&s, hint, sizeof hint));
    else
        error_input(err, "there is no chat template '%s': there are chatml, smollm2, qwen2.5, qwen3, llama3, zephyr, "
                         "alpaca, gemma, mistral, mistral-v0.1 and plain", name);
    return NULL;
}

int template_recognise(const struct tokenizer *t, const struct chat_template **out, struct error *err) {
    const char *text = tokenizer_chat_template(t);
    uint64_t hash = 0xcbf29ce484222325u;
    size_t length;

    *out = NULL;
    if (text == NULL)
        return 0;
    length = strlen(text);
    if (length > 0 && text[length - 1] == '\n')
        length--; /* Jinja drops it too */
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (unsigned char)text[i]) * 0x100000001b3u;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].hash == hash && known[i].length == length) {
            *out = find(known[i].name);
            return 0;
        }
    return error_input(err, "the tokenizer's own chat template (%zu bytes of Jinja) is not one that is known here: name "
                            "one with 'template:', or spell its turns out there", length);
}

const char *template_name(const struct chat_template *c) {
    return c->name;
}

const char *template_list(size_t index) {
    return index < TEMPLATES ? templates[index].name : NULL;
}

int32_t template_end_of_turn(const struct chat_template *c, const struct tokenizer *t) {
    return c->end_of_turn == NULL ? -1 : tokenizer_id(t, c->end_of_turn);
}

/* ---- rendering ---------------------------------------------------------- */

struct ranges {
    struct text_range *items;
    size_t count, capacity;
};

struct rendered {
    const struct tokenizer *tokenizer;
    struct buffer text;
    struct ranges ordinary; /* words of the messages */
    struct ranges written;  /* by the assistant, the end of turn included */
};

static void rendered_free(struct rendered *r) {
    buffer_free(&r->text);
    free(r->ordinary.items);
    free(r->written.items);
}

static int add_range(struct ranges *r, size_t start, size_t end, struct error *err) {
    void *items = r->items;

    if (start >= end)
        return 0;
    if (mem_grow(&items, &r->capacity, r->count + 1, sizeof *r->items) != 0)
        return error_nomem(err, "a conversation");
    r->items = items;
    r->items[r->count++] = (struct text_range){start, end};
    return 0;
}

static void add_marker(struct rendered *r, const char *marker) {
    for (; *marker != '\0'; marker++) {
        if (*marker == *EOS) {
            const char *eos = tokenizer_token_text(r->tokenizer, tokenizer_eos(r->tokenizer));
            buffer_text(&r->text, eos == NULL ? "" : eos);
        } else {
            buffer_byte(&r->text, (unsigned char)*marker);
        }
    }
}

static int add_words(struct rendered *r, const char *text, size_t length, struct error *err) {
    const size_t start = r->text.length;

    buffer_add(&r->text, text, length);
    return add_range(&r->ordinary, start, r->text.length, err);
}

/* What Python's str.strip removes. */
static bool is_space(uint32_t c) {
    return (c >= 9 && c <= 13) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

struct words {
    const char *text;
    size_t length;
};

static struct words trim(struct words w) {
    size_t start = w.length, end = 0;

    for (size_t i = 0; i < w.length;) {
        uint32_t c;
        const size_t n = utf8_decode(w.text + i, w.length - i, &c);
        if (!is_space(c)) {
            start = i < start ? i : start;
            end = i + n;
        }
        i += n ? n : 1;
    }
    return start < end ? (struct words){w.text + start, end - start} : (struct words){w.text, 0};
}

static struct words trim_newlines(struct words w, bool left, bool right) {
    while (left && w.length > 0 && w.text[0] == '\n')
        w.text++, w.length--;
    while (right && w.length > 0 && w.text[w.length - 1] == '\n')
        w.length--;
    return w;
}

/* A message, checked: errors name it by its number, from 1. */
static int read_message(const json_t *messages, size_t index, enum template_role *role, struct words *content,
                        struct error *err) {
    const json_t *m = json_array_get(messages, index), *calls = json_object_get(m, "tool_calls");
    const json_t *text = json_object_get(m, "content");
    const char *name = json_string_value(json_object_get(m, "role"));

    if (!json_is_object(m))
        return error_input(err, "message %zu must be an object {role, content}, not %s", index + 1, field_kind(m));
    if (name == NULL)
        return error_input(err, "message %zu has no 'role'", index + 1);
    if (!json_is_string(text))
        return error_input(err, "'content' of message %zu must be a string, not %s", index + 1, field_kind(text));
    if (calls != NULL && !json_is_null(calls) && (!json_is_array(calls) || json_array_size(calls) > 0))
        return error_input(err, "message %zu has 'tool_calls', which are not supported", index + 1);
    for (*role = 0; *role < TEMPLATE_ROLES; (*role)++)
        if (strcmp(name, role_names[*role]) == 0) {
            *content = (struct words){json_string_value(text), json_string_length(text)};
            return 0;
        }
    return error_input(err, "the role of message %zu must be system, user or assistant, not '%.40s'", index + 1, name);
}

static const char *find_last(struct words w, const char *what) {
    const size_t n = strlen(what);

    for (size_t i = w.length + 1; i-- > 0;)
        if (w.length - i >= n && memcmp(w.text + i, what, n) == 0)
            return w.text + i;
    return NULL;
}

static const char *find_first(struct words w, const char *what) {
    const size_t n = strlen(what);

    for (size_t i = 0; i + n <= w.length; i++)
        if (memcmp(w.text + i, what, n) == 0)
            return w.text + i;
    return NULL;
}

/* Qwen3's reading of an assistant's content: "<think>reasoning</think>answer", or a member reasoning_content. */
static void split_thinking(const json_t *message, struct words *content, struct words *reasoning) {
    const json_t *own = json_object_get(message, "reasoning_content");
    const char *first, *last;
    struct words head;

    *reasoning = (struct words){"", 0};
    if (json_is_string(own)) {
        *reasoning = (struct words){json_string_value(own), json_string_length(own)};
        return;
    }
    first = find_first(*content, "</think>");
    last = find_last(*content, "</think>");
    if (first == NULL || last == NULL)
        return;
    head = trim_newlines((struct words){content->text, (size_t)(first - content->text)}, false, true);
    first = find_last(head, "<think>");
    if (first != NULL)
        head = (struct words){first + 7, head.length - (size_t)(first + 7 - head.text)};
    *reasoning = trim_newlines(head, true, false);
    last += 8;
    *content = trim_newlines((struct words){last, content->length - (size_t)(last - content->text)}, true, false);
}

/* The index of the last user turn that is not a tool's answer; Qwen3 keeps thoughts only behind it. */
static size_t last_question(const json_t *messages) {
    for (size_t i = json_array_size(messages); i-- > 0;) {
        const json_t *m = json_array_get(messages, i), *text = json_object_get(m, "content");
        const char *role = json_string_value(json_object_get(m, "role")), *s = json_string_value(text);
        const size_t n = json_string_length(text);
        if (role == NULL || s == NULL || strcmp(role, "user") != 0)
            continue;
        if (n >= 16 && memcmp(s, "<tool_response>", 15) == 0 && memcmp(s + n - 16, "</tool_response>", 16) == 0)
            continue;
        return i;
    }
    return json_array_size(messages) - 1;
}

static int add_content(const struct chat_template *c, struct rendered *r, const json_t *messages, size_t index,
                       enum template_role role, struct words content, struct error *err) {
    struct words reasoning;

    if (c->trim)
        content = trim(content);
    if (!c->thinking || role != TEMPLATE_ASSISTANT)
        return add_words(r, content.text, content.length, err);
    split_thinking(json_array_get(messages, index), &content, &reasoning);
    if (index > last_question(messages) && (index + 1 == json_array_size(messages) || reasoning.length > 0)) {
        reasoning = trim_newlines(reasoning, true, true);
        content = trim_newlines(content, true, false);
        add_marker(r, "<think>\n");
        if (add_words(r, reasoning.text, reasoning.length, err) != 0)
            return -1;
        add_marker(r, "\n</think>\n\n");
    }
    return add_words(r, content.text, content.length, err);
}

static void add_bos(const struct chat_template *c, struct rendered *r) {
    const struct tokenizer *t = r->tokenizer;
    const int32_t *ids, bos = tokenizer_bos(t);
    const size_t count = tokenizer_prefix(t, &ids);

    if (c->bos == BOS_ALWAYS && bos >= 0)
        buffer_text(&r->text, tokenizer_token_text(t, bos) ? tokenizer_token_text(t, bos) : "");
    for (size_t i = 0; c->bos == BOS_PREFIX && i < count; i++)
        buffer_text(&r->text, tokenizer_token_text(t, ids[i]) ? tokenizer_token_text(t, ids[i]) : "");
}

/* What the template has no place for. */
static int check_role(const struct chat_template *c, size_t index, enum template_role role, struct error *err) {
    const enum template_role due = index % 2 == 0 ? TEMPLATE_USER : TEMPLATE_ASSISTANT;

    if (c->turns[role].before == NULL)
        return error_input(err, "message %zu is from the %s, for which the chat template '%s' has no turn%s", index + 1,
                           role_names[role], c->name,
                           role == TEMPLATE_SYSTEM ? ": put its words into the first user message" : "");
    if (c->alternate && role != due)
        return error_input(err, "message %zu is from the %s, but the %s is due: the chat template '%s' has user and "
                                "assistant by turns, the user first", index + 1, role_names[role], role_names[due],
                           c->name);
    return 0;
}

static int render(const struct chat_template *c, struct rendered *r, const json_t *messages, bool generation,
                  struct error *err) {
    if (!json_is_array(messages))
        return error_input(err, "a conversation must be a list of messages, not %s", field_kind(messages));
    if (json_array_size(messages) == 0)
        return error_input(err, "a conversation is empty");
    add_bos(c, r);
    for (size_t i = 0; i < json_array_size(messages); i++) {
        enum template_role role = TEMPLATE_SYSTEM;
        struct words content = {"", 0};
        size_t start;
        if (read_message(messages, i, &role, &content, err) != 0 || check_role(c, i, role, err) != 0)
            return -1;
        if (i == 0 && role != TEMPLATE_SYSTEM && c->default_system != NULL)
            add_marker(r, c->default_system);
        add_marker(r, c->turns[role].before);
        start = r->text.length;
        if (add_content(c, r, messages, i, role, content, err) != 0)
            return -1;
        add_marker(r, c->turns[role].stop);
        if (role == TEMPLATE_ASSISTANT && add_range(&r->written, start, r->text.length, err) != 0)
            return -1;
        add_marker(r, c->turns[role].tail);
    }
    if (generation)
        add_marker(r, c->generation);
    buffer_text(&r->text, "");
    return r->text.failed ? error_nomem(err, "a conversation") : 0;
}

int template_text(const struct chat_template *c, const struct tokenizer *t, const json_t *messages, bool generation,
                  struct buffer *out, struct error *err) {
    struct rendered r = {.tokenizer = t};
    int rc = render(c, &r, messages, generation, err);

    if (rc == 0) {
        buffer_add(out, r.text.data, r.text.length);
        rc = out->failed ? error_nomem(err, "a conversation") : 0;
    }
    rendered_free(&r);
    return rc;
}

/* How many ids of the whole text come before place `end` of the text: as many as its beginning shares with it. */
static int ids_before(const struct rendered *r, size_t end, const struct ids *whole, size_t first, size_t *out,
                      struct error *err) {
    struct ids part = {0};
    size_t n = 0, ranges = 0;
    int rc;

    if (end == r->text.length) {
        *out = whole->count - first;
        return 0;
    }
    while (ranges < r->ordinary.count && r->ordinary.items[ranges].start < end)
        ranges++;
    rc = tokenizer_encode_ranges(r->tokenizer, r->text.data, end, TOKENIZE_SPECIAL, r->ordinary.items, ranges, &part,
                                 err);
    while (rc == 0 && n < part.count && first + n < whole->count && part.data[n] == whole->data[first + n])
        n++;
    *out = n;
    ids_free(&part);
    return rc;
}

static int add_mask(const struct rendered *r, const struct ids *ids, size_t first, struct buffer *mask,
                    struct error *err) {
    const size_t count = ids->count - first, base = mask->length;

    for (size_t i = 0; i < count; i++)
        buffer_byte(mask, 0);
    if (mask->failed)
        return error_nomem(err, "a conversation");
    for (size_t k = 0; k < r->written.count; k++) {
        size_t start, end;
        if (ids_before(r, r->written.items[k].start, ids, first, &start, err) != 0 ||
            ids_before(r, r->written.items[k].end, ids, first, &end, err) != 0)
            return -1;
        if (end > start)
            memset(mask->data + base + start, 1, end - start);
    }
    return 0;
}

int template_render(const struct chat_template *c, const struct tokenizer *t, const json_t *messages, bool generation,
                    struct ids *out, struct buffer *mask, struct error *err) {
    struct rendered r = {.tokenizer = t};
    const size_t first = out->count;
    int rc = render(c, &r, messages, generation, err);

    if (rc == 0)
        rc = tokenizer_encode_ranges(t, r.text.data, r.text.length, TOKENIZE_SPECIAL, r.ordinary.items,
                                     r.ordinary.count, out, err);
    if (rc == 0 && mask != NULL)
        rc = add_mask(&r, out, first, mask, err);
    rendered_free(&r);
    return rc;
}
