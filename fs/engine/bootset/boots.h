/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Boots: images that somebody began to read a while ago. What is read of one is recorded, and what an earlier boot read is replayed.
 *
 *   begun ──first read──> replaying, recorded ──no new part is read for a while, or enough was──> ended: merged into the set of its name
 *
 * A boot outlives the handles it began with: who reads by many short openings (a tier) boots, too. The set is a file, see store/bootsets.h.
 *
 * Any thread. The locks inside are leaves; what blocks on the disk says so and takes none of them meanwhile.
 */
#ifndef GCFS_ENGINE_BOOTSET_BOOTS_H
#define GCFS_ENGINE_BOOTSET_BOOTS_H

#include <stdbool.h>
#include <stdint.h>

#include "image/bootset.h"
#include "process/ledger.h"
#include "store/bootsets.h"

struct boots;
struct boot;

/* LIMIT: bytes of a set, 0: nothing is recorded or replayed; QUIET: seconds, 0: a boot is over when nobody has its
 * image open any more. NULL: no memory. Blocks on the disk. */
struct boots *boots_new(struct store *store, struct ledger *ledger, uint64_t limit, uint64_t quiet);
void boots_finish(struct boots *b); /* ends all that are under way; blocks on the disk. NULL is fine */
void boots_free(struct boots *b);   /* NULL is fine */
void boots_tick(struct boots *b);   /* about once a second: ends those that are quiet. Blocks on the disk */

/* Somebody opened the image of ROW, which is not complete. With a reference; NULL: it is not recorded. Blocks on the disk. */
struct boot *boots_begin(struct boots *b, int64_t row, const char *name, uint64_t size);
void boot_put(struct boot *boot);  /* NULL is fine */
bool boot_is_over(struct boot *boot); /* or NULL */
void boot_closed(struct boot *boot, bool closed); /* nobody has it open any more, or somebody has again. NULL is fine */
void boot_note(struct boot *boot, uint64_t offset, uint64_t length); /* this is read now. NULL is fine */

/* ---- replaying */

bool boot_replays(struct boot *boot); /* is there something left to ask for? NULL is fine */
/* As replay_next() and replay_pass(); ASKED: because it is asked for, which is noted, and not because it is here. */
bool boot_next(struct boot *boot, uint64_t window, uint64_t gap, struct bootspan *ret);
void boot_pass(struct boot *boot, uint64_t first, uint64_t end, bool asked);
void boot_give_up(struct boot *boot); /* its fetch failed: nothing more of it is replayed. NULL is fine */

/* ---- sets. They block on the disk */

int boots_get(struct boots *b, const char *name, struct bootset *ret); /* -ENOENT; -EBADMSG */
/* From outside. -EBADMSG, *RET_LINE says where; -EFBIG. What is longer than LIMIT is cut. */
int boots_put(struct boots *b, const char *name, const char *text, size_t length, unsigned *ret_line);
/* NAME has a set by now: a boot of it that had none goes on with it. Its row; 0: there is none. */
int64_t boots_offer(struct boots *b, const char *name);
int boots_remove(struct boots *b, const char *name); /* -ENOENT */
unsigned boots_count(struct boots *b);

#endif
