/* core/base/log.h - lines for people, on stderr.
 * SPDX-License-Identifier: MIT
 *
 * stdout belongs to results. A log line never interrupts a progress bar: the
 * bar registers a hook that clears itself before a line is printed.
 */
#ifndef REIN_CORE_LOG_H
#define REIN_CORE_LOG_H

enum log_level { LOG_ERROR = 1, LOG_WARN, LOG_INFO, LOG_DEBUG };

void log_set_level(enum log_level level); /* default LOG_INFO */
void log_set_hook(void (*before)(void *ctx), void *ctx); /* NULL removes it */
void log_print(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_print(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_print(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_print(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_print(LOG_DEBUG, __VA_ARGS__)

#endif
