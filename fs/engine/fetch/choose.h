/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which bytes of an image are asked for next, of what is here, under way and wanted. Pure: it looks at what it is handed, and the owner holds
 * the lock of that.
 */
#ifndef GCFS_CHOOSE_H
#define GCFS_CHOOSE_H

#include "engine/fetch/plan.h"
#include "image/cursors.h"
#include "image/waiters.h"

enum { DEMAND_PER_IMAGE = 8, CHOOSE_STREAMS_MAX = 32, CHOOSE_BUSY_MAX = DEMAND_PER_IMAGE + CHOOSE_STREAMS_MAX + 1 };
enum { THROUGH_AHEAD = 2 << 20 }; /* bytes ahead of a reader of what is not kept */

struct choice {
    /* filled by who asks: */
    const struct chunkmap *map;
    const struct cursors *cursors;
    const struct waiters *waiters; /* reads, with their offset and length */
    uint64_t parked;               /* reads that ever were among them */
    bool whole, through;           /* all of it is wanted; it is not kept */
    bool told;                     /* a boot set says what is read next: that is not guessed */
    uint64_t reach;                /* bytes that come in the time of an answer; 0: not known */
    uint64_t worth;                /* bytes that may as well come, as reach_worth() says; 0: not known */
    uint64_t unread, unread_most;  /* bytes asked for ahead that nobody has read; how many there may be, 0: any number */
    /* by choose_around() and choose_lengths(): */
    struct span busy[CHOOSE_BUSY_MAX];
    size_t busy_count;
    unsigned demand, background; /* ranges under way of each kind; a long one that somebody waits for is of both */
    uint64_t claimed;            /* bytes still to come of them */
    uint64_t rest;               /* bytes that are neither here nor claimed */
    uint64_t segment;            /* bytes of one request for the whole */
};

/* [START, POS) came and [POS, END) is on its way, DEMAND: for somebody who waits. At most CHOOSE_BUSY_MAX times. */
void choose_around(struct choice *c, uint64_t start, uint64_t pos, uint64_t end, bool demand);
/* Then: RATE in bytes a second of one connection, WAIT in ns for a first byte, FETCHED bytes so far; each 0 while it is not known. */
void choose_lengths(struct choice *c, uint64_t rate, int64_t wait, uint64_t fetched);

/*
 * False: there is nothing to ask for, and *RET is anything.
 *
 * Demand: the missing bytes of a read that waits, and with a sequential reader what it will want next, in one request. *OUTLOOK is the owner's,
 * 0 at first: while nothing changed since nothing was to be asked for, thousands of waiters are not looked at again.
 */
bool choose_demand(const struct choice *c, uint64_t *outlook, struct span *ret);
/*
 * How far ahead of reader P bytes are asked for. What is worth no more than another answer may as well come: twice that
 * is enough, and who began in the middle of an image, as who looks at a file in it does, gets that or twice what he has read. What nobody read is not
 * to become more than so much.
 */
uint64_t choose_window(const struct choice *c, const struct cursor *p);
bool choose_is_jump(const struct choice *c, uint64_t offset); /* does no sequential reader read there? */
/* The background gives way: its requests are what comes in the time of an answer, and so is what a sequential reader gets at once. */
void choose_little(struct choice *c);
/* A sequential reader's window, once half of it is used up. STREAMS: how many requests there may be. */
bool choose_ahead(const struct choice *c, unsigned streams, struct span *ret);
/* The whole image, over LANES connections: from the place of the reader who moved last, then the holes. */
bool choose_whole(const struct choice *c, unsigned lanes, struct span *ret);

#endif
