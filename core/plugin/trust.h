/* core/plugin/trust.h - is this file ours to run?
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_TRUST_H
#define REIN_CORE_TRUST_H

#include "base/error.h"

/* 0 when `path` (absolute, its folders without symbolic links) is a regular file, not a symbolic link, that belongs to
 * root or to us and that nobody else can write, and the same holds for each folder above it. A folder with the sticky bit
 * that all may write (/tmp) is allowed further up, not as the one the file lies in. The sentence leaves out
 * the path. */
int trust_file(const char *path, struct error *err);

#endif
