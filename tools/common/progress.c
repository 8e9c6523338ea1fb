/* SPDX-License-Identifier: Apache-2.0 */
/* Lines that change in place: the cursor goes up over what was shown, and each line is erased behind its new text. */
#include "config-auto.h"

#include "common/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
    NAME_MIN_COLUMNS = 12, NAME_MAX_COLUMNS = 40,
    BAR_MIN = 8, BAR_MAX = 30,
    NUMBERS_COLUMNS = 50, /* what stands behind name and bar, at its longest */
};

static size_t shown; /* lines */

static int wanted = -1; /* not known yet */

void progress_refuse(void)
{
    wanted = 0;
}

bool progress_wanted(void)
{
    if (wanted < 0) {
        const char *terminal = getenv("TERM");
        wanted = isatty(STDERR_FILENO) && terminal != NULL && strcmp(terminal, "dumb") != 0;
    }
    return wanted != 0;
}

void progress_room(size_t *ret_lines, size_t *ret_columns)
{
    struct winsize size;
    bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 && size.ws_col > 0;
    *ret_lines = known ? (size.ws_row > 1 ? size.ws_row - 1u : 1u) : 23;
    *ret_columns = known ? size.ws_col : 80;
}

size_t format_fitting(const char *text, size_t length, size_t columns, size_t *ret_used)
{
    size_t used = 0, i = 0;
    while (i < length) {
        size_t next = i + 1;
        while (next < length && ((unsigned char)text[next] & 0xc0) == 0x80)
            next++;
        if (used == columns)
            break;
        used++;
        i = next;
    }
    *ret_used = used;
    return i;
}

const char *format_name(const char *name, size_t columns, char text[NAME_TEXT_MAX])
{
    size_t used, length = strlen(name);
    size_t all = format_fitting(name, length, SIZE_MAX, &used);
    if (used <= columns) {
        snprintf(text, NAME_TEXT_MAX, "%.*s%*s", (int)all, name, (int)(columns - used), "");
        return text;
    }
    size_t head = (columns - 1) / 2, tail = columns - 1 - head, skipped;
    size_t begin = format_fitting(name, length, head, &skipped), end = format_fitting(name, length, used - tail, &skipped);
    snprintf(text, NAME_TEXT_MAX, "%.*s~%s", (int)begin, name, name + end);
    return text;
}

/* Over what is shown, in one write, so that nothing flickers; LINES lines of TEXT. */
static void draw(const char *text, size_t max_lines, size_t columns)
{
    char *out = NULL;
    size_t size = 0, count = 0, used;
    FILE *memory = open_memstream(&out, &size);
    if (memory == NULL)
        return;
    if (shown > 0)
        fprintf(memory, "\r\033[%zuA", shown);
    for (; *text != '\0' && count < max_lines; count++) {
        size_t length = strcspn(text, "\n");
        fwrite(text, 1, format_fitting(text, length, columns - 1, &used), memory);
        fputs("\033[K\n", memory);
        text += length + (text[length] == '\n');
    }
    fputs("\033[J", memory);
    shown = count;
    if (fclose(memory) == 0 && write(STDERR_FILENO, out, size) < 0)
        shown = 0;
    free(out);
}

void progress_show(const char *text)
{
    size_t lines, columns;
    if (!progress_wanted())
        return;
    progress_room(&lines, &columns);
    draw(text, lines, columns);
}

void progress_clear(void)
{
    if (shown > 0)
        draw("", 0, 1);
}

/* ---- quantities */

const char *format_bytes(uint64_t bytes, char text[QUANTITY_MAX])
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double n = (double)bytes / 1024;
    size_t unit = 0;
    if (bytes < 1024) {
        snprintf(text, QUANTITY_MAX, "%" PRIu64 " B", bytes);
        return text;
    }
    for (; n >= 1023.95 && unit < 5; unit++)
        n /= 1024;
    snprintf(text, QUANTITY_MAX, n < 99.95 ? "%.1f %s" : "%.0f %s", n, units[unit]);
    return text;
}

const char *format_seconds(uint64_t seconds, char text[QUANTITY_MAX])
{
    if (seconds < 60)
        snprintf(text, QUANTITY_MAX, "%" PRIu64 " s", seconds);
    else if (seconds < 3600)
        snprintf(text, QUANTITY_MAX, "%" PRIu64 " min %02" PRIu64 " s", seconds / 60, seconds % 60);
    else if (seconds < 86400)
        snprintf(text, QUANTITY_MAX, "%" PRIu64 " h %02" PRIu64 " min", seconds / 3600, seconds / 60 % 60);
    else
        snprintf(text, QUANTITY_MAX, "%" PRIu64 " d %" PRIu64 " h", seconds / 86400, seconds / 3600 % 24);
    return text;
}

static void draw_bar(uint64_t bytes, uint64_t size, size_t width, char bar[BAR_MAX + 1])
{
    size_t full = size == 0 ? 0 : (size_t)((double)(bytes < size ? bytes : size) / (double)size * (double)width);
    memset(bar, '-', width);
    memset(bar, '#', full);
    bar[width] = '\0';
}

void progress_line(const char *name, uint64_t bytes, uint64_t size, uint64_t rate, size_t columns, char *line, size_t line_size)
{
    char here[QUANTITY_MAX], all[QUANTITY_MAX], speed[QUANTITY_MAX], left[QUANTITY_MAX] = "", bar[BAR_MAX + 1], shown_name[NAME_TEXT_MAX];
    size_t room = columns > NUMBERS_COLUMNS + NAME_MIN_COLUMNS ? columns - NUMBERS_COLUMNS : NAME_MIN_COLUMNS;
    size_t name_columns = room < NAME_MAX_COLUMNS ? room : NAME_MAX_COLUMNS;
    size_t bar_columns = room - name_columns < BAR_MIN + 3 ? 0 : room - name_columns - 3 < BAR_MAX ? room - name_columns - 3 : BAR_MAX;

    format_name(name, name_columns, shown_name);
    for (char *c = shown_name; *c != '\0'; c++)
        *c = (unsigned char)*c < 0x20 || *c == 0x7f ? '?' : *c;
    format_bytes(bytes, here);
    if (size == 0) {
        snprintf(line, line_size, "%s  %s\n", shown_name, here);
        return;
    }
    if (rate > 0 && bytes < size)
        format_seconds((size - bytes) / rate, left);
    draw_bar(bytes, size, bar_columns, bar);
    snprintf(line, line_size, "%s %s%s%s%3u %% %8s / %8s %8s/s %s\n", shown_name, bar_columns ? "[" : "", bar,
             bar_columns ? "] " : "", (unsigned)((double)bytes * 100 / (double)size), here, format_bytes(size, all),
             format_bytes(rate, speed), left);
}
