/* SPDX-License-Identifier: Apache-2.0 */
/* The whole terminal. Only here: ncurses. One thread. */
#ifndef GCFS_TOP_SCREEN_H
#define GCFS_TOP_SCREEN_H

#include "top/draw.h"

/* -ENOTTY: this terminal cannot do it. */
int screen_begin(void);
void screen_end(void); /* fine when it was not begun */
size_t screen_columns(void);
void screen_show(const struct drawing *drawing, const char *note);
/* Waits for a key, at most MS milliseconds: the key, SCREEN_RESIZED, SCREEN_SCROLLED, or SCREEN_NONE. */
enum { SCREEN_NONE = -1, SCREEN_RESIZED = -2, SCREEN_SCROLLED = -3 };
int screen_key(int ms);

#endif
