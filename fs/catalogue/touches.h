/* SPDX-License-Identifier: Apache-2.0 */
/* Hits and access times that are not in the catalogue yet. Any thread; the lock is a leaf. */
#ifndef GCFS_TOUCHES_H
#define GCFS_TOUCHES_H

#include <stdint.h>

#include "catalogue/catalogue.h"

struct touches;
struct touches *touches_new(void); /* NULL: no memory */
void touches_free(struct touches *t); /* NULL is fine */
void touches_add(struct touches *t, int64_t row, uint64_t hits, int64_t accessed);
void touches_overlay(struct touches *t, struct image_row *row); /* ROW as it would be were they written */
void touches_flush(struct touches *t, struct catalogue *c); /* blocks */

#endif
