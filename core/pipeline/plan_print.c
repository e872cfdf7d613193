/* SPDX-License-Identifier: MIT */
#include "pipeline/plan.h"

#include <string.h>

static const char *head_name(enum model_head head) {
    return head == MODEL_LM ? "lm" : head == MODEL_SCORE ? "score" : "value";
}

static void count_text(uint64_t n, struct buffer *out) {
    if (n >= 1000000)
        buffer_printf(out, "%.1f M", (double)n / 1e6);
    else
        buffer_printf(out, "%.1f K", (double)n / 1e3);
}

static void print_line(const struct plan_model *m, const char *count, const char *size, struct buffer *out) {
    const char *from = m->with && !m->reward ? "(shares the model)" : m->use->from;

    buffer_printf(out, "  %-10s %-20s %-7s %-6s %10s parameters %10s", m->role, from,
                  m->use->source.trainable ? "trained" : "frozen", head_name(m->use->source.head), count, size);
    if (m->heads > 1)
        buffer_printf(out, ", %u heads", m->heads);
    if (m->with && m->reward)
        buffer_printf(out, ", on the trunk of %s", m->with);
    buffer_text(out, "\n");
}

static void print_model(const struct plan_model *m, struct buffer *out) {
    struct buffer count = {0}, size = {0};

    count_text(m->parameters, &count);
    buffer_bytes(&size, m->bytes);
    if (count.failed || size.failed)
        out->failed = true;
    else
        print_line(m, count.data, size.data, out);
    buffer_free(&count);
    buffer_free(&size);
}

void plan_print(const struct plan *plan, uint64_t limit, struct buffer *out) {
    for (size_t i = 0; i < plan->nstages; i++) {
        const struct plan_stage *ps = &plan->stages[i];

        buffer_printf(out, "%s:", ps->stage->name);
        for (size_t a = 0; a < ps->stage->nalgorithms; a++)
            buffer_printf(out, "%s %s", a ? "," : "", ps->stage->algorithms[a].plugin->name);
        buffer_text(out, "\n");
        for (size_t m = 0; m < ps->nmodels; m++)
            print_model(&ps->models[m], out);
        for (size_t m = 0; m < ps->nmodels; m++)
            if (ps->models[m].early)
                buffer_text(out, "  the reference reads the data once, before the first step, and is let go\n");
        buffer_text(out, "  memory     ");
        buffer_bytes(out, ps->bytes);
        buffer_text(out, " of models, about ");
        buffer_bytes(out, ps->work);
        buffer_text(out, " of work, ");
        buffer_bytes(out, plan->program);
        buffer_text(out, " of program and data\n");
    }
    buffer_text(out, "About ");
    buffer_bytes(out, plan_bytes(plan, plan->largest));
    buffer_printf(out, " at once, in %s", plan->largest->stage->name);
    if (limit != UINT64_MAX) {
        buffer_text(out, "; this machine has ");
        buffer_bytes(out, limit);
    }
    buffer_text(out, ".\n");
}

static void json_text(const char *text, struct buffer *out) {
    buffer_json_string(out, text, strlen(text));
}

static void json_model(const struct plan_model *m, struct buffer *out) {
    buffer_printf(out, "{\"role\": \"%s\", \"from\": ", m->role);
    json_text(m->use->from, out);
    buffer_printf(out, ", \"shared\": %s, \"trainable\": %s, \"head\": \"%s\", \"heads\": %u, ",
                  m->with ? "true" : "false", m->use->source.trainable ? "true" : "false",
                  head_name(m->use->source.head), m->heads);
    buffer_printf(out, "\"parameters\": %llu, \"bytes\": %llu, \"early\": %s}", (unsigned long long)m->parameters,
                  (unsigned long long)m->bytes, m->early ? "true" : "false");
}

void plan_json(const struct plan *plan, const struct pipeline *p, uint64_t limit, struct buffer *out) {
    buffer_text(out, "{\"pipeline\": ");
    json_text(p->path, out);
    buffer_text(out, ", \"output\": ");
    json_text(p->output, out);
    buffer_text(out, ", \"stages\": [");
    for (size_t i = 0; i < plan->nstages; i++) {
        const struct plan_stage *ps = &plan->stages[i];

        buffer_text(out, i ? ", {\"name\": " : "{\"name\": ");
        json_text(ps->stage->name, out);
        buffer_text(out, ", \"algorithms\": [");
        for (size_t a = 0; a < ps->stage->nalgorithms; a++) {
            buffer_text(out, a ? ", " : "");
            json_text(ps->stage->algorithms[a].plugin->name, out);
        }
        buffer_text(out, "], \"models\": [");
        for (size_t m = 0; m < ps->nmodels; m++) {
            buffer_text(out, m ? ", " : "");
            json_model(&ps->models[m], out);
        }
        buffer_printf(out, "], \"model_bytes\": %llu, \"work_bytes\": %llu, \"peak_bytes\": %llu}",
                      (unsigned long long)ps->bytes, (unsigned long long)ps->work,
                      (unsigned long long)plan_bytes(plan, ps));
    }
    buffer_printf(out, "], \"peak_bytes\": %llu, \"memory_bytes\": ",
                  (unsigned long long)plan_bytes(plan, plan->largest));
    if (limit == UINT64_MAX)
        buffer_text(out, "null}\n");
    else
        buffer_printf(out, "%llu}\n", (unsigned long long)limit);
}
