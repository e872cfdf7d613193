/* SPDX-License-Identifier: MIT */
#include "base/buffer.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/mempeak.h"
#include "cli/session.h"
#include "model/generate.h"
#include "text/rows.h"

#include <rein/algorithm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* What the command line says. */
struct wishes {
    const char *model, *base, *prompt, *prompts, *template;
    int64_t max_tokens, top_k, seed, group;
    double temperature, top_p;
    bool ignore_eos, json;
    struct cli_many stop;
};

/* The prompts' ids one after the other. */
struct prompts {
    uint32_t count;
    uint32_t *offset;
    struct ids ids;
    struct dataset data;
};

static int check_wishes(const struct command *self, const struct wishes *w) {
    if (w->prompt && w->prompts)
        return cli_usage(self, "give PROMPT or --prompts, not both");
    if (w->max_tokens < 1 || w->max_tokens > INT32_MAX)
        return cli_usage(self, "--max-tokens must lie in [1, 2147483647]");
    if (!(w->temperature >= 0 && w->temperature <= 1e6))
        return cli_usage(self, "--temperature must lie in [0, 1e6]");
    if (!(w->top_p > 0 && w->top_p <= 1))
        return cli_usage(self, "--top-p must lie above 0 and be at most 1");
    if (w->top_k < 0)
        return cli_usage(self, "--top-k must be at least 0");
    if (w->group < 1 || w->group > 4096)
        return cli_usage(self, "--samples must lie in [1, 4096]");
    return CLI_GO;
}

static int chat_of(const struct wishes *w, const struct model *m, const struct chat_template **out, struct error *err) {
    *out = NULL;
    if (w->template)
        return (*out = template_find(w->template, err)) ? 0 : -1;
    if (model_tokenizer(m) && template_recognise(model_tokenizer(m), out, NULL))
        *out = NULL; /* unknown: message lists will be refused */
    return 0;
}

/* PROMPT as a line {prompt} of a file would be read: as it is, or as a user's turn when --template is given. */
static int prompt_from_text(const struct wishes *w, const struct model *m, const struct chat_template *chat,
                            struct prompts *p, struct error *err) {
    struct dataset_options options = {
        .tokenizer = model_tokenizer(m), .chat = chat, .template_strings = w->template != NULL};
    struct columns line = {.kind = REIN_DATA_PROMPTS, .prompt = json_string(w->prompt ? w->prompt : "")};
    struct row_ids row = {0};
    int rc;

    p->offset = mem_zeros(2, sizeof(*p->offset));
    if (!line.prompt)
        rc = error_input(err, "the prompt is not UTF-8");
    else if (!p->offset)
        rc = error_nomem(err, "prompt");
    else
        rc = rows_prompt(&options, &line, &row, err) || ids_append(&p->ids, row.ids.data, row.ids.count, err);
    if (rc == 0) {
        p->count = 1;
        p->offset[1] = (uint32_t)p->ids.count;
    }
    row_ids_free(&row);
    json_decref(line.prompt);
    return rc ? -1 : 0;
}

static int prompts_from_file(const struct wishes *w, const struct model *m, const struct chat_template *chat,
                             struct prompts *p, struct error *err) {
    const struct model_config *c = model_config(m);
    struct dataset_options options = {
        .tokenizer = model_tokenizer(m),
        .chat = chat,
        .template_strings = w->template != NULL,
        .kinds = REIN_DATA_PROMPTS,
        .context = c->positions > 0 && c->positions < UINT32_MAX ? (uint32_t)c->positions : 0,
        .prompt_room = c->positions > 1 && c->positions < UINT32_MAX ? (uint32_t)c->positions - 1 : 0,
        .strict_prompts = true,
        .vocabulary = (size_t)c->vocabulary,
    };

    if (dataset_load(w->prompts, &options, &p->data, err))
        return -1;
    if (p->data.nrows > INT32_MAX || p->data.tokens > INT32_MAX)
        return error_input(err, "%s: too many prompts", w->prompts);
    p->offset = mem_zeros(p->data.nrows + 1, sizeof(*p->offset));
    if (!p->offset)
        return error_nomem(err, "prompts");
    for (size_t i = 0; i < p->data.nrows; i++) {
        const struct data_row *row = &p->data.rows[i];

        if (ids_append(&p->ids, row->ids, row->length, err))
            return -1;
        p->offset[i + 1] = (uint32_t)p->ids.count;
    }
    p->count = (uint32_t)p->data.nrows;
    return 0;
}

/* All that ends a completion: the model's EOS tokens, and the template's end of a turn. */
static uint32_t eos_of(const struct model *m, const struct chat_template *chat, int32_t *out) {
    const struct model_config *c = model_config(m);
    int32_t turn = chat && model_tokenizer(m) ? template_end_of_turn(chat, model_tokenizer(m)) : -1;
    uint32_t n = 0;

    while (n < c->neos) {
        out[n] = c->eos[n];
        n++;
    }
    if (n == 0 && model_tokenizer(m) && tokenizer_eos(model_tokenizer(m)) >= 0)
        out[n++] = tokenizer_eos(model_tokenizer(m));
    if (turn >= 0)
        out[n++] = turn;
    return n;
}

/* The text of completion c without special tokens, up to the first stop string. */
static void completion_text(const struct wishes *w, const struct model *m, const struct generation *g, uint32_t c,
                            struct buffer *text) {
    buffer_clear(text);
    if (model_tokenizer(m))
        tokenizer_decode(model_tokenizer(m), g->ids + g->offset[c], g->offset[c + 1] - g->offset[c], true, text);
    for (size_t i = 0; i < w->stop.count && text->data; i++) {
        const char *at = *w->stop.items[i] ? strstr(text->data, w->stop.items[i]) : NULL;

        if (at) {
            text->length = (size_t)(at - text->data);
            text->data[text->length] = '\0';
        }
    }
}

static void print_completion(const struct wishes *w, const struct generation *g, uint32_t c, const struct buffer *text,
                             struct buffer *out) {
    const char *chars = text->data ? text->data : "";

    if (!w->json) {
        buffer_printf(out, "%s\n", chars);
        return;
    }
    buffer_text(out, "{\"completion\":");
    buffer_json_string(out, chars, text->length);
    buffer_text(out, ",\"completion_ids\":[");
    for (uint32_t i = g->offset[c]; i < g->offset[c + 1]; i++)
        buffer_printf(out, "%s%d", i > g->offset[c] ? "," : "", g->ids[i]);
    buffer_text(out, "],\"logprobs\":[");
    for (uint32_t i = g->offset[c]; i < g->offset[c + 1]; i++)
        buffer_printf(out, "%s%.9g", i > g->offset[c] ? "," : "", (double)g->logp[i]);
    buffer_text(out, "]}\n");
}

static double seconds(void) {
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int timed_generate(struct model *m, const struct generate_request *r, struct generation *g, struct error *err) {
    const double began = seconds();
    double taken;

    if (generate(m, r, g, err))
        return -1;
    taken = seconds() - began;
    log_debug("%u completions, %u tokens in %.3f s, %.0f tokens/s, peak memory %llu MiB", g->count, g->offset[g->count],
              taken, taken > 0 ? g->offset[g->count] / taken : 0, (unsigned long long)(mempeak() >> 20));
    return 0;
}

static int generate_all(const struct wishes *w, struct model *m, const struct prompts *p,
                        const struct chat_template *chat, struct buffer *out, struct error *err) {
    int32_t eos[CONFIG_MAX_EOS + 2];
    struct buffer text = {0};
    struct generation g;
    struct generate_request r = {
        .prompts = p->count,
        .offset = p->offset,
        .ids = p->ids.data,
        .group = (uint32_t)w->group,
        .max_tokens = (uint32_t)w->max_tokens,
        .temperature = w->temperature,
        .top_p = w->top_p,
        .top_k = w->top_k,
        .eos = eos,
        .ignore_eos = w->ignore_eos,
        .stop = w->stop.items,
        .nstop = (uint32_t)w->stop.count,
        .seed = (uint64_t)w->seed,
    };

    r.neos = eos_of(m, chat, eos);
    if (timed_generate(m, &r, &g, err))
        return -1;
    for (uint32_t c = 0; c < g.count; c++) {
        completion_text(w, m, &g, c, &text);
        print_completion(w, &g, c, &text, out);
    }
    generation_free(&g);
    if (text.failed || out->failed)
        error_nomem(err, "output");
    buffer_free(&text);
    return out->failed || text.failed ? -1 : 0;
}

static int work(const struct wishes *w, const struct cli_common *common, struct buffer *out, struct error *err) {
    struct model_source source = {.path = w->model, .base = w->base};
    const struct chat_template *chat;
    struct session session = {0};
    struct prompts prompts = {0};
    struct model *m = NULL;
    int rc;

    rc = session_backend(common, NULL, &session, err) || model_open(session.backend, &source, &m, err) ||
         chat_of(w, m, &chat, err) ||
         (w->prompts ? prompts_from_file(w, m, chat, &prompts, err) : prompt_from_text(w, m, chat, &prompts, err)) ||
         generate_all(w, m, &prompts, chat, out, err);
    free(prompts.offset);
    ids_free(&prompts.ids);
    dataset_free(&prompts.data);
    model_close(m);
    session_close(&session);
    return rc ? -1 : 0;
}

static int run(const struct command *self, int argc, char **argv) {
    struct wishes w = {.max_tokens = 64, .top_p = 1, .group = 1};
    const struct cli_option options[] = {
        {"--base", CLI_TEXT, &w.base, "PATH", "an adapter's base model, in place of the one that it names"},
        {"--prompts", CLI_TEXT, &w.prompts, "FILE", "a JSONL file of prompts: prompt (text or messages) or prompt_ids"},
        {"--max-tokens", CLI_INT, &w.max_tokens, "N", "at most N tokens a completion (default 64)"},
        {"--temperature", CLI_REAL, &w.temperature, "T", "0 takes the likeliest token (default), 1 samples as trained"},
        {"--top-k", CLI_INT, &w.top_k, "K", "sample among the K likeliest tokens (default 0: all)"},
        {"--top-p", CLI_REAL, &w.top_p, "P",
         "sample among the likeliest tokens that make up this share (default 1: all)"},
        {"--samples", CLI_INT, &w.group, "N", "completions of each prompt (default 1)"},
        {"--seed", CLI_INT, &w.seed, "N", "of the random numbers (default 0)"},
        {"--ignore-eos", CLI_FLAG, &w.ignore_eos, NULL, "go on to --max-tokens"},
        {"--stop", CLI_MANY, &w.stop, "TEXT", "end where this text appears; may be repeated"},
        {"--template", CLI_TEXT, &w.template, "NAME", "chat template: prompts in text become a user's turn"},
        {0},
    };
    struct cli_common common;
    struct buffer out = {0};
    struct error err = {0};
    const char *words[2];
    int rc = cli_parse(self, argc, argv, options, &common, words, 1, 2);

    if (rc != CLI_GO)
        return rc;
    w.model = words[0];
    w.prompt = words[1];
    w.json = common.json;
    rc = check_wishes(self, &w);
    if (rc != CLI_GO)
        return rc;
    rc = work(&w, &common, &out, &err);
    if (rc == 0 && out.data)
        fputs(out.data, stdout);
    buffer_free(&out);
    return rc ? cli_fail(&err) : 0;
}

const struct command command_generate = {
    "generate",
    "MODEL [PROMPT]",
    "Continues a prompt, or every prompt of a file.",
    "MODEL is a Hugging Face folder or a .gguf file. With --json each completion is a line with `completion` (text),\n"
    "`completion_ids` and `logprobs` (of the full distribution at the temperature).",
    CLI_BACKEND | CLI_JSON,
    run,
};
