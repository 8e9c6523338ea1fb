/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Over how many connections all of an image is fetched, and how long a wait or how fast a connection is. Pure: numbers in, numbers out.
 *
 * A whole fetch begins with one connection, unless that is clearly too little, and is looked at ten times a second: while the rest would
 * take longer than a second it gets more, at once when the last ones helped, else after a while. A server far away needs several to
 * be used well; one nearby, or one that works on one request at a time, would only do the work of a request more often, and hand
 * out the bytes in an order that neither the reader nor the digest can follow.
 */
#ifndef GCFS_PACE_H
#define GCFS_PACE_H

#include <stdbool.h>
#include <stdint.h>

enum { PACE_LOOK_MS = 100 };

struct pace {
    unsigned lanes; /* connections it may use by now; 0: not begun */
    int64_t looked_at, raised_at; /* monotonic ns; when it was looked at last, and lanes became more last */
    uint64_t fetched;             /* bytes by then */
    double raised_speed;          /* bytes a second before raised_at */
};

/* Connections to begin with, of STREAMS at most. SIZE: bytes of the image; RATE: bytes a second of one connection, 0: not known. */
unsigned pace_first(uint64_t rate, uint64_t size, unsigned streams);
/* At NOW, with LEFT bytes to come and FETCHED received since some time before it began: lanes may become more, up to STREAMS. */
void pace_look(struct pace *p, int64_t now, uint64_t fetched, uint64_t left, unsigned streams);

/* A smoothed wait for a first byte (ns, 0: none yet) after one of WAITED. */
int64_t pace_wait(int64_t wait, int64_t waited);
/* A smoothed rate (bytes a second, 0: not known yet) after BYTES came in TOOK ns. Few bytes say nothing. */
uint64_t pace_rate(uint64_t rate, uint64_t bytes, int64_t took);

#endif
