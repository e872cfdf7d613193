/* SPDX-License-Identifier: MIT */
#include "report/report.h"

#include "base/log.h"
#include "base/mem.h"
#include "report/fanout.h"
#include "report/html.h"
#include "report/record.h"
#include "report/progress.h"
#include "report/tensorboard.h"

#include <stdlib.h>

struct report {
    struct fanout all;
    struct report_sink record, tensorboard, progress, html;
    char *folder;
};

/* A page that cannot be written is no reason to lose a trained model. */
static int write_page(void *ctx, struct error *err) {
    const struct report *r = ctx;
    struct error why = {0};

    (void)err;
    if (html_write(r->folder, &why) != 0)
        log_warn("no report: %s", why.text);
    return 0;
}

int report_create(const char *run_folder, bool terminal, struct report **out, struct error *err) {
    struct report *r = mem_zeros(1, sizeof(*r));

    if (r == NULL)
        return error_nomem(err, "report");
    fanout_init(&r->all);
    r->folder = mem_strdup(run_folder);
    if (r->folder == NULL) {
        error_nomem(err, "report");
        goto fail;
    }
    if (record_open(&r->record, err) != 0 || tensorboard_open(&r->tensorboard, err) != 0 ||
        progress_open(&r->progress, terminal, err) != 0)
        goto fail;
    r->html = (struct report_sink){.ctx = r, .end = write_page};
    fanout_add(&r->all, &r->record);
    fanout_add(&r->all, &r->tensorboard);
    fanout_add(&r->all, &r->progress);
    fanout_add(&r->all, &r->html);
    *out = r;
    return 0;
fail:
    report_free(r);
    return -1;
}

const struct report_sink *report_sink(const struct report *r) {
    return &r->all.sink;
}

void report_free(struct report *r) {
    if (r == NULL)
        return;
    record_close(&r->record);
    tensorboard_close(&r->tensorboard);
    progress_close(&r->progress);
    free(r->folder);
    free(r);
}
