/* SPDX-License-Identifier: Apache-2.0 */
#include "config-auto.h"

#include "top/screen.h"

#include <errno.h>
#include <locale.h>
#include <ncurses.h>
#include <stdio.h>
#include <unistd.h>

static SCREEN *screen;
static size_t first; /* the line on top */

int screen_begin(void)
{
    setlocale(LC_CTYPE, "");
    if (!isatty(STDOUT_FILENO) || (screen = newterm(NULL, stdout, stdin)) == NULL)
        return -ENOTTY;
    cbreak();
    noecho();
    keypad(stdscr, TRUE);
    curs_set(0);
    if (has_colors()) {
        start_color();
        use_default_colors();
        init_pair(DRAW_GOOD, COLOR_GREEN, -1);
        init_pair(DRAW_BAD, COLOR_RED, -1);
    }
    return 0;
}

void screen_end(void)
{
    if (screen == NULL)
        return;
    endwin();
    delscreen(screen);
    screen = NULL;
}

size_t screen_columns(void)
{
    return (size_t)getmaxx(stdscr);
}

static attr_t attribute_of(enum draw_style style)
{
    switch (style) {
    case DRAW_TITLE:
        return A_BOLD;
    case DRAW_GOOD:
    case DRAW_BAD:
        return A_BOLD | COLOR_PAIR(style);
    case DRAW_FAINT:
        return A_DIM;
    case DRAW_PLAIN:
        break;
    }
    return A_NORMAL;
}

void screen_show(const struct drawing *drawing, const char *note)
{
    size_t rows = (size_t)getmaxy(stdscr), room = rows > 1 ? rows - 1 : 1;
    size_t last = drawing->count > room ? drawing->count - room : 0;
    if (first > last)
        first = last;
    erase();
    for (size_t i = 0; i < room && first + i < drawing->count; i++) {
        attr_t attribute = attribute_of(drawing->line[first + i].style);
        attron(attribute);
        mvaddstr((int)i, 0, drawing->line[first + i].text);
        attroff(attribute);
    }
    attron(A_REVERSE);
    mvprintw((int)rows - 1, 0, " %s%s ", note, last > 0 ? "; arrows scroll" : "");
    attroff(A_REVERSE);
    refresh();
}

int screen_key(int ms)
{
    timeout(ms);
    int key = getch();
    switch (key) {
    case ERR:
        return SCREEN_NONE;
    case KEY_RESIZE:
        return SCREEN_RESIZED;
    case KEY_DOWN:
        first++;
        return SCREEN_SCROLLED;
    case KEY_UP:
        first -= first > 0;
        return SCREEN_SCROLLED;
    case KEY_NPAGE:
        first += (size_t)getmaxy(stdscr) / 2;
        return SCREEN_SCROLLED;
    case KEY_PPAGE:
        first = first > (size_t)getmaxy(stdscr) / 2 ? first - (size_t)getmaxy(stdscr) / 2 : 0;
        return SCREEN_SCROLLED;
    default:
        return key;
    }
}
