/* plugins/common/span.h - a piece of somebody's text.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_COMMON_SPAN_H
#define REIN_COMMON_SPAN_H

#include <stddef.h>

struct span {
    const char *text; /* not NUL-terminated */
    size_t length;
};

#endif
