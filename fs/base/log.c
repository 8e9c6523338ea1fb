/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes the log: one line, one write(2), so that lines of several threads and processes never mix on a pipe or file.
 *
 * State: the level and the syslog switch, set before threads start and only read afterwards. No lock.
 */
#include "config-auto.h"

#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 2048, SUFFIX_MAX_BYTES = 128 };

static int highest_level = LOG_INFO;
static bool use_syslog;
static char *kept;
static size_t kept_size;

static const struct {
    const char *name;
    int level;
} levels[] = {
    {"error", LOG_ERR}, {"warning", LOG_WARNING}, {"notice", LOG_NOTICE}, {"info", LOG_INFO}, {"debug", LOG_DEBUG},
};

void log_set_level(int level)
{
    highest_level = level;
}

int log_level_by_name(const char *name)
{
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
        if (strcmp(levels[i].name, name) == 0)
            return levels[i].level;
    }
    return -EINVAL;
}

void log_to_syslog(const char *name)
{
    openlog(name, LOG_PID | LOG_NDELAY, LOG_DAEMON);
    use_syslog = true;
}

void log_keep_error(char *to, size_t size)
{
    kept = to;
    kept_size = size;
}

/*
 * Is standard error the journal's stream? systemd says which device and inode that is; the variable alone is no proof,
 * for it is inherited by programs whose standard error went elsewhere (systemd.exec(5), $JOURNAL_STREAM).
 */
static bool stderr_is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    struct stat st;
    uintmax_t device, inode;
    if (stream == NULL || sscanf(stream, "%ju:%ju", &device, &inode) != 2)
        return false;
    return fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

/* Control characters, the C1 set of UTF-8 (0xc2 0x80 … 0x9f) included, become '?'. */
static void sanitise(char *text)
{
    for (unsigned char *c = (unsigned char *)text; *c != '\0'; c++) {
        if (*c < 0x20 || *c == 0x7f) {
            *c = '?';
        } else if (c[0] == 0xc2 && c[1] >= 0x80 && c[1] <= 0x9f) {
            c[0] = '?';
            c[1] = '?';
        }
    }
}

/* A log that cannot be written is no reason to stop: errors end the line, nothing else. */
static void write_all(const char *line, size_t length)
{
    while (length > 0) {
        ssize_t n = write(STDERR_FILENO, line, length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        line += n;
        length -= (size_t)n;
    }
}

static void write_stderr(int level, const char *text)
{
    char line[LINE_MAX_BYTES + SUFFIX_MAX_BYTES + 128];
    int n;
    if (stderr_is_journal()) {
        n = snprintf(line, sizeof line, "<%d>%s\n", level, text);
    } else {
        const char *word = level <= LOG_ERR ? "error: " : level == LOG_WARNING ? "warning: " : "";
        n = snprintf(line, sizeof line, "%.64s: %s%s\n", program_invocation_short_name, word, text);
    }
    if (n > 0 && (size_t)n < sizeof line)
        write_all(line, (size_t)n);
}

/* The end of a line that is too long, cut where no UTF-8 character is torn, shows that it was cut. */
static void mark_cut(char *text)
{
    static const char mark[] = " ...";
    size_t end = LINE_MAX_BYTES - sizeof mark;
    while (end > 0 && ((unsigned char)text[end] & 0xc0) == 0x80)
        end--;
    memcpy(text + end, mark, sizeof mark);
}

__attribute__((format(printf, 3, 0))) static void log_v(int level, const char *suffix, const char *format, va_list args)
{
    if (level > highest_level)
        return;
    int saved_errno = errno;
    char text[LINE_MAX_BYTES + SUFFIX_MAX_BYTES]; /* however long a line is, the reason behind it is not cut off */
    int n = vsnprintf(text, LINE_MAX_BYTES, format, args);
    if (n < 0)
        n = snprintf(text, LINE_MAX_BYTES, "(a line that could not be formatted: %s)", format);
    if (n >= LINE_MAX_BYTES)
        mark_cut(text);
    if (suffix != NULL) {
        size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, ": %s", suffix);
    }
    sanitise(text);
    if (kept != NULL && level == LOG_ERR)
        snprintf(kept, kept_size, "%s", text);
    if (use_syslog)
        syslog(level, "%s", text);
    else
        write_stderr(level, text);
    errno = saved_errno;
}

void log_line(int level, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    log_v(level, NULL, format, args);
    va_end(args);
}

int log_errno(int error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    log_v(LOG_ERR, error_text(error), format, args);
    va_end(args);
    return error;
}

const char *error_text(int error)
{
    const char *text = strerrordesc_np(error < 0 && error != INT32_MIN ? -error : error);
    return text != NULL ? text : "Unknown error";
}
