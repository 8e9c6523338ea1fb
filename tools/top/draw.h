/* SPDX-License-Identifier: Apache-2.0 */
/* What a look shows, as lines of text. Pure; one thread. */
#ifndef GCFS_TOP_DRAW_H
#define GCFS_TOP_DRAW_H

#include <jansson.h>
#include <stddef.h>

#include "top/samples.h"

enum draw_style { DRAW_PLAIN, DRAW_TITLE, DRAW_GOOD, DRAW_BAD, DRAW_FAINT };
enum { DRAW_LINES = 128, DRAW_COLUMNS = 512 };

struct drawing {
    size_t count;
    struct {
        enum draw_style style;
        char text[DRAW_COLUMNS]; /* UTF-8, no control characters, at most as many columns as were asked for */
    } line[DRAW_LINES];
};

/* The document of look.h, with what SAMPLES know of the time before, COLUMNS wide (at least 40). */
void draw(const json_t *look, const struct samples *samples, size_t columns, struct drawing *ret);

#endif
