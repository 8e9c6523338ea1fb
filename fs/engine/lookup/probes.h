/* SPDX-License-Identifier: Apache-2.0 */
/* The first bytes that came with a look-up. Any thread. */
#ifndef GCFS_ENGINE_LOOKUP_PROBES_H
#define GCFS_ENGINE_LOOKUP_PROBES_H

#include <stddef.h>
#include <stdint.h>

#include "image/meta.h"

enum { PROBE_BYTES = 256 * 1024 }; /* as many as the kernel reads at once */

struct probes;
int probes_new(struct probes **ret); /* -ENOMEM */
void probes_free(struct probes *t);  /* NULL is fine */

/* The first LENGTH bytes of what META, as the catalogue has it for ROW, is said of; takes BYTES. */
void probe_keep(struct probes *t, int64_t row, const struct image_meta *meta, unsigned char *bytes, size_t length);
/* Those of an image of which META is said; free() it. NULL: there are none, or of what may be another version. */
unsigned char *probe_take(struct probes *t, int64_t row, const struct image_meta *meta, size_t *ret_length);

#endif
