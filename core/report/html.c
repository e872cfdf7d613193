/* SPDX-License-Identifier: MIT */
#include "report/html.h"

#include "base/buffer.h"
#include "base/file.h"
#include "base/yaml.h"
#include "report/chart.h"
#include "report/history.h"
#include "report/progress.h"
#include "report/record.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_STAGES = 64 };

static const char style[] =
    ":root{color-scheme:light dark;--bg:#fff;--fg:#1c2330;--dim:#68707d;--line:#e3e6eb;--card:#f7f8fa;--a:#2563eb;--e:#d97706}\n"
    "@media(prefers-color-scheme:dark){:root{--bg:#12151b;--fg:#e3e7ee;--dim:#98a1b0;--line:#2a303b;--card:#1a1f28;"
    "--a:#6ea8fe;--e:#f5b14c}}\n"
    "*{box-sizing:border-box}body{margin:0 auto;padding:2rem 1.5rem 4rem;max-width:1200px;background:var(--bg);"
    "color:var(--fg);font:15px/1.5 system-ui,sans-serif}\n"
    "h1{font-size:1.5rem;margin:0}h2{margin:2.5rem 0 .75rem;padding-top:1rem;border-top:1px solid var(--line);font-size:1.2rem}"
    "h3{font-size:1rem;margin:1.5rem 0 .5rem}.dim,figcaption{color:var(--dim)}nav a{margin-right:1rem;color:var(--a)}\n"
    ".grid{display:grid;gap:1rem;grid-template-columns:repeat(auto-fill,minmax(300px,1fr))}"
    "figure{margin:0;padding:.6rem .7rem;background:var(--card);border:1px solid var(--line);border-radius:8px}"
    "figcaption{font-size:.85rem;overflow-wrap:anywhere}b.a{color:var(--a)}b.e{color:var(--e)}\n"
    "svg{display:block;width:100%;height:auto}svg text{fill:var(--dim);font-size:10px}line.g{stroke:var(--line)}"
    "polyline{fill:none;stroke-width:1.6;stroke-linejoin:round}polyline.a{stroke:var(--a)}polyline.e{stroke:var(--e);"
    "stroke-dasharray:4 3}circle.a{fill:var(--a)}circle.e{fill:var(--e)}\n"
    "table{border-collapse:collapse;width:100%;font-size:.9rem}td,th{padding:.4rem .6rem;border-bottom:1px solid var(--line);"
    "text-align:left;vertical-align:top}td.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}"
    "td.t{white-space:pre-wrap;overflow-wrap:anywhere}details{margin:1rem 0}summary{cursor:pointer;color:var(--dim)}\n";

struct stages {
    char *names[MAX_STAGES];
    size_t count;
};

static void add_stage(struct stages *s, const char *run, const char *name) {
    char *folder, *metrics;

    for (size_t i = 0; i < s->count; i++)
        if (strcmp(s->names[i], name) == 0)
            return;
    folder = file_join(run, name);
    metrics = folder ? file_join(folder, "metrics.jsonl") : NULL;
    if (metrics && file_exists(metrics) && s->count < MAX_STAGES && (s->names[s->count] = mem_strdup(name)) != NULL)
        s->count++;
    free(folder);
    free(metrics);
}

/* In the order of the pipeline, as far as it is there to tell. */
static void stages_of_pipeline(struct stages *s, const char *run) {
    char *path = file_join(run, "pipeline.yaml");
    struct document doc = {0};

    if (path != NULL && file_exists(path) && yaml_load(path, &doc, NULL) == 0) {
        const struct node *list = node_get(doc.root, "stages");

        for (size_t i = 0; list != NULL && list->type == NODE_SEQUENCE && i < list->count; i++) {
            const struct node *name = list->items[i]->type == NODE_MAPPING ? node_get(list->items[i], "name") : NULL;

            if (name != NULL && name->type == NODE_SCALAR && strchr(name->text, '/') == NULL)
                add_stage(s, run, name->text);
        }
        yaml_free(&doc);
    }
    free(path);
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void stages_of_folder(struct stages *s, const char *run) {
    char *names[MAX_STAGES];
    size_t n = 0;
    struct dirent *entry;
    DIR *dir = opendir(run);

    if (dir == NULL)
        return;
    while ((entry = readdir(dir)) != NULL && n < MAX_STAGES)
        if (entry->d_name[0] != '.' && (names[n] = mem_strdup(entry->d_name)) != NULL)
            n++;
    closedir(dir);
    qsort(names, n, sizeof(*names), by_name);
    for (size_t i = 0; i < n; i++) {
        add_stage(s, run, names[i]);
        free(names[i]);
    }
}

static const struct series *eval_of(const struct history *h, const char *name) {
    char full[256];

    snprintf(full, sizeof(full), "eval_%s", name);
    return history_find(h, full);
}

/* The cost of the whole stage is said, not drawn. */
static bool is_cost(const char *name) {
    return strcmp(name, RECORD_STAGE_TIME) == 0 || strcmp(name, RECORD_PEAK) == 0 ||
           strcmp(name, RECORD_PROCESS_PEAK) == 0;
}

/* "12 steps in 1:23, peak memory 1.2 GB." */
static void stage_line(struct buffer *out, const struct history *h) {
    const struct series *time = history_find(h, RECORD_STAGE_TIME), *peak = history_find(h, RECORD_PEAK);
    const bool of_process = peak == NULL;
    char clock[32];

    if (of_process)
        peak = history_find(h, RECORD_PROCESS_PEAK);
    buffer_printf(out, "%llu steps", (unsigned long long)h->last_step);
    if (time != NULL)
        buffer_printf(out, " in %s", progress_clock(time->value[time->count - 1], clock));
    if (peak != NULL && peak->value[peak->count - 1] > 0 && peak->value[peak->count - 1] < 1e18) {
        buffer_text(out, of_process ? ", peak memory of the process " : ", peak memory ");
        buffer_bytes(out, (uint64_t)peak->value[peak->count - 1]);
    }
    buffer_text(out, ". ");
}

/* An eval_ series is drawn with the one it evaluates, when there is one. */
static bool drawn_with_another(const struct history *h, const char *name) {
    return strncmp(name, "eval_", 5) == 0 && history_find(h, name + 5) != NULL;
}

static void charts(struct buffer *out, const struct history *h, bool times) {
    buffer_text(out, "<div class=grid>\n");
    for (size_t i = 0; i < h->count; i++) {
        const struct series *s = &h->series[i];
        const bool eval = strncmp(s->name, "eval_", 5) == 0;

        if (record_is_time(s->name) != times || drawn_with_another(h, s->name) || is_cost(s->name))
            continue;
        chart_write(out, s->name, eval ? NULL : s, eval ? s : eval_of(h, s->name));
    }
    buffer_text(out, "</div>\n");
}

static void sample_table(struct buffer *out, const char *title, const struct history_sample *list, size_t count) {
    if (count == 0)
        return;
    buffer_printf(out, "<h3>%s (step %llu)</h3>\n<table><tr><th>Prompt<th>Completion<th>Reward<th>KL</tr>\n", title,
                  (unsigned long long)list[0].step);
    for (size_t i = 0; i < count; i++) {
        buffer_text(out, "<tr><td class=t>");
        chart_escape(out, list[i].prompt);
        buffer_text(out, "<td class=t>");
        chart_escape(out, list[i].completion);
        buffer_text(out, "<td class=n>");
        chart_number(out, list[i].reward);
        buffer_text(out, "<td class=n>");
        chart_number(out, list[i].kl);
        buffer_text(out, "</tr>\n");
    }
    buffer_text(out, "</table>\n");
}

static int write_stage(struct buffer *out, const char *run, const char *name, struct error *err) {
    char *folder = file_join(run, name);
    struct history h;

    if (folder == NULL)
        return error_nomem(err, "report");
    if (history_load(folder, &h, err) != 0) {
        free(folder);
        return -1;
    }
    free(folder);
    buffer_text(out, "<h2 id=\"");
    chart_escape(out, name);
    buffer_text(out, "\">");
    chart_escape(out, name);
    buffer_text(out, "</h2>\n<p class=dim>");
    stage_line(out, &h);
    buffer_text(out, "The figure beside a name is its last value; evaluations are the <b class=e>second colour</b>.</p>\n");
    charts(out, &h, false);
    if (h.nfirst && h.nlast && h.first[0].step != h.last[0].step) {
        sample_table(out, "Last samples", h.last, h.nlast);
        sample_table(out, "First samples", h.first, h.nfirst);
    } else
        sample_table(out, "Samples", h.last, h.nlast);
    buffer_text(out, "<details><summary>Timing</summary>\n");
    charts(out, &h, true);
    buffer_text(out, "</details>\n");
    history_free(&h);
    return 0;
}

static int write_pipeline(struct buffer *out, const char *run, struct error *err) {
    char *path = file_join(run, "pipeline.yaml"), *text;

    if (path == NULL)
        return error_nomem(err, "report");
    if (!file_exists(path)) {
        free(path);
        return 0;
    }
    text = file_read(path, (size_t)1 << 24, NULL, err);
    free(path);
    if (text == NULL)
        return -1;
    buffer_text(out, "<details><summary>Pipeline</summary><pre>");
    chart_escape(out, text);
    buffer_text(out, "</pre></details>\n");
    free(text);
    return 0;
}

static int write_page(struct buffer *out, const char *run, const struct stages *s, struct error *err) {
    const char *slash = strrchr(run, '/');
    const char *name = slash && slash[1] ? slash + 1 : run;

    buffer_text(out, "<!DOCTYPE html>\n<html lang=en><head><meta charset=utf-8>"
                     "<meta name=viewport content=\"width=device-width,initial-scale=1\"><title>");
    chart_escape(out, name);
    buffer_printf(out, "</title>\n<style>\n%s</style></head>\n<body><h1>", style);
    chart_escape(out, name);
    buffer_text(out, "</h1>\n<nav>");
    for (size_t i = 0; i < s->count; i++) {
        buffer_text(out, "<a href=\"#");
        chart_escape(out, s->names[i]);
        buffer_text(out, "\">");
        chart_escape(out, s->names[i]);
        buffer_text(out, "</a>");
    }
    buffer_text(out, "</nav>\n");
    for (size_t i = 0; i < s->count; i++)
        if (write_stage(out, run, s->names[i], err) != 0)
            return -1;
    if (write_pipeline(out, run, err) != 0)
        return -1;
    buffer_text(out, "</body></html>\n");
    return out->failed ? error_nomem(err, "report") : 0;
}

int html_write(const char *run_folder, struct error *err) {
    struct stages stages = {0};
    struct buffer page = {0};
    char *path = file_join(run_folder, "report.html");
    int rc = -1;

    stages_of_pipeline(&stages, run_folder);
    stages_of_folder(&stages, run_folder);
    if (path == NULL)
        error_nomem(err, "report");
    else if (stages.count == 0)
        error_input(err, "%s: no stage of a run is here (no folder with metrics.jsonl)", run_folder);
    else if (write_page(&page, run_folder, &stages, err) == 0)
        rc = file_write(path, page.data, page.length, err);
    for (size_t i = 0; i < stages.count; i++)
        free(stages.names[i]);
    buffer_free(&page);
    free(path);
    return rc;
}
