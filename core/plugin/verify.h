/* core/plugin/verify.h - what a module says about itself, held against the ABI.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_VERIFY_H
#define REIN_CORE_VERIFY_H

#include "base/error.h"

#include <rein/plugin.h>
#include <stdbool.h>

/* 0 when the descriptor, its operations and its option table can be used; else a sentence without the path. */
int verify_plugin(const struct rein_plugin *p, struct error *err);
bool verify_name(const char *name); /* [a-z][a-z0-9-]* */

#endif
