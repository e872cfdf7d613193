/* core/pipeline/runner.h - running a pipeline's stages in order, in its run folder.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_RUNNER_H
#define REIN_CORE_RUNNER_H

#include "pipeline/pipeline.h"

struct runner_options {
    bool resume;      /* go on with what the folder holds; finished stages are skipped */
    bool overwrite;   /* remove an earlier run first */
};

/* May this run use the folder? Nothing is changed; refuses a folder with anything in it unless told otherwise. */
int runner_check(const struct pipeline *p, const struct runner_options *o, struct error *err);
/* After pipeline_load, plan_create and runner_check. -1 with ERROR_STOPPED after a signal and a saved checkpoint. */
int runner_run(struct pipeline *p, const struct runner_options *o, struct backend *backend, struct error *err);

#endif
