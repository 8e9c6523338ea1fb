/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines on a terminal that change in place, below what is logged. On anything else than a terminal nothing is shown. Whoever logs
 * while they are shown calls progress_clear() first. One thread.
 */
#ifndef GCFS_PROGRESS_H
#define GCFS_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool progress_wanted(void); /* is standard error a terminal, and was progress_refuse() not called? */
void progress_refuse(void);
/* How many lines and columns there are to use. */
void progress_room(size_t *ret_lines, size_t *ret_columns);

/* Shows TEXT in place of what was shown: lines, each ended by \n. They are cut to the terminal's width and height. */
void progress_show(const char *text);
void progress_clear(void);

/* How many of the LENGTH bytes of TEXT fill COLUMNS at most: every character of UTF-8 counts as one. *ret_used: the columns they fill. */
size_t format_fitting(const char *text, size_t length, size_t columns, size_t *ret_used);

enum { NAME_TEXT_MAX = 512 };
/* NAME in COLUMNS (at least 3): padded, or cut in the middle, for ends tell versions apart. Returns TEXT. */
const char *format_name(const char *name, size_t columns, char text[NAME_TEXT_MAX]);

enum { QUANTITY_MAX = 32 };
/* "1.4 GiB", "512 B"; returns TEXT. */
const char *format_bytes(uint64_t bytes, char text[QUANTITY_MAX]);
/* "5 s", "2 min 05 s", "3 h 20 min", "2 d 4 h"; returns TEXT. */
const char *format_seconds(uint64_t seconds, char text[QUANTITY_MAX]);

/* A line for an image under way: "NAME  45 %  1.2 of 2.7 GiB  98 MiB/s  16 s left", as wide as COLUMNS, with a line break. SIZE 0: not
 * known. */
void progress_line(const char *name, uint64_t bytes, uint64_t size, uint64_t rate, size_t columns, char *line, size_t line_size);

#endif
