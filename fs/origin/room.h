/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many requests the backend takes at once, where it takes few: those for bytes, which are many and long, make room for look-ups, listings and
 * digests. With several endpoints nothing of this is done: another one is asked. Any thread, but where it says otherwise.
 */
#ifndef GCFS_ORIGIN_ROOM_H
#define GCFS_ORIGIN_ROOM_H

#include "origin/origin.h"

void room_taken(struct origin *o); /* a request for bytes is under way, */
void room_left(struct origin *o, bool refused); /* and over; REFUSED: it may have been, see room_refused() */
void room_aside_begins(struct origin *o); /* the same of another one */
void room_aside_ends(struct origin *o);
/* May there be one more for bytes? When that was denied, on_room of origin_parts is called in time, or one that is under way ends. */
bool room_is_there(struct origin *o);
bool room_is_short(const struct origin *o); /* the backend refused a request for being one too many */
bool room_is_free(const struct origin *o); /* for a guest: those for bytes are fewer than the backend takes */

/*
 * A request, which began at BEGAN (monotonic ns; 0: just now) and is over, was refused by STATUS, 0: none, and ERROR. True: others are under way,
 * or were meanwhile, so there may be too many: it may wait for one of them to end, and nothing is said against the server. When the last of them
 * is refused as well, it was not that.
 */
bool room_refused(struct origin *o, int status, int error, unsigned retry_after, int64_t began);
void room_answered(struct origin *o); /* a request for bytes was, as it should be */

/* Somebody else was refused like that: until he leaves, room is kept for him. */
void room_guest_enters(struct origin *o);
void room_guest_leaves(struct origin *o);
bool room_has_guests(const struct origin *o);

#endif
