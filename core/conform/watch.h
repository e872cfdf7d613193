/* core/conform/watch.h - what loading a module must leave as it was.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_WATCH_H
#define REIN_CORE_WATCH_H

#include <stdbool.h>

void watch_begin(void); /* right before the module is loaded */
/* Right after. The loader puts the floating-point mode back itself and says whether it had to. */
void watch_end(bool fp_mode_changed);
/* One check for each thing. */
void watch_report(void);

#endif
