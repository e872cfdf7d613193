/* core/report/html.h - <run>/report.html: curves and samples of every stage in one page without scripts.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_HTML_H
#define REIN_CORE_HTML_H

#include "base/error.h"

/* From the files of the run folder alone, so that it can be made again at any time. A folder without
 * any metrics is ERROR_INPUT. */
int html_write(const char *run_folder, struct error *err);

#endif
