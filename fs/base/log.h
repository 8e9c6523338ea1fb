/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log: lines for the person who reads the journal.
 *
 * A line goes to standard error, or to syslog(3) once log_to_syslog() was called (a daemon that left its terminal).
 * When standard error is the journal's (JOURNAL_STREAM names it) each line starts with its level, "<N>"; otherwise
 * with the program's name, and "error: " or "warning: " where it is one. Control characters in a line are replaced by
 * '?', so that nothing from the network can forge a line; one longer than 2 KiB is cut. Secrets are the caller's duty:
 * never log them.
 *
 * All functions may be called from any thread; they may block on the stream they write to and take no lock of ours.
 */
#ifndef GCFS_LOG_H
#define GCFS_LOG_H

#include <stddef.h>
#include <syslog.h>

/* Lines above LEVEL (LOG_ERR … LOG_DEBUG of syslog.h) are dropped; at first, LOG_INFO. Call before threads start. */
void log_set_level(int level);

/* "error", "warning", "notice", "info", "debug" → the level; -EINVAL for another word. */
int log_level_by_name(const char *name);

/* From here on, lines go to syslog under NAME. Call before threads start; NAME must stay valid. */
void log_to_syslog(const char *name);

/* From here on, the newest error stands in TO, too; NULL: no more. For a process with one thread. */
void log_keep_error(char *to, size_t size);

/* One line, without a newline at its end. errno is kept. */
void log_line(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_line(LOG_ERR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_WARNING, __VA_ARGS__)
#define log_notice(...) log_line(LOG_NOTICE, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)

/* Logs the line as an error, with ": <text of ERROR>" behind it, and returns ERROR (a negative errno):
 * `return log_errno(r, "…");` */
int log_errno(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The text of a negative errno, from a table that is never freed. */
const char *error_text(int error);

#endif
