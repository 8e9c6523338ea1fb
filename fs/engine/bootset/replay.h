/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way through a boot set: which of its spans is to be asked for next. What is wanted at about the same time is taken together and put in the
 * order of the places, and what lies near by is one span: few requests, and still in about the order it is wanted.
 *
 * Pure; the owner serialises.
 */
#ifndef GCFS_ENGINE_BOOTSET_REPLAY_H
#define GCFS_ENGINE_BOOTSET_REPLAY_H

#include "image/bootset.h"

struct replay {
    struct bootset set;
    size_t taken; /* spans of the set that are in the list, or were */
    struct bootspan list[BOOTSET_SPANS_MAX];
    size_t at, count;
};

void replay_begin(struct replay *r, const struct bootset *set);
/*
 * False: all of it was passed. Else what of it is to be asked for next. A list that is used up is made anew of spans of WINDOW bytes together, and
 * what lies at most GAP bytes apart there is one.
 */
bool replay_next(struct replay *r, uint64_t window, uint64_t gap, struct bootspan *ret);
/* Nothing of the span that replay_next() gives is wanted any more up to byte END. */
void replay_pass(struct replay *r, uint64_t end);

#endif
