/* SPDX-License-Identifier: Apache-2.0 */
/* Tables in the shape of prettytable, which scripts may parse, and the texts of cells. */
#include "config-auto.h"

#include <inttypes.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "manage/manage.h"

void table_begin(struct table *t, size_t columns, const char *const *titles, const char *align)
{
    *t = (struct table){.columns = columns, .titles = titles, .align = align};
}

void table_add(struct table *t, const char *const *cells)
{
    if (t->rows == t->size) {
        size_t size = t->size == 0 ? 16 : t->size * 2;
        char **bigger = realloc(t->cells, size * t->columns * sizeof(*bigger));
        if (bigger == NULL)
            return;
        t->cells = bigger;
        t->size = size;
    }
    for (size_t c = 0; c < t->columns; c++)
        t->cells[t->rows * t->columns + c] = strdup(cells[c]);
    t->rows++;
}

void table_free(struct table *t)
{
    for (size_t i = 0; i < t->rows * t->columns; i++)
        free(t->cells[i]);
    free(t->cells);
    *t = (struct table){0};
}

size_t text_width(const char *text)
{
    size_t n = 0;
    for (; *text != '\0'; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

/* What a terminal would take as a command is shown as '?'. */
static void put_text(const char *text, FILE *out)
{
    for (; *text != '\0'; text++)
        fputc((unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text, out);
}

static void print_cell(const char *text, size_t width, char align, FILE *out)
{
    size_t length = text_width(text), excess = width - length;
    size_t left = align == 'r' ? excess : excess % 2 == 0 || length % 2 == 1 ? excess / 2 : excess / 2 + 1;
    fprintf(out, "| %*s", (int)left, "");
    put_text(text, out);
    fprintf(out, "%*s ", (int)(excess - left), "");
}

static void print_line(const struct table *t, const size_t *widths, FILE *out)
{
    for (size_t c = 0; c < t->columns; c++) {
        fputc('+', out);
        for (size_t i = 0; i < widths[c] + 2; i++)
            fputc('-', out);
    }
    fputs("+\n", out);
}

void table_print(const struct table *t, FILE *out)
{
    size_t *widths = calloc(t->columns, sizeof(*widths));
    if (widths == NULL)
        return;
    for (size_t c = 0; c < t->columns; c++) {
        widths[c] = text_width(t->titles[c]);
        for (size_t r = 0; r < t->rows; r++) {
            size_t width = text_width(t->cells[r * t->columns + c]);
            widths[c] = width > widths[c] ? width : widths[c];
        }
    }
    print_line(t, widths, out);
    for (size_t c = 0; c < t->columns; c++)
        print_cell(t->titles[c], widths[c], t->align[c], out);
    fputs("|\n", out);
    print_line(t, widths, out);
    for (size_t r = 0; r < t->rows; r++) {
        for (size_t c = 0; c < t->columns; c++)
            print_cell(t->cells[r * t->columns + c], widths[c], t->align[c], out);
        fputs("|\n", out);
    }
    if (t->rows > 0)
        print_line(t, widths, out);
    free(widths);
}

void table_time(double seconds, char ret[40])
{
    struct tm tm;
    double integral;
    int64_t micros = (int64_t)nearbyint(modf(seconds, &integral) * 1e6); /* as Python rounds */
    time_t whole = (time_t)integral + (time_t)(micros / 1000000);
    gmtime_r(&whole, &tm);
    size_t n = strftime(ret, 40, "%Y-%m-%dT%H:%M:%S", &tm);
    if (micros % 1000000 != 0)
        snprintf(ret + n, 40 - n, ".%06" PRId64, micros % 1000000);
}

size_t terminal_width(void)
{
    struct winsize size;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

/* ---- texts of cells */

const char *failure_of(const struct result *r)
{
    return r->answer.status == 404 && !r->answer.ours ? "cache management is not enabled" : r->answer.message;
}

void bytes_text(double n, char *ret, size_t size)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    unsigned i = 0;
    for (; n >= 1023.95 && i < 5; i++)
        n /= 1024;
    snprintf(ret, size, i == 0 || n >= 99.95 ? "%.0f %s" : "%.1f %s", n, units[i]);
}
