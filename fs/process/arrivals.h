/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arrivals: which chunks of the images being fetched are in their files, as the page cache has them. They lie in shared memory (a memfd)
 * that the keeper holds, so that a worker's death loses nothing of what it fetched: the catalogue's chunk maps, about a second older, are
 * for the day the machine dies and only what was synced is still there.
 *
 * A track is the map of one partial image, in the on-disk form of chunkmap.h. The order is the same: a chunk's bytes are in the file before
 * its bit is set, and the track is given back before a file of that row could be another one.
 *
 * Any thread; the lock inside is a leaf. Bits are set without it, by who owns the track.
 */
#ifndef GCFS_ARRIVALS_H
#define GCFS_ARRIVALS_H

#include <stddef.h>
#include <stdint.h>

struct arrivals;
struct track;

enum { ARRIVALS_TRACKS = 128 }; /* with more images under way, the others have the catalogue's maps only */

/* A new, empty memfd for a mount. -errno. */
int arrivals_create(int *ret_fd);
/* Maps FD (which stays the caller's). -EBADMSG: not arrivals of this version. */
int arrivals_open(int fd, struct arrivals **ret);
void arrivals_close(struct arrivals *a); /* what it holds stays in FD. NULL is fine */

/* A track for ROW (not 0) that begins with LENGTH bytes of BITS; one that there was is given back. NULL: there is no room. */
struct track *arrivals_add(struct arrivals *a, int64_t row, const void *bits, size_t length);
/* The track of ROW that a worker before us left; NULL: there is none. */
struct track *arrivals_find(struct arrivals *a, int64_t row);
/* The rows that have a track, up to MAX. Returns how many. */
size_t arrivals_rows(struct arrivals *a, int64_t *rows, size_t max);

void track_set(struct track *t, uint64_t chunk); /* CHUNK lies within the track's length */
const void *track_bits(const struct track *t, size_t *ret_length);
void track_free(struct arrivals *a, struct track *t); /* NULL is fine */

#endif
