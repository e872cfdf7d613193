/* core/base/maps.h - which files are mapped, so that one that is cut short meanwhile is named as the process ends.
 * SPDX-License-Identifier: MIT
 *
 * Pages past a file's end raise SIGBUS when they are read. There is no going on from that: the numbers are gone.
 */
#ifndef REIN_CORE_MAPS_H
#define REIN_CORE_MAPS_H

#include "base/error.h"

#include <stddef.h>

/* file_map_open's and file_map_close's. Like those of models, by the main thread alone. */
int maps_add(const void *data, size_t length, const char *path, struct error *err);
void maps_remove(const void *data);
/* From here on SIGBUS within a mapped file says which one and exits with status 1; any other kills, as ever. */
void maps_guard(void);

#endif
