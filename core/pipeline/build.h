/* core/pipeline/build.h - what the files that read a pipeline share while they do so.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_BUILD_H
#define REIN_CORE_BUILD_H

#include "pipeline/pipeline.h"

struct build {
    struct pipeline *p;
    struct registry *registry;
    struct arena *arena;       /* the document's */
    struct error *err;
};

/* A path of the file, absolute or beside it; NULL when memory is short. */
const char *build_path(struct build *b, const char *written);
/* node_error with "stage 'NAME': " in front. */
int build_fail(struct build *b, const struct stage *s, const struct node *at, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

#endif
