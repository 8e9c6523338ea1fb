/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A boot set: which parts of an image are read when somebody starts from it, in the order they are wanted. It is learned from what was read,
 * merged over boots, and asked for ahead the next time. It is a hint and never more: a wrong one costs bytes.
 *
 * Its text has a line for itself and one for each span, in blocks of BOOT_BLOCK bytes; lines that begin with # are passed over:
 *
 *   bootset 1 <bytes of the image> <boots> <spans>
 *   <first block>,<blocks>,<tenths of a second since the image was opened>,<boots that read it>
 *
 * Pure: no I/O, no lock.
 */
#ifndef GCFS_BOOTSET_H
#define GCFS_BOOTSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "image/chunkmap.h"

enum { BOOT_BLOCK = CHUNK_MIN, BOOTSET_SPANS_MAX = 512, BOOTSET_BOOTS_MAX = 8, BOOTSET_TIME_MAX = 99999 };
enum { BOOTSET_TEXT_MAX = 16 << 10 }; /* bytes of a text; no image of less than 2^50 bytes has a longer one */

struct bootspan {
    uint64_t first, end; /* bytes [first, end), whole blocks */
    uint32_t at;         /* tenths of a second since the image was opened */
    uint32_t boots;      /* how many of the boots read it; 1 at least */
};

struct bootset {
    uint64_t size;  /* bytes of the image that it was learned of */
    unsigned boots; /* that were merged, BOOTSET_BOOTS_MAX at most */
    size_t count;
    struct bootspan span[BOOTSET_SPANS_MAX]; /* none overlap; in the order they are wanted */
};

/* The set of one boot that read SPANS, which do not overlap, of an image of SIZE bytes: what is read by few requests stays in order, finer
 * order is given up where there are too many. -ENOMEM. */
int bootset_of(uint64_t size, const struct bootspan *spans, size_t count, struct bootset *ret);
/*
 * SET after one more boot. What BOOT read counts once more and is wanted when it read that; what was REPLAYED (NULL: nothing) and not read
 * counts half, and falls out at last. Both of them cut to some GiB before. -ENOMEM; -EINVAL: of images of different sizes.
 */
int bootset_merge(const struct bootset *set, const struct bootset *boot, const struct chunkmap *replayed, struct bootset *ret);
/* For an image of SIZE bytes, maybe another version: nothing is beyond its end, and what was learned of another size proves itself anew. */
void bootset_fit(struct bootset *set, uint64_t size);
void bootset_cut(struct bootset *set, uint64_t limit); /* what is wanted last goes, until LIMIT bytes are left */
uint64_t bootset_bytes(const struct bootset *set);
/* Is it what somebody leaves who copies the image? Few long runs, and no boot. */
bool bootset_is_copy(const struct bootset *set);

/* ---- bootset_text.c */

/* LENGTH bytes of TEXT, from anywhere. -EBADMSG: it is none, *ret_line (from 1) says where; -EFBIG: longer than BOOTSET_TEXT_MAX. */
int bootset_parse(const char *text, size_t length, struct bootset *ret, unsigned *ret_line);
/* Its text, with a NUL; cut where it would be longer than BOOTSET_TEXT_MAX. The length without the NUL. */
size_t bootset_print(const struct bootset *set, char text[BOOTSET_TEXT_MAX + 1]);

#endif
